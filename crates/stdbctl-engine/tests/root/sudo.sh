#!/bin/sh
# Behaves as sudo does, as far as stdbctl meets it. Beside it: `sudo-is`, what it is to do; `password`; `tried`, what it
# was given.
here=${0%/*}
ask=y
while :; do
  case $1 in
    -n) ask='' && shift ;;
    -S) shift ;;
    -p) shift 2 ;;
    *) break ;;
  esac
done
# It lets nothing through but the three standard streams.
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
say() { echo "$*" >&2; }
check() { # what it says to a wrong password, and what when there is no other
  again=$1
  shift
  tries=0
  while IFS= read -r given; do
    printf '%s\n' "$given" >>"$here/tried"
    [ "$given" != "$(cat "$here/password")" ] || return 0
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || break
    say "$again"
  done
  for words; do say "$words"; done
  exit 1
}
check_as_sudo() {
  say 'We trust you have received the usual lecture.'
  check 'Sorry, try again.' 'sudo: no password was provided' 'sudo: 1 incorrect password attempt'
}
is=$(cat "$here/sudo-is")
case $is in tty-*)
  (: </dev/tty) 2>/dev/null || { say 'sudo: sorry, you must have a tty to run sudo' && exit 1; }
  is=${is#tty-}
  ;;
esac
case $is in
  open) ;;
  cached) [ -n "$ask" ] || { say 'sudo: a password is required'; exit 1; } ;;
  locked)
    [ -n "$ask" ] || { say 'sudo: a password is required'; exit 1; }
    check_as_sudo
    ;;
  rust)
    [ -n "$ask" ] || { say 'sudo: interactive authentication is required'; exit 1; }
    printf '[sudo: authenticate] Password: ' >&2
    check 'sudo: Authentication failed, try again.' 'sudo: Authentication required but not attempted'
    ;;
  strict)
    [ -n "$ask" ] || { say 'sudo: a password is required'; exit 1; }
    check_as_sudo
    say 'ada is not in the sudoers file.'
    exit 1
    ;;
  unheard) exec >/dev/full ;;
  flood) while :; do say 'We trust you have received the usual lecture.'; done ;;
esac
exec "$@"
