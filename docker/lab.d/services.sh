# shellcheck shell=bash disable=SC2034,SC2154 # part of docker/lab, which has the variables
# What the hosts find around them: their network with its names, the ACME CA, the release mirror, a package cache.
# One container runs the three; systemd inside restarts what dies.

services=$lab-services
acme_directory=https://acme.lab.test:14000/dir
mirror=http://mirror.lab.test

services_start() {
  network_create
  image_resolve services
  if [ "$(docker inspect -f '{{.Config.Image}}' "$services" 2>/dev/null)" != "$image_ref" ]; then
    docker rm -fv "$services" >/dev/null 2>&1 || true
    mkdir -p "$state/acme" "$cache/apt" "$cache/releases"
    say "starting the ACME CA and the release mirror"
    local prefix
    prefix=$(network_prefix)
    docker create --name "$services" --hostname services --network "$lab" --ip "$prefix.253" \
      --network-alias acme.lab.test --network-alias mirror.lab.test --network-alias apt.lab.test \
      -v "$state/acme:/var/lib/acme" -v "$cache/releases:/srv/releases:ro" -v "$cache/apt:/var/cache/lab-apt" \
      "${container_rights[@]}" "$image_ref" >/dev/null
  fi
  docker start "$services" >/dev/null
  local deadline=$((SECONDS + 60))
  # Pebble makes a new root each time it starts, so it is asked for each time.
  until docker exec "$services" curl -fs --cacert /var/lib/acme/ca.pem https://localhost:15000/roots/0 >"$state/acme/root.part" 2>/dev/null &&
    docker exec "$services" curl -fs -o /dev/null http://localhost/releases/; do
    [ $SECONDS -lt $deadline ] || die "the ACME CA or the mirror does not start: $(docker exec "$services" journalctl -qn 5 -u acme -u nginx 2>&1)"
    sleep 0.2
  done
  mv "$state/acme/root.part" "$state/acme/root.pem"
}

services_stop() {
  docker rm -fv "$services" >/dev/null 2>&1 || true
  docker network rm "$lab" >/dev/null 2>&1 || true
  rm -f "$state/acme/root.pem"
}

# Docker's own name server answers inside this network: for the hosts and, through its container, for the CA.
network_create() {
  ! docker network inspect "$lab" >/dev/null 2>&1 || return 0
  local prefix
  for prefix in 10.213.86 10.213.87 10.213.88 10.213.89 172.31.213 172.31.214 192.168.213 192.168.214; do
    # Not over a network this machine already reaches some other way; docker refuses its own overlaps itself.
    [ -z "$(ip -4 route show root "$prefix.0/24" 2>/dev/null)" ] || continue
    ! ip -4 route show match "$prefix.0/24" 2>/dev/null | grep -qv '^default' || continue
    docker network create --subnet "$prefix.0/24" --gateway "$prefix.254" "$lab" >/dev/null 2>&1 && return
  done
  die "no free address range for the lab's network"
}

network_prefix() { # -> the first three numbers of its addresses
  docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' "$lab" | cut -d. -f1-3
}
