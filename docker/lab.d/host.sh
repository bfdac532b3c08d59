# shellcheck shell=bash disable=SC2034,SC2154 # part of docker/lab, which has the variables
# Hosts. The engine's container labels are the only record of them; beside that a host has a folder in the state
# directory with its known_hosts and its disk.

# shellcheck disable=SC2054 # the comma belongs to the mount's options
# What systemd needs to run in a container. Not --privileged: a sandbox may lack some of it.
container_rights=(
  --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add NET_RAW --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH
  --cap-add SYSLOG --cap-add SYS_NICE --cap-add SYS_BOOT --cap-add MKNOD --cap-add AUDIT_WRITE
  --cap-add AUDIT_CONTROL --cap-add LINUX_IMMUTABLE --cap-add IPC_LOCK
  --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns=private
  --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec,mode=1777
)
sudo_password="lab pass'word\$1"
identity=$state/id_ed25519

host_check_name() { # NAME
  [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || misuse "not a host name: '$1' (lower case letters, digits, -)"
}

host_names() {
  docker ps -a --filter "label=stdbctl.lab=$lab" --format '{{.Label "stdbctl.lab.name"}}' | sort
}

host_label() { # NAME LABEL
  docker inspect -f "{{index .Config.Labels \"stdbctl.lab.$2\"}}" "$lab-$1" 2>/dev/null
}

host_up() { # NAME
  local fresh=false
  # Without its known_hosts it is what a killed `up` left.
  if [ -s "$state/hosts/$1/known_hosts" ] && host_label "$1" name >/dev/null; then
    [ "$(host_label "$1" image)" = "$image" ] || die "$1 is up with another image: docker/lab down $1"
    docker start "$lab-$1" >/dev/null
  else
    fresh=true
    host_down "$1" >/dev/null
    host_create "$1"
  fi
  host_wait "$1"
  host_print "$1" "$fresh"
}

host_create() { # NAME
  local folder=$state/hosts/$1 attempt taken=''
  mkdir -p "$folder/seed"
  locked identity host_make_identity
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$folder/seed/ssh_host_ed25519_key"
  ssh-keygen -q -t ecdsa -N '' -C "$1" -f "$folder/seed/ssh_host_ecdsa_key"
  ssh-keygen -q -t rsa -b 2048 -N '' -C "$1" -f "$folder/seed/ssh_host_rsa_key"
  [ -z "$volume" ] || host_attach_volume "$folder/volume.img"
  for attempt in 1 2 3 4 5; do
    locked hosts host_reserve "$1"
    tar -C "$folder/seed" --owner=0 --group=0 -c . | docker cp - "$lab-$1:/etc/ssh"
    tar -C "$state/authorized" --owner=1000 --group=1000 -c . | docker cp - "$lab-$1:/home/ubuntu"
    docker start "$lab-$1" >/dev/null 2>"$folder/error" && break
    # The address may have been taken behind our back, by another lab or another program: then try the next one.
    if [ "$attempt" -eq 5 ] || ! grep -qE 'already (allocated|in use)' "$folder/error"; then
      cat "$folder/error" >&2
      host_down "$1" >/dev/null
      die "$1 cannot be started"
    fi
    taken+=" $(host_label "$1" octet)"
    docker rm -fv "$lab-$1" >/dev/null
  done
  local login
  login=$(host_address "$1")
  sed "s/^/$login /" "$folder"/seed/*.pub >"$folder/known_hosts"
  rm -rf "$folder/seed" "$folder/error"
}

# One key for all hosts, made once: other runs may be reading it at any time.
host_make_identity() {
  local authorized=$state/authorized/.ssh
  [ ! -s "$authorized/authorized_keys" ] || return 0
  rm -f "$identity" "$identity.pub"
  ssh-keygen -q -t ed25519 -N '' -C stdbctl-lab -f "$identity"
  mkdir -p "$authorized"
  chmod 700 "$authorized"
  install -m 600 "$identity.pub" "$authorized/part"
  mv "$authorized/part" "$authorized/authorized_keys"
}

host_attach_volume() { # FILE -> sets loop
  [ "$(id -u)" -eq 0 ] || die "--volume needs root: it attaches a loop device"
  machine_need losetup mount
  truncate -s "$volume" "$1"
  loop=$(losetup -f --show "$1")
}

# Picks the lowest free number N, whose addresses are 127.0.10.N and <network>.N, and holds it by creating the container.
host_reserve() { # NAME, avoiding $taken
  local used n port prefix reach=loopback published=() device=()
  used=" $(docker ps -a --filter label=stdbctl.lab --format '{{.Label "stdbctl.lab.octet"}}' | tr '\n' ' ')$taken "
  for ((n = 1; n <= 250; n++)); do
    [[ $used == *" $n "* ]] || break
  done
  [ "$n" -le 250 ] || die "all 250 addresses are in use: docker/lab list"
  prefix=$(network_prefix)
  if host_loopback_free; then
    # 3000 too, which nobody may reach: a port that was opened by mistake must be seen from outside.
    for port in 22 80 443 3000; do published+=(-p "127.0.10.$n:$port:$port"); done
  else
    reach=network
  fi
  [ -z "$volume" ] || device=(--device "$loop:/dev/nvme1n1")
  docker create --name "$lab-$1" --hostname "$1" --network "$lab" --ip "$prefix.$n" \
    --network-alias "$1.lab.test" --network-alias "$1.refused.lab.test" \
    --label "stdbctl.lab=$lab" --label "stdbctl.lab.name=$1" --label "stdbctl.lab.octet=$n" --label "stdbctl.lab.image=$image" \
    --label "stdbctl.lab.reach=$reach" --label "stdbctl.lab.inside=$prefix.$n" --label "stdbctl.lab.volume=${volume:+/dev/nvme1n1}" \
    "${published[@]}" "${device[@]}" "${container_rights[@]}" "$image_ref" >/dev/null
}

# False if a program of this machine (its own sshd, say) holds one of the ports on all addresses, 127.0.10.N among them.
host_loopback_free() {
  ! awk '$4 == "0A" { split($2, at, ":"); if (at[1] ~ /^0+$/ && at[2] ~ /^(0016|0050|01BB|0BB8)$/) found = 1 } END { exit !found }' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

host_address() { # NAME -> where this machine reaches it
  if [ "$(host_label "$1" reach)" = loopback ]; then
    echo "127.0.10.$(host_label "$1" octet)"
  else
    host_label "$1" inside
  fi
}

host_wait() { # NAME
  local deadline=$((SECONDS + 120)) system=''
  until [ "$system" = running ] && host_ssh "$1" true </dev/null >/dev/null 2>&1; do
    system=$(timeout 100 docker exec "$lab-$1" systemctl is-system-running --wait 2>/dev/null) || true
    if [ "$system" = degraded ] || [ $SECONDS -ge $deadline ]; then
      docker exec "$lab-$1" systemctl --failed --no-legend >&2 || docker logs --tail 5 "$lab-$1" >&2 || true
      die "$1 does not come up (systemd says '${system:-nothing}'); docker/lab down $1 removes it"
    fi
    [ "$system" = running ] || sleep 0.2
  done
}

host_ssh() { # NAME [COMMAND...]
  local name=$1
  shift
  ssh -F none -i "$identity" -o IdentitiesOnly=yes -o UserKnownHostsFile="$state/hosts/$name/known_hosts" -o GlobalKnownHostsFile=none \
    -o StrictHostKeyChecking=yes -o BatchMode=yes -o ConnectTimeout=10 "ubuntu@$(host_address "$name")" "$@" 3>&- 9>&-
}

host_reboot() { # NAME
  host_label "$1" name >/dev/null || die "no host '$1'"
  docker restart -t 90 "$lab-$1" >/dev/null
  host_wait "$1"
  host_print "$1" false
}

host_describe() { # NAME
  host_print "$1" false
}

host_down() { # NAME
  local removed=false device folder=$state/hosts/$1
  ! host_label "$1" name >/dev/null || removed=true
  docker rm -fv "$lab-$1" >/dev/null 2>&1 || [ "$removed" = false ] || die "docker cannot remove $1"
  if [ -e "$folder/volume.img" ]; then
    for device in $(losetup -j "$folder/volume.img" | cut -d: -f1); do losetup -d "$device"; done
  fi
  rm -rf "$folder"
  printf '{"name":"%s","removed":%s}\n' "$1" "$removed"
}

host_print() { # NAME FRESH
  local inspected kind inside device running address
  inspected=$(docker inspect -f '{{with .Config.Labels}}{{index . "stdbctl.lab.image"}}|{{index . "stdbctl.lab.inside"}}|{{index . "stdbctl.lab.volume"}}{{end}}|{{.State.Running}}' "$lab-$1")
  IFS='|' read -r kind inside device running <<<"$inspected"
  address=$(host_address "$1")
  printf '{"name":%s,"ssh":%s,"identity":%s,"known_hosts":%s,"address":%s,"domain":%s,"refused_domain":%s' \
    "$(json "$1")" "$(json "ubuntu@$address")" "$(json "$identity")" "$(json "$state/hosts/$1/known_hosts")" \
    "$(json "$inside")" "$(json "$1.lab.test")" "$(json "$1.refused.lab.test")"
  printf ',"acme_directory":%s,"acme_ca":%s,"acme_root":%s,"mirror":%s,"container":%s,"image":%s,"running":%s,"fresh":%s' \
    "$(json "$acme_directory")" "$(json "$state/acme/ca.pem")" "$(json "$state/acme/root.pem")" "$(json "$mirror")" \
    "$(json "$lab-$1")" "$(json "$kind")" "$running" "$2"
  [ "$kind" != sudo-password ] || printf ',"sudo_password":%s' "$(json "$sudo_password")"
  [ -z "$device" ] || printf ',"volume":%s' "$(json "$device")"
  printf '}\n'
}

json() { # TEXT -> a JSON string
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}
