# shellcheck shell=sh
# A verb's own change, which is no task graph. The script around it defines main. Comes after lock.sh.
# shellcheck disable=SC2154

# change: main under the host's lock, with standard input as it came.
change() {
  take_lock || return 0
  open_run || return 0
  main
  close_run
}

# ticking COMMAND...: runs it in a subshell, with standard input as it is, and says every second that it still runs.
# Its status is handed on.
ticking() {
  [ -p "$run/news" ] || mkfifo -m 600 "$run/news"
  exec 3<>"$run/news" 4<&0
  turn=$((${turn:-0} + 1))
  {
    "$@"
    echo "ended $turn $?" >&3
  } <&4 4<&- &
  worker=$!
  (while kill -0 $$ && sleep 1; do echo tick >&3; done) </dev/null >/dev/null 2>&1 4<&- 9>&- &
  ticker=$!
  while read -r what whose status <&3; do
    case $what in
      # What an earlier turn has left over is not the end of this one.
      ended) [ "$whose" != "$turn" ] || break ;;
      tick)
        tell tick ''
        # Killed, it could not say so itself. What it has said before it ended comes first.
        kill -0 "$worker" 2>/dev/null || echo "ended $turn 137" >&3
        ;;
    esac
  done
  kill "$ticker" 2>/dev/null
  exec 3>&- 4<&-
  return "$status"
}
