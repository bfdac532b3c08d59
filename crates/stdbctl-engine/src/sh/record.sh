# shellcheck shell=sh
# What comes first in every script: its surroundings, and records. The script around it sets $nonce; it runs as root
# under any POSIX sh.
# shellcheck disable=SC2154
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077

# rec KIND DATA: one record. Fails when nobody reads any more.
rec() {
  printf '\n@%s %s %s\n%s' "$nonce" "$1" "${#2}" "$2" 2>/dev/null
}
