# shellcheck shell=sh
# What a deployment made of a host, `NAME TAB VALUE` lines, without what differs from host to host: names, keys,
# times. Read by snapshot.rs. $domain, $name and $address are set in front of it.
set -eu
export LC_ALL=C
: "${domain:?}" "${name:?}" "${address:?}"

neutral() { sed "s/$domain/DOMAIN/g; s/$name/NAME/g; s/$address/ADDRESS/g"; }

# Keys and accounts that a host makes itself, and caches. That they are there is seen by their folders.
find /etc /opt /srv /stdb /usr/local /usr/sbin /usr/bin /var/lib /var/www /root /home -xdev \
  \( -path /stdb/data -o -path /etc/letsencrypt/accounts -o -path /etc/letsencrypt/archive -o -path /etc/letsencrypt/csr \
  -o -path /etc/letsencrypt/keys -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /var/lib/private \
  -o -path /var/lib/dpkg -o -path /var/lib/stdbctl/kept -o -path /home/ubuntu/.ssh \) -prune \
  -printf 'path %p\t%y %m %u:%g\n' -o -path '/var/lib/stdbctl/run/*.ended' -o -printf 'path %p\t%y %m %u:%g %l\n' 2>/dev/null | neutral

mine() {
  find /etc /stdb/bin /usr/local /var/lib/stdbctl /var/www -xdev \
    \( -path /etc/letsencrypt -o -path /var/lib/stdbctl/kept -o -path '/var/lib/stdbctl/run/*.ended' -o -path /etc/ssh -o -path /etc/.updated \) -prune -o -type f "$@" 2>/dev/null
}
# The hosts' own identity, backups that passwd and shadow keep of themselves, and times and inodes of a release.
identity='^/etc/(machine-id|hostname|hosts|resolv\.conf|mailname|ld\.so\.cache|(passwd|shadow|group|gshadow|subuid|subgid)-)$|/\.stdbctl-seen$'
mine -print | grep -Ev "$identity" | while IFS= read -r file; do
  if grep -qF -e "$domain" -e "$name" -e "$address" "$file"; then
    printf 'sha256 %s\t%s\n' "$file" "$(neutral <"$file" | sha256sum)"
  else
    printf 'sha256 %s\t%s\n' "$file" "$(sha256sum <"$file")"
  fi
done | neutral

dpkg-query -W -f 'package ${Package}\t${Status} ${Version}\n'
for unit in spacetimedb nginx ssh ufw certbot.timer; do
  printf 'unit %s\t%s %s\n' "$unit" "$(systemctl is-enabled "$unit" 2>&1 || true)" "$(systemctl is-active "$unit" 2>&1 || true)"
done
ufw status verbose 2>/dev/null | awk 'NF { n++; printf "ufw %d\t%s\n", n, $0 }' || true
systemctl --failed --plain --no-legend | awk '{ printf "failed %s\t\n", $1 }'
