# shellcheck shell=sh
# Everything on a host that a run could touch, `NAME TAB VALUE` lines. Read by snapshot.rs.
# What moves by itself (logs, the database's own data) is not part of it; its owner and mode are. Nor is how the steps of
# a run ended, which is kept for a day.
set -eu
export LC_ALL=C

find /boot /etc /home /opt /root /srv /stdb /usr /var -xdev \
  \( -path /stdb/data -o -path /var/log -o -path /var/lib/systemd/timers -o -path /var/lib/private \) -prune \
  -printf 'path %p\t%y %m %U:%G pruned\n' -o -path '/var/lib/stdbctl/run/*.ended' -o \
  -printf 'path %p\t%y %m %U:%G %s %T@ %l\n' 2>/dev/null || true
find /var/log/letsencrypt /var/log/apt /var/log/dpkg.log -printf 'path %p\t%y %m %U:%G %s %T@\n' 2>/dev/null || true
find /etc /stdb/bin /usr/local /var/lib/stdbctl -xdev -type f ! -path '/var/lib/stdbctl/run/*.ended' -exec sha256sum {} + 2>/dev/null |
  awk '{ sum = $1; sub(/^[^ ]*  /, ""); printf "sha256 %s\t%s\n", $0, sum }' || true
# Leftovers of a run; PAM writes the dynamic motd at each login, sshd who is on a terminal.
find /tmp /var/tmp /run /dev/shm -xdev \( -path /run/motd.dynamic -o -path /run/utmp -o -path /run/systemd -o -path /run/user -o -path /run/log -o -path '/tmp/systemd-private-*' \) -prune -o \
  -type f -printf 'path %p\t%y %m %U:%G %s %T@\n' 2>/dev/null || true

for unit in $(systemctl list-units --type=service,timer,socket --state=active --plain --no-legend | awk '{ print $1 }') nginx.service spacetimedb.service; do
  case $unit in user@* | user-runtime-dir@* | systemd-*clean* | session-*) continue ;; esac
  printf 'unit %s\t%s\n' "$unit" "$(systemctl show -p InvocationID -p MainPID -p NRestarts -p ActiveEnterTimestampMonotonic -p UnitFileState "$unit" | tr '\n' ' ')"
done
# `ps` and this script show themselves; sessions of sshd end a little after their connection.
ps -eo pid=,args= | awk '$2 !~ /^(ps|awk|sh|sshd:|sshd|sudo|\(sd-pam\))$/ && $0 !~ /systemd --user/ { pid = $1; $1 = ""; printf "process %s\t%s\n", pid, $0 }'
