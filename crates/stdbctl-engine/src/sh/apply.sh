# shellcheck shell=sh
# The changing part that is the same in every script of a task graph: the tasks in their order and side by side,
# and what a task may call. The script around it sets $digest, defines observe_stable, observe_volatile and
# task_1..task_N, and calls apply. Comes after observe.sh and lock.sh.
# shellcheck disable=SC2154

# still_as_observed: whether the host is as it was when the plan was made.
still_as_observed() {
  # shellcheck disable=SC2034
  now=$( (
    nonce=
    observe_stable
  ) | sha256sum)
  [ "${now%% *}" = "$digest" ] || {
    rec stale ''
    return 1
  }
}

# task NUMBER ID LOCK PAYLOAD NEED...: makes a task known. LOCK and PAYLOAD are - for none, needs are numbers.
task() {
  count=$1
  eval "id_$1=\$2 lock_$1=\$3 payload_$1=\$4 state_$1=waiting"
  eval "shift 4; needs_$1=\"\$*\""
}

# spool: takes the payloads off standard input, in their order, `NUMBER:LENGTH` a word of $payloads. After one that
# did not arrive whole nobody knows where the next begins.
spool() {
  broken=
  for payload in $payloads; do
    number=${payload%%:*} length=${payload#*:}
    if [ -n "$broken" ]; then
      printf 'payload %s failed\n' "$number" >&3
      continue
    fi
    head -c "$length" >"$run/payload.$number"
    case $(stat -c %s "$run/payload.$number") in
      "$length") printf 'payload %s whole\n' "$number" >&3 ;;
      *)
        broken=yes
        printf 'payload %s failed\n' "$number" >&3
        ;;
    esac
  done
}

# judge NUMBER: whether a waiting task can begin: $verdict is now, later, never, or broken if its payload is.
judge() {
  eval "needs=\$needs_$1 lock=\$lock_$1 payload=\$payload_$1"
  verdict=now
  case $lock in -) ;; *) eval "[ -z \"\${held_$lock:-}\" ]" || verdict=later ;; esac
  case $payload in waiting) verdict=later ;; failed) verdict=broken ;; esac
  for need in $needs; do
    eval "need=\$state_$need"
    case $need in
      done) ;;
      waiting | running) case $verdict in now) verdict=later ;; esac ;;
      *) verdict=never ;;
    esac
  done
  [ -z "$lost" ] || verdict=never
}

begin() {
  eval "state_$1=running id=\$id_$1 lock=\$lock_$1"
  case $lock in -) ;; *) eval "held_$lock=yes" ;; esac
  tell "started:$id" ''
  {
    (
      set -eu
      number=$1
      "task_$1"
    ) </dev/null >"$run/log.$1" 2>&1 4<&- 9>&-
    printf 'task %s %s\n' "$1" "$?" >&3
  } &
}

end() {
  eval "id=\$id_$1 lock=\$lock_$1"
  case $lock in -) ;; *) eval "held_$lock=" ;; esac
  left=$((left - 1))
  words=$(tail -c 4000 "$run/log.$1")
  if [ "$2" = 0 ]; then
    eval "state_$1=done"
  else
    eval "state_$1=failed"
    # On a full disk not even the cause can be written down.
    [ -n "$words" ] || words=$(df -P "$state" | tail -n 1)
  fi
  # That nobody has answered is no failure once somebody is back.
  [ -e "$run/unanswered.$1" ] || note_end "$id" "$2" "$words"
  tell "finished:$id" "$2 $words"
}

# begin_ready: begins all that can be begun; what needs something that failed is given up.
begin_ready() {
  next=0
  while [ "$next" -lt "$count" ]; do
    next=$((next + 1))
    eval "[ \$state_$next = waiting ]" || continue
    judge "$next"
    case $verdict in
      now) begin "$next" ;;
      never)
        left=$((left - 1))
        eval "state_$next=never; tell \"skipped:\$id_$next\" ''"
        # What needs this one may stand before it: look again from the start.
        next=0
        ;;
      broken)
        left=$((left - 1))
        eval "state_$next=failed id=\$id_$next"
        tell "finished:$id" '1 what was sent for it did not arrive whole: the disk is full, or the file has changed'
        next=0
        ;;
    esac
  done
}

run_tasks() {
  left=$count
  mkfifo -m 600 "$run/news"
  exec 3<>"$run/news" 4<&0 </dev/null
  spool <&4 >/dev/null 2>&1 9>&- &
  spooler=$!
  (while kill -0 $$ && sleep 1; do echo tick >&3; done) </dev/null >/dev/null 2>&1 4<&- 9>&- &
  ticker=$!
  begin_ready
  while [ "$left" -gt 0 ]; do
    read -r what number status <&3
    case $what in
      task) end "$number" "$status" ;;
      payload) eval "payload_$number=\$status" ;;
      confirm) eval "tell \"confirm:\$id_$number\" ''" ;;
      tick) tell tick '' ;;
    esac
    begin_ready
  done
  kill "$ticker" "$spooler" 2>/dev/null
}

apply() {
  take_lock || return 0
  open_run || return 0
  still_as_observed || {
    close_run
    return 0
  }
  touch "$run.ended"
  run_tasks
  prune_kept
  [ -n "$lost" ] || {
    rec applied ''
    observe_stable
    observe_volatile
  }
  # Not before: an operator who is back knows this run by it.
  close_run
}

# prune_kept: what the last twenty runs replaced stays, what came before goes.
prune_kept() {
  # The names are ours and sort by time.
  # shellcheck disable=SC2012
  ls -1r "$state/kept" | tail -n +21 | while read -r old; do rm -rf "${state:?}/kept/$old"; done
}

# From here on: what tasks call.

# keep PATH: a copy of what is there, before it is replaced or removed.
keep() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  mkdir -p "$state/kept/$run_id${1%/*}"
  cp -aT -- "$1" "$state/kept/$run_id$1"
}

# beside PATH: the name of a new temporary beside it; those that another run left there are removed.
beside() {
  for left in "${1%/*}"/.stdbctl.*; do
    case $left in *".stdbctl.$run_id."*) ;; *) [ -d "$left" ] || rm -f -- "$left" ;; esac
  done
  mktemp "${1%/*}/.stdbctl.$run_id.XXXXXX"
}

# still PATH SHA256: whether a file is as it was observed; between the plan and its turn somebody may have edited it.
still() {
  printf '%s  %s\n' "$2" "$1" | sha256sum -c --status - || {
    echo "$1: somebody has changed it since the plan was made; it is left alone"
    return 1
  }
}

# put_file PATH OWNER GROUP MODE SHA256 VALIDATOR: the task's payload becomes the file, whole or not at all.
put_file() {
  new=$(beside "$1")
  cat "$run/payload.$number" >"$new" || {
    rm -f -- "$new"
    return 1
  }
  printf '%s  %s\n' "$5" "$new" | sha256sum -c --quiet -
  chown "$2:$3" "$new"
  chmod "$4" "$new"
  sync "$new"
  keep "$1"
  old=
  if [ -n "$6" ] && [ -e "$1" ]; then
    old=$(beside "$1")
    cp -a -- "$1" "$old"
  fi
  mv -fT -- "$new" "$1"
  if [ -n "$6" ] && ! sh -c "$6" </dev/null; then
    if [ -n "$old" ]; then mv -fT -- "$old" "$1"; else rm -f -- "$1"; fi
    echo "$1: refused by \`$6\`; what was there before is back in its place"
    return 1
  fi
  [ -z "$old" ] || rm -f -- "$old"
  sync "${1%/*}"
}

# put_symlink PATH TARGET
put_symlink() {
  keep "$1"
  new="${1%/*}/.stdbctl.$run_id.link.$number"
  rm -f -- "$new"
  ln -s -- "$2" "$new"
  mv -fT -- "$new" "$1"
  sync "${1%/*}"
}

# fetch URL FILE: with whichever the host has. apt's own downloader is always there.
fetch() {
  if command -v curl >/dev/null; then
    timeout 900 curl -fsSL --retry 3 --connect-timeout 20 -o "$2" -- "$1"
  elif command -v wget >/dev/null; then
    timeout 900 wget -q --tries=3 --timeout=20 -O "$2" -- "$1"
  else
    timeout 900 /usr/lib/apt/apt-helper -o Acquire::Retries=3 download-file "$1" "$2"
  fi
}

# unpack ARCHIVE PATH SHA256 MEMBER...: the directory PATH with these members and what is needed to tell later
# that they are still these. An empty SHA256 takes whatever came.
unpack() {
  archive=$1 path=$2 wanted=$3
  shift 3
  sum=$(sha256sum <"$archive")
  sum=${sum%% *}
  case $wanted in
    '' | "$sum") ;;
    *)
      echo "the archive has the wrong sha256: $sum instead of $wanted"
      return 1
      ;;
  esac
  new="${path%/*}/.stdbctl.$run_id.d.$number"
  rm -rf -- "${path%/*}"/.stdbctl.*.d.*
  mkdir -m 0755 -- "$new"
  tar -xzf "$archive" -C "$new" --no-same-owner --no-same-permissions -- "$@" || {
    rm -rf -- "$new"
    echo "this is not a release archive: a .tar.gz that holds $* at its top level"
    return 1
  }
  chown -R root:root "$new"
  chmod 0755 "$new" "$new"/*
  printf 'archive %s\n' "$sum" >"$new/.stdbctl-archive"
  (cd "$new" && sha256sum -- "$@" >>.stdbctl-archive && stat -c '%n %s %Y %Z %i' -- "$@" >.stdbctl-seen)
  sync "$new"/* "$new"/.stdbctl-* "$new"
  if [ -e "$path" ] || [ -L "$path" ]; then
    mv -T -- "$path" "${path%/*}/.stdbctl.$run_id.d.old.$number"
    mv -T -- "$new" "$path"
    rm -rf -- "${path%/*}/.stdbctl.$run_id.d.old.$number"
  else
    mv -T -- "$new" "$path"
  fi
  sync "${path%/*}"
}

# apt ARGUMENT...: waits for the lock that unattended-upgrades may hold.
apt() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 timeout 1800 apt-get -qq -y \
    -o DPkg::Lock::Timeout=600 -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# update_lists: the package lists, waiting for whoever else updates them.
update_lists() {
  tries=0
  until apt -o APT::Update::Error-Mode=any update >"$run/update.log" 2>&1; do
    tries=$((tries + 1))
    case $(cat "$run/update.log") in *'Could not get lock'*) [ "$tries" -lt 300 ] ;; *) false ;; esac || {
      cat "$run/update.log"
      return 1
    }
    sleep 2
  done
}

# install_packages NAME...: after the lists were updated if they are a day old or do not have them.
install_packages() {
  [ -z "$(ls -A /var/lib/dpkg/updates)" ] || dpkg --configure -a --force-confdef --force-confold
  fresh=$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -1 2>/dev/null | head -n 1)
  if [ -z "$fresh" ] || ! apt -s install --no-install-recommends "$@" >/dev/null 2>&1; then
    # A dead source of somebody else does not matter, as long as these can be had. If not, it is the cause.
    update_lists || apt -s install --no-install-recommends "$@" >/dev/null 2>&1
  fi
  apt install --no-install-recommends "$@" >"$run/apt.log" 2>&1 || {
    case $(cat "$run/apt.log") in
      *'dpkg --configure -a'*)
        dpkg --configure -a --force-confdef --force-confold
        apt install --no-install-recommends "$@"
        ;;
      *)
        cat "$run/apt.log"
        return 1
        ;;
    esac
  }
}

# stamp TASK UNIT WITH: what the unit now runs with, and of which start that is true.
stamp() {
  invocation=$(systemctl show -p InvocationID --value -- "$2")
  printf '%s %s\n' "$invocation" "$3" >"/run/stdbctl/with/.$1"
  mv -fT "/run/stdbctl/with/.$1" "/run/stdbctl/with/$1"
}

# is_answered: whether the operator has confirmed, or is gone and never will.
is_answered() {
  [ -e "$run/confirmed" ] || [ -e "$run/lost" ]
}

# enable_firewall: with a timer that undoes it unless a new connection from the operator gets in.
enable_firewall() {
  systemd-run --quiet --unit="stdbctl-revert-$run_id" --on-active=90 --timer-property=AccuracySec=1s ufw disable
  ufw --force enable
  printf 'confirm %s -\n' "$number" >&3
  wait_for 60 is_answered || :
  if [ -e "$run/confirmed" ]; then
    systemctl stop "stdbctl-revert-$run_id.timer"
  else
    ufw disable
    systemctl stop "stdbctl-revert-$run_id.timer"
    touch "$run/unanswered.$number"
    echo 'no new SSH connection got in with the firewall on, so it is off again'
    return 1
  fi
}

# turn_unit VERB UNIT: starts, restarts, reloads or stops it; if that fails, it says why in its own words.
turn_unit() {
  since=$(date +%s)
  systemctl "$1" -- "$2" 2>"$run/turn.$number" && return
  cat "$run/turn.$number"
  unit_words "$2" "$since"
  return 1
}

# get_certificate LINEAGE ARGUMENT...: through certbot. What is left of a lineage that certbot cannot go on with is
# moved out of its way, and back if it fails.
get_certificate() {
  name=$1
  shift
  parts="/etc/letsencrypt/renewal/$name.conf /etc/letsencrypt/live/$name /etc/letsencrypt/archive/$name"
  if [ ! -s "/etc/letsencrypt/live/$name/fullchain.pem" ] || [ ! -s "/etc/letsencrypt/renewal/$name.conf" ]; then
    for part in $parts; do
      keep "$part"
      rm -rf -- "$part"
    done
  fi
  tries=0
  until timeout 600 certbot certonly -n --agree-tos --cert-name "$name" --force-renewal --expand "$@"; do
    tries=$((tries + 1))
    # A nonce that went stale is nobody's fault, and certbot itself tries again but once.
    case $(ca_words) in *nonce*) [ "$tries" -lt 4 ] && continue ;; esac
    for part in $parts; do
      [ -e "$part" ] || [ ! -e "$state/kept/$run_id$part" ] || cp -aT -- "$state/kept/$run_id$part" "$part"
    done
    ca_words
    return 1
  done
}

# ca_words: what the CA has said last.
ca_words() {
  sed -n 's/^.*"detail": "\(.*\)".*$/the CA says: \1/p; s/^.*Detail: /the CA says: /p' \
    /var/log/letsencrypt/letsencrypt.log | tail -n 1
}

# unit_words UNIT SINCE: what it has logged last, without what systemd says about it and without pictures.
unit_words() {
  journalctl --no-pager -q -o cat -n 200 --since="@$2" _SYSTEMD_UNIT="$1" | grep -a '[[:alpha:]]' | tail -n 15 || :
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  until=$(($(date +%s) + $1))
  shift
  until "$@"; do
    [ "$(date +%s)" -lt "$until" ] || return 1
    sleep 0.2
  done
}
