# shellcheck shell=sh
# What every script that changes something does around its changes: one run at a time, told to whoever still listens.
# The script around it sets $run_id and $holder. Comes after record.sh.
# shellcheck disable=SC2154

state=/var/lib/stdbctl
lost=
# A run of the same operator whose connection was lost, if this one takes its place.
lost_run=${lost_run:-}

# is_given_up: whether the operator has come back over another connection and waits for this run to end.
is_given_up() {
  [ -n "${run:-}" ] && [ -e "$run/lost" ]
}

# tell KIND DATA: a record, unless nobody listens any more. From then on nothing new is begun.
tell() {
  [ -z "$lost" ] || return 0
  if is_given_up || ! rec "$1" "$2"; then
    lost=yes
    # Who waits for the operator need not wait any longer.
    [ -z "${run:-}" ] || : >"$run/lost"
    printf '%s; its connection is gone and it is finishing its last step\n' "$holder" >/run/stdbctl/holder
  fi
}

# take_lock: held by descriptor 9 of this process and so gone with it. A run whose operator is gone is waited for.
take_lock() {
  trap '' HUP PIPE
  mkdir -p /run/stdbctl/with "$state/run" "$state/kept"
  exec 9>>/run/stdbctl/lock
  flock -n 9 || {
    give_up_lost_run
    flock -w 3 9
  } || await_lost_run || {
    rec locked "$(cat /run/stdbctl/holder 2>/dev/null)"
    return 1
  }
  printf '%s\n' "$holder" >/run/stdbctl/holder
}

# give_up_lost_run: tells it so; it need not have noticed yet.
give_up_lost_run() {
  [ -z "$lost_run" ] || touch "$state/run/$lost_run/lost" 2>/dev/null
}

# is_abandoned: whether the operator of the run that holds the lock is gone.
is_abandoned() {
  [ -n "$lost_run" ] && [ -d "$state/run/$lost_run" ] && return
  case $(cat /run/stdbctl/holder 2>/dev/null) in *'connection is gone'*) ;; *) return 1 ;; esac
}

# await_lost_run: waits for a run whose operator is gone to end its last step, ten minutes at most.
await_lost_run() {
  tries=0
  while [ "$tries" -lt 120 ]; do
    is_abandoned || return 1
    give_up_lost_run
    [ "$tries" -gt 0 ] || rec waiting "$(cat /run/stdbctl/holder 2>/dev/null)"
    flock -w 5 9 && return
    rec tick '' || return 1
    tries=$((tries + 1))
  done
  return 1
}

# open_run: a private directory $run for this run. Nothing was changed if that fails. How tasks of others ended is kept
# for a day, for an operator who has lost the connection.
open_run() {
  find "${state:?}/run" -mindepth 1 -maxdepth 1 ! \( -name '*.ended' -mtime -1 \) -exec rm -rf {} +
  run=$state/run/$run_id
  mkdir "$run" || {
    rec failed "cannot write below $state: is the disk full?"
    return 1
  }
  tell begun ''
}

# note_end ID STATUS WORDS: writes down how a task ended; nobody may hear it.
note_end() {
  printf '%s %s %s\n' "$1" "$2" "$(printf %s "$3" | base64 | tr -d '\n')" 2>/dev/null >>"$run.ended"
}

# recall_lost_run: how the tasks of the lost run ended, or that it never came to them.
recall_lost_run() {
  [ -n "$lost_run" ] || return 0
  [ -e "$state/run/$lost_run.ended" ] || {
    rec unbegun ''
    return 0
  }
  while read -r id status words; do
    rec "finished:$id" "$status $(printf %s "$words" | base64 -d)"
  done <"$state/run/$lost_run.ended"
}

close_run() {
  rm -rf "$run"
  rm -f /run/stdbctl/holder
}
