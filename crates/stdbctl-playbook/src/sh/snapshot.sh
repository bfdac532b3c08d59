# shellcheck shell=sh
# Copies of a database's directory, and going back to one. Comes after server.sh and change.sh; the script around it
# sets $database (its identity), $database_le and $owner_le (its and its owner's, as the server's files have them) and
# $run_id. What fails leaves its reason in $why.
# shellcheck disable=SC2154,SC2034

unit=spacetimedb
known=
replicas=$root/data/replicas
snapshots=$root/snapshots/${database:-none}

# find_replica: leaves the directory of the live data in $replica. The server numbers them; those of databases that
# were deleted or cleared stay. The live one is open. If the server cannot open it any more, it is the one it was.
find_replica() {
  replica=
  server=$(systemctl show -p MainPID --value "$unit")
  below=$(readlink -f "$replicas")
  for number in $(
    find "/proc/$server/fd" -maxdepth 1 -type l -printf '%l\n' 2>/dev/null |
      awk -v below="$below/" 'index($0, below) == 1 { split(substr($0, length(below) + 1), part, "/"); print part[1] }' |
      grep -x '[0-9]*' | sort -nu
  ); do
    ! is_of_database "$replicas/$number" || replica=$replicas/$number
  done
  [ -n "$replica" ] || [ -n "${cleared:-}" ] || [ ! -d "$known" ] || replica=$known
  known=$replica
  [ -n "$replica" ] || {
    why="cannot tell which directory below $replicas is the database's"
    return 1
  }
}

# is_of_database DIRECTORY: its log begins with the making of the database, which names it and its owner. Rows that
# come later may hold the identities of other databases.
is_of_database() {
  for log in "$1"/clog/*.stdb.log; do
    first=$(od -An -v -tx1 -N 65536 "$log" 2>/dev/null | tr -d ' \n' | grep -o "[0-9a-f]\{64\}$owner_le" | head -n 1)
    [ "$first" = "$database_le$owner_le" ]
    return
  done
}

# is_ours: whether only root can have put a link where root is going to write.
is_ours() {
  for place in "$root/." "$root/snapshots"; do
    [ -e "$place" ] || [ -L "$place" ] || continue
    [ "$(stat -c %u "$place")" = "$(id -u)" ] || {
      why="$root is not root's own, so that its owner could lead root astray; \`stdbctl deploy\` makes it root's"
      return 1
    }
  done
}

# room_for DIRECTORY: leaves $needed and $free, in bytes, and $kind: reflink or copy.
room_for() {
  room=$root/snapshots
  [ -d "$room" ] || room=$root
  needed=$(du -s --block-size=1 "$1" | cut -f 1)
  free=$(df -P --block-size=1 "$room" | awk 'END { print $4 }')
  kind=copy
  [ "$(stat -c %d "$room")" != "$(stat -c %d "$1")" ] ||
    case $(stat -f -c %T "$room") in btrfs | xfs) kind=reflink ;; esac
}

# see_room: the record `room`.
see_room() {
  find_replica || return 0
  with_ticks room_for "$replica"
  rec room "$needed $free $kind"
}

# ensure_room DIRECTORY: whether it can be copied, with 64 MiB to spare.
ensure_room() {
  room_for "$1"
  [ "$kind" = copy ] && [ "$free" -lt $((needed + 67108864)) ] || return 0
  why="a copy of the data takes $((needed / 1048576 + 1)) MiB, and below $room are $((free / 1048576)) MiB free"
  return 1
}

# copy_replica FROM TO: the log last, so that it is never behind a snapshot of the server's own.
copy_replica() {
  mkdir -m 700 "$2" || return
  for part in "$1"/*; do
    [ "$part" = "$1/clog" ] || cp -a --sparse=always --reflink=auto "$part" "$2" || return
  done
  # Once more if the server has begun another file meanwhile: the one before it may have been copied too early.
  until
    parts=$(ls "$1/clog")
    rm -rf "$2/clog"
    cp -a --sparse=always --reflink=auto "$1/clog" "$2" || return
    [ "$parts" = "$(ls "$1/clog")" ]
  do :; done
  chown --reference="$1" "$2" && sync -f "$2"
}

# take_snapshot ABOUT: leaves its name in $snapshot, the time.
take_snapshot() {
  snapshot=
  new=$snapshots/.new
  is_ours && find_replica || return
  # Of a run that was cut off. It takes room.
  rm -rf "$new"
  ensure_room "$replica" || return
  if ! mkdir -p "$new" || ! ticking copy_replica "$replica" "$new/replica" 2>"$run/words" ||
    ! printf '%s\n' "$1" >"$new/about"; then
    why="cannot copy the data: $(tail -n 1 "$run/words")"
    rm -rf "$new"
    return 1
  fi
  snapshot=$(date -u +%Y%m%dT%H%M%SZ)
  while [ -e "$snapshots/$snapshot" ]; do
    sleep 1
    snapshot=$(date -u +%Y%m%dT%H%M%SZ)
  done
  sync "$new/about" "$new"
  mv -T "$new" "$snapshots/$snapshot"
}

# restore_snapshot TIME: in place of the live data, which stays beside it as `replaced`. The server is stopped for it.
restore_snapshot() {
  kept=$snapshots/$1
  is_ours && find_replica || return
  rm -rf "$kept/back"
  ensure_room "$kept/replica" || return
  ticking copy_replica "$kept/replica" "$kept/back" 2>"$run/words" || {
    why="cannot copy the snapshot: $(tail -n 1 "$run/words")"
    rm -rf "$kept/back"
    return 1
  }
  rm -rf "$kept/replaced"
  exchange "$kept/back" "$kept/replaced"
}

# exchange FROM ASIDE: moves the live data to ASIDE and FROM to where it was. What the server does not start with goes
# back.
exchange() {
  ticking systemctl stop "$unit" 2>"$run/words" || {
    why="cannot stop the server: $(tail -n 1 "$run/words")"
    return 1
  }
  if swap "$1" "$2"; then
    start_server && return
    unfit=$why
    ticking systemctl stop "$unit" 2>/dev/null
    swap "$2" "$1"
    start_server
    why=$unfit
  else
    unmoved=$why
    start_server
    why=$unmoved
  fi
  return 1
}

# swap FROM ASIDE: with the server stopped, both or none. If the host dies between the two, `moving` tells.
swap() {
  printf '%s\n' "$replica" "$1" "$2" 2>"$run/words" >"$snapshots/moving" && sync "$snapshots/moving" "$snapshots" &&
    if ticking mv -T "$replica" "$2" 2>"$run/words"; then
      if ticking mv -T "$1" "$replica" 2>"$run/words"; then
        ticking sync
        rm -f "$snapshots/moving"
        return
      fi
      why="cannot move the data: $(tail -n 1 "$run/words")"
      ticking mv -T "$2" "$replica" || return
    fi
  why="cannot move the data: $(tail -n 1 "$run/words")"
  rm -f "$snapshots/moving"
  return 1
}

# see_moving: the record `moving` for data of any database that was being moved when its run ended: where it was, what
# was to come there, and where it lies now.
see_moving() {
  for moving in "$root"/snapshots/*/moving; do
    if [ ! -f "$moving" ] || is_locked; then continue; fi
    {
      read -r replica && read -r from && read -r aside
    } <"$moving"
    [ ! -d "$from" ] || [ ! -d "$aside" ] || rec moving "$(cat "$moving")"
  done
}

# is_locked: whether a run is changing this host.
is_locked() {
  [ -f /run/stdbctl/lock ] && ! flock -n /run/stdbctl/lock true
}

start_server() {
  ticking systemctl start "$unit" 2>"$run/words" || {
    why="cannot start the server: $(tail -n 1 "$run/words")"
    return 1
  }
  ticking await_server || {
    why='the server was started and does not answer'
    return 1
  }
}

await_server() {
  until=$(($(date +%s) + 60))
  until
    request /v1/ping
    [ "$status" = 200 ]
  do
    [ "$(date +%s)" -lt "$until" ] || return 1
    sleep 0.1
  done
}

# prune_snapshots: the newest two stay.
prune_snapshots() {
  # The names are ours and sort by time.
  for old in "$snapshots"/*T*Z; do
    [ ! -d "$old" ] || printf '%s\n' "$old"
  done | sort -r | tail -n +3 | while read -r old; do rm -rf "$old"; done
}
