"""The runbook for pyinfra. Data: domain, mirror, acme_directory, files."""

from io import StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import apt, files, server, systemd

data = host.data
RELEASE = f"{data.mirror}/releases/download/v1.3.0/spacetime-x86_64-unknown-linux-gnu.tar.gz"


def put(path, mode="644"):
    content = Path(data.files + path).read_text().replace("DOMAIN", data.domain)
    return files.put(name=path, src=StringIO(content), dest=path, mode=mode, _sudo=True)


def unless(path, name, commands, **more):
    if host.get_fact(File, path=path, _sudo=True) is None:
        server.shell(name=name, commands=commands, _sudo=True, **more)


apt.packages(
    name="packages",
    packages=["ca-certificates", "curl", "nginx", "ufw", "openssl", "certbot"],
    no_recommends=True,
    update=True,
    cache_time=86400,
    _sudo=True,
)
server.group(name="group", group="spacetimedb", system=True, _sudo=True)
server.user(
    name="user",
    user="spacetimedb",
    group="spacetimedb",
    system=True,
    home="/stdb",
    ensure_home=False,
    create_home=False,
    shell="/usr/sbin/nologin",
    _sudo=True,
)
for path, owner, group, mode in [
    ("/stdb", "root", "spacetimedb", "750"),
    ("/stdb/bin", "root", "root", "755"),
    ("/stdb/bin/1.3.0", "root", "root", "755"),
    ("/stdb/config", "spacetimedb", "spacetimedb", "700"),
    ("/stdb/data", "spacetimedb", "spacetimedb", "700"),
    ("/etc/ssl/spacetimedb", "root", "root", "755"),
    ("/var/www/acme", "root", "root", "755"),
    ("/etc/systemd/system/certbot.service.d", "root", "root", "755"),
]:
    files.directory(name=path, path=path, user=owner, group=group, mode=mode, _sudo=True)

unless(
    "/stdb/bin/1.3.0/spacetimedb-standalone",
    "release",
    [f"curl -fsSL {RELEASE} | tar -xz --no-same-owner -C /stdb/bin/1.3.0"],
)
files.link(name="current", path="/stdb/bin/current", target="1.3.0", _sudo=True)

unit = put("/etc/systemd/system/spacetimedb.service")
systemd.service(
    name="service", service="spacetimedb", running=True, enabled=True, daemon_reload=unit.will_change, _sudo=True
)
if unit.will_change:
    server.shell(
        name="answers",
        commands=["until curl -fs -o /dev/null http://127.0.0.1:3000/v1/ping; do sleep 0.2; done"],
        _sudo=True,
    )

for path in [
    "/etc/nginx/conf.d/spacetimedb.conf",
    "/etc/nginx/snippets/spacetimedb-proxy.conf",
    "/etc/nginx/snippets/spacetimedb-routes.conf",
    "/etc/nginx/sites-available/spacetimedb",
]:
    site = put(path)
files.link(name="no welcome page", path="/etc/nginx/sites-enabled/default", present=False, _sudo=True)
files.link(
    name="site",
    path="/etc/nginx/sites-enabled/spacetimedb",
    target="/etc/nginx/sites-available/spacetimedb",
    _sudo=True,
)
if site.will_change:
    systemd.service(name="reload", service="nginx", reloaded=True, _sudo=True)

server.shell(
    name="firewall",
    commands=[
        "ufw status | grep -q '^443/tcp' || "
        "{ ufw allow 22/tcp && ufw allow 80/tcp && ufw allow 443/tcp && ufw --force enable; }"
    ],
    _sudo=True,
)

put("/etc/ssl/spacetimedb/acme-ca.pem")
unless(
    f"/etc/letsencrypt/renewal/{data.domain}.conf",
    "certificate",
    [
        "certbot certonly --non-interactive --quiet --agree-tos --email ops@example.com "
        f"--server {data.acme_directory} --webroot --webroot-path /var/www/acme -d {data.domain}"
    ],
    _env={"REQUESTS_CA_BUNDLE": "/etc/ssl/spacetimedb/acme-ca.pem"},
)
put("/etc/letsencrypt/renewal-hooks/deploy/spacetimedb", mode="755")
renewal = put("/etc/systemd/system/certbot.service.d/spacetimedb.conf")
systemd.service(
    name="timer", service="certbot.timer", running=True, enabled=True, daemon_reload=renewal.will_change, _sudo=True
)

tls = put("/etc/nginx/sites-available/spacetimedb-tls")
files.link(
    name="TLS site",
    path=f"/etc/letsencrypt/live/{data.domain}/spacetimedb.conf",
    target="/etc/nginx/sites-available/spacetimedb-tls",
    _sudo=True,
)
if tls.will_change:
    systemd.service(name="reload for TLS", service="nginx", reloaded=True, _sudo=True)
