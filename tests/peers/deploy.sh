# shellcheck shell=bash
# The runbook as one plain script, step by step, as one would write it for oneself. $domain, $mirror,
# $acme_directory and $files (a tar.gz in base64) are set in front of it; run as root.
set -euo pipefail
: "${domain:?}" "${mirror:?}" "${acme_directory:?}" "${files:?}"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

apt-get update -qq
apt-get install -y -qq --no-install-recommends ca-certificates curl nginx ufw openssl certbot >/dev/null

getent group spacetimedb >/dev/null || groupadd --system spacetimedb
id spacetimedb >/dev/null 2>&1 || useradd --system --gid spacetimedb --home-dir /stdb --no-create-home --shell /usr/sbin/nologin spacetimedb
install -d -m 750 -o root -g spacetimedb /stdb
install -d -m 755 /stdb/bin /stdb/bin/1.3.0 /etc/ssl/spacetimedb /var/www/acme
install -d -m 700 -o spacetimedb -g spacetimedb /stdb/config /stdb/data
curl -fsSL "$mirror/releases/download/v1.3.0/spacetime-x86_64-unknown-linux-gnu.tar.gz" -o /root/spacetime.tar.gz
sha256sum /root/spacetime.tar.gz >/root/spacetime.sha256
tar -xzf /root/spacetime.tar.gz -C /stdb/bin/1.3.0 --no-same-owner
rm /root/spacetime.tar.gz
ln -sfn 1.3.0 /stdb/bin/current

unpacked=$(mktemp -d)
base64 -d <<<"$files" | tar -xz -C "$unpacked"
grep -rlF DOMAIN "$unpacked" | xargs -r sed -i "s/DOMAIN/$domain/g"
put() { install -D -m "${2:-644}" "$unpacked$1" "$1"; }

put /etc/systemd/system/spacetimedb.service
systemd-analyze verify /etc/systemd/system/spacetimedb.service
systemctl daemon-reload
systemctl enable --now --quiet spacetimedb
until curl -fs -o /dev/null http://127.0.0.1:3000/v1/ping; do sleep 0.2; done

put /etc/nginx/conf.d/spacetimedb.conf
put /etc/nginx/snippets/spacetimedb-proxy.conf
put /etc/nginx/snippets/spacetimedb-routes.conf
put /etc/nginx/sites-available/spacetimedb
rm -f /etc/nginx/sites-enabled/default
ln -sfn /etc/nginx/sites-available/spacetimedb /etc/nginx/sites-enabled/spacetimedb
nginx -t -q
systemctl reload nginx

ufw allow 22/tcp >/dev/null
ufw allow 80/tcp >/dev/null
ufw allow 443/tcp >/dev/null
ufw --force enable >/dev/null

put /etc/ssl/spacetimedb/acme-ca.pem
REQUESTS_CA_BUNDLE=/etc/ssl/spacetimedb/acme-ca.pem certbot certonly --non-interactive --quiet --agree-tos \
  --email ops@example.com --server "$acme_directory" --webroot --webroot-path /var/www/acme -d "$domain"
put /etc/letsencrypt/renewal-hooks/deploy/spacetimedb 755
put /etc/systemd/system/certbot.service.d/spacetimedb.conf
systemctl daemon-reload
systemctl enable --now --quiet certbot.timer

put /etc/nginx/sites-available/spacetimedb-tls
ln -sfn /etc/nginx/sites-available/spacetimedb-tls "/etc/letsencrypt/live/$domain/spacetimedb.conf"
nginx -t -q
systemctl reload nginx
rm -rf "$unpacked"
