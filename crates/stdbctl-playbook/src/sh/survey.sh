# shellcheck shell=sh
# Finds every database of the host, which the server has no request for, and whose every replica directory is. Comes
# after server.sh and owner.sh. The server and the files are only read; `free_orphan` alone removes something.
# shellcheck disable=SC2154

data=$root/data
# Where a replica directory goes before it is removed, so that a removal that was cut off is known by its name.
aside=$data/.pruned
history=/var/lib/stdbctl/databases
most_candidates=5000

# find_server: $pid, and what it has open below $replicas as $opened: one id a line. Fails, and says why in $why,
# unless the server that answers on the port is the one whose data these are.
find_server() {
  replicas=$(readlink -f "$data/replicas") || replicas=$data/replicas
  pid=$(systemctl show -p MainPID --value spacetimedb 2>/dev/null)
  [ "${pid:-0}" -gt 0 ] || {
    why='the service spacetimedb does not run'
    return 1
  }
  descriptors=$(ls -l "/proc/$pid/fd" 2>/dev/null)
  case $descriptors in
    *"-> ${replicas%/replicas}/"*) ;;
    *)
      why="the server's data are not in $data"
      return 1
      ;;
  esac
  has_port || {
    why="another program answers at $base"
    return 1
  }
  opened=$(printf '%s\n' "$descriptors" | awk -v top="$replicas/" '
    (i = index($0, "-> " top)) { rest = substr($0, i + 3 + length(top)); sub(/\/.*/, "", rest); print rest }' |
    sort -u)
}

# has_port: whether the process $pid listens on the port of $base.
has_port() {
  port=$(printf '%04X' "${base##*:}")
  {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
    printf '%s\n' "$descriptors"
  } | awk -v port=":$port" '
    $4 == "0A" && substr($2, length($2) - 4) == port { listening["socket:[" $10 "]"] }
    $NF in listening { found = 1 }
    END { exit !found }'
}

# has_open REPLICA: whether the server had it open when find_server looked.
has_open() {
  case $newline$opened$newline in *"$newline$1$newline"*) ;; *) return 1 ;; esac
}

# identities: what could be an identity in standard input, whichever byte is written first; one a line.
identities() {
  od -An -v -tx1 -w4096 | awk '
    function say(hex) { gsub(/ /, "", hex); if (!(hex in said)) { said[hex]; print hex } }
    function backwards(hex,   i, all) {
      for (i = length(hex) - 2; i > 0; i -= 3) all = all substr(hex, i, 3)
      return all
    }
    {
      line = carry $0
      for (rest = line; i = index(rest, " c2 00"); rest = substr(rest, i + 3))
        if (length(rest) - i >= 95) say(substr(rest, i, 96))
      for (rest = line; i = index(rest, " 00 c2"); rest = substr(rest, i + 3)) {
        end = length(line) - length(rest) + i + 5
        if (end >= 96) say(backwards(substr(line, end - 95, 96)))
      }
      carry = substr(line, length(line) - 92)
    }'
}

# owners: two identities side by side in standard input, a database and its owner as a module stands in the log,
# each with its last byte first: one pair a line, in hex.
owners() {
  od -An -v -tx1 -w65536 | awk '
    {
      for (rest = $0; i = index(rest, " 00 c2"); rest = substr(rest, i + 3)) {
        end = length($0) - length(rest) + i + 5
        if (end >= 192 && substr($0, end - 101, 6) == " 00 c2") {
          pair = substr($0, end - 191, 192)
          gsub(/ /, "", pair)
          print pair
        }
      }
    }'
}

# each KIND [CURL ARGUMENT...]: asks for the addresses of the configuration on standard input in turn. A record KIND
# for each line of an answer, and `STATUS URL` in the last of each.
each() {
  kind=$1
  shift
  curl -sS --connect-timeout 5 -m "${patience:-60}" -w '\n%{http_code} %{url_effective}\n' "$@" -K - 2>&1 |
    while IFS= read -r line; do
      [ -z "$line" ] || rec "$kind" "$line" || break
    done
}

# addresses PATH [LINE]: the configuration for each: `url = "PATH"` with the identity in the place of %, and LINE.
addresses() {
  while read -r identity; do
    [ -z "$identity" ] || printf 'url = "%s%s%s%s"\n%s\n' "$base" "${1%%%*}" "$identity" "${1#*%}" "${2:-}"
  done
}

# first FILE...: the first of them, or nothing if there is none.
first() {
  [ ! -f "$1" ] || printf '%s\n' "$1"
}

# candidates: what could be a database, one a line: all identities at the places where the server's files have them,
# and whatever the server says that any of these owns.
candidates() {
  found=$({
    find "$data/control-db" -type f -exec cat {} + | head -c 67108864
    for replica in "$data"/replicas/*; do
      head -c 128 "$(first "$replica"/snapshots/*/*.snapshot_bsatn)"
      head -c 65536 "$(first "$replica"/clog/*.stdb.log)"
    done
  } 2>/dev/null | identities | head -n "$most_candidates")
  owned=$(printf '%s\n' "$found" | addresses '/v1/identity/%/databases' |
    curl -sS --connect-timeout 5 -m 20 -K - 2>/dev/null | grep -oE 'c200[0-9a-f]{60}')
  printf '%s\n%s\n' "$found" "$owned" | grep -E '^c200' | sort -u
}

# survey: every database, and every directory of a replica.
survey() {
  ask health /v1/health
  find_server || {
    rec down "$why"
    return 0
  }
  candidates=$(candidates)
  rec candidates "$(printf '%s\n' "$candidates" | grep -c .)"
  told=$(printf '%s\n' "$candidates" | addresses '/v1/database/%' |
    curl -sS --connect-timeout 5 -m 20 -w '\n%{http_code} %{url_effective}\n' -K - 2>&1)
  rec databases "$told"
  living=$(printf '%s\n' "$told" | sed -n 's|^200 .*/v1/database/\(c200[0-9a-f]*\)$|\1|p')
  printf '%s\n' "$living" | addresses '/v1/database/%/schema?version=9' 'output = "/dev/null"' | each touched
  printf '%s\n' "$living" | addresses '/v1/database/%/names' | each names
  for owner in $(printf '%s' "$told" | grep -oE '"owner_identity":\{"__identity__":"0xc200[0-9a-f]{60}' |
    sed 's/.*0x//' | sort -u); do
    survey_owned "$owner"
  done
  find_server || {
    rec down "$why"
    return 0
  }
  rec opened "$opened"
  see_foreign_tokens
  survey_replicas
  for file in "$history"/*/history; do
    [ ! -f "$file" ] || {
      of=${file%/history}
      rec "history:${of##*/}" "$(tail -n 5 "$file")"
    }
  done
}

# survey_owned OWNER: which program runs in each of its databases, if its token is here.
survey_owned() {
  token=$tokens/$1.jwt
  [ -s "$token" ] || return 0
  rec token "$1"
  printf '%s\n' "$told" | grep -F "\"owner_identity\":{\"__identity__\":\"0x$1\"" |
    sed -n 's/.*"database_identity":{"__identity__":"0x\([0-9a-f]*\)".*/\1/p' |
    addresses '/v1/database/%/sql' | {
    printf 'Authorization: Bearer %s\n' "$(as_server cat "$token")" |
      { each programs -H @/dev/fd/3 --data 'select program_hash from st_module' 3<&0 <&4 4<&-; }
  } 4<&0
}

# survey_replicas: for each directory what it takes on the disk in KiB, and what it says of itself.
survey_replicas() {
  rec sizes "$(du -sk "$data"/replicas/* "$aside"-* 2>/dev/null)"
  for replica in "$data"/replicas/*; do
    [ -d "$replica" ] || continue
    snapshot=$(first "$replica"/snapshots/*/*.snapshot_bsatn) log=$(first "$replica"/clog/*.stdb.log)
    rec "replica:${replica##*/}" "$(
      [ -z "$snapshot" ] || head -c 81 "$snapshot" | base64 -w0
      echo
      [ -z "$log" ] || head -c 65536 "$log" | owners
    )"
  done
}

# free_orphans: for each line `REPLICA IDENTITY OTHER` of standard input what free_orphan does.
free_orphans() {
  while read -r replica identity other; do
    free_orphan "$replica" "$identity" "$other" </dev/null
  done
  for left in "$aside"-*; do
    [ ! -d "$left" ] || remove "$left"
  done
}

# free_orphan REPLICA IDENTITY OTHER: removes a replica's directory if the server still has nothing to do with it:
# the database is gone, or lives in the replica OTHER (`-` if it is gone).
free_orphan() {
  directory=$data/replicas/$1
  may_go "$@" || {
    tell kept "$1 $why"
    return 0
  }
  mv -- "$directory" "$aside-$1" || {
    tell kept "$1 it cannot be renamed"
    return 0
  }
  # It may have been opened just before it was renamed.
  case $(ls -l "/proc/$pid/fd" 2>/dev/null) in
    *"$aside-$1/"*)
      mv -- "$aside-$1" "$directory"
      tell kept "$1 the server has just opened it"
      ;;
    *) remove "$aside-$1" ;;
  esac
}

# may_go REPLICA IDENTITY OTHER: else $why.
may_go() {
  find_server || return 1
  why='it is no directory any more'
  [ -d "$directory" ] && [ ! -L "$directory" ] || return 1
  why='the server has it open'
  ! has_open "$1" || return 1
  request "/v1/database/$2"
  why="the server answers $status for its database"
  case $status:$3 in
    404:-) ;;
    200:[0-9]*)
      why="its database has no other replica open any more"
      has_open "$3" || return 1
      ;;
    *) return 1 ;;
  esac
}

# remove DIRECTORY: one that was put aside.
remove() {
  size=$(du -sk "$1" | cut -f 1)
  if ticking rm -rf -- "$1"; then
    tell freed "${1##*-} $size"
  else
    tell kept "${1##*-} it cannot be removed from $1"
  fi
}
