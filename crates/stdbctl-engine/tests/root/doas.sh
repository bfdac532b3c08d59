#!/bin/sh
# Behaves as doas does, as far as stdbctl meets it. Beside it: `doas-is`, what it is to do.
here=${0%/*}
[ "$1" = -n ] || exit 99
shift
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
case $(cat "$here/doas-is") in
  open) exec "$@" ;;
  locked) echo 'doas: Authentication required' >&2 ;;
  closed) echo 'doas: Operation not permitted' >&2 ;;
esac
exit 1
