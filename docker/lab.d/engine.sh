# shellcheck shell=bash disable=SC2034,SC2154 # part of docker/lab, which has the variables
# The Docker Engine: one that answers is used as it is; as root, one is installed and started.

engine_start() {
  [ "$(uname -s)" = Linux ] || die "the lab needs Linux"
  machine_need flock util-linux
  machine_need ssh-keygen openssh-client
  engine_answers || locked engine engine_bring_up
  engine_raise_limits
}

engine_answers() {
  command -v docker >/dev/null && docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

engine_bring_up() {
  engine_answers && return
  [ "$(id -u)" -eq 0 ] ||
    die "no Docker Engine answers and this is not root: start Docker, or run as root to have it installed and started"
  # The engine comes with the client; a client alone may be another vendor's.
  machine_need dockerd docker.io
  machine_need docker docker.io
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  else
    engine_spawn
  fi
  local deadline=$((SECONDS + 60))
  until engine_answers; do
    [ $SECONDS -lt $deadline ] || die "dockerd does not answer: $(tail -n 3 "$state/dockerd.log" 2>/dev/null)"
    sleep 0.3
  done
}

engine_spawn() {
  local pid
  # A dockerd that was killed leaves its pid file, and a new one refuses to start beside it.
  for pidfile in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    pid=$(cat "$pidfile" 2>/dev/null) || continue
    case $(cat "/proc/$pid/comm" 2>/dev/null || echo gone) in dockerd | containerd) ;; *) rm -f "$pidfile" ;; esac
  done
  say "starting dockerd (log: $state/dockerd.log)"
  # It outlives this command: own session, and none of our descriptors (9 is a lock, 3 the caller's stdout).
  setsid dockerd --storage-driver=overlay2 </dev/null >"$state/dockerd.log" 2>&1 3>&- 9>&- &
}

# Each host's systemd takes about five inotify instances; the usual 128 end after 26 hosts.
engine_raise_limits() {
  local limit=/proc/sys/fs/inotify/max_user_instances
  [ "$(cat $limit)" -ge 8192 ] || { [ -w $limit ] && echo 8192 >$limit; } ||
    say "fs.inotify.max_user_instances is $(cat $limit): not more than about $(($(cat $limit) / 5)) hosts will start"
}
