# shellcheck shell=bash disable=SC2034,SC2154 # part of docker/lab, which has the variables
# This machine: its packages, and where its apt gets them from.

# machine_need COMMAND PACKAGE...: has the command, or installs it.
machine_need() {
  local command=$1
  shift
  command -v "$command" >/dev/null 2>&1 || machine_install "$@" ||
    die "'$command' is missing and cannot be installed here: install the package(s) $* and try again"
}

machine_install() { # PACKAGE...
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
  say "installing $*"
  local install=(apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@")
  "${install[@]}" >"$state/apt.log" 2>&1 9>&- ||
    { apt-get -q -o DPkg::Lock::Timeout=600 update && "${install[@]}"; } >"$state/apt.log" 2>&1 9>&- ||
    { tail -n 5 "$state/apt.log" >&2 && return 1; }
}

machine_distribution() { # -> debian, ubuntu or something else
  (. /etc/os-release 2>/dev/null && echo "$ID") || echo unknown
}

# Prints the archive entries of this machine's apt for another suite of the same distribution, as sources.list lines.
# Third-party repositories stay out: hosts are fresh servers.
machine_sources() { # SUITE
  local own
  command -v apt-get >/dev/null || return 0
  own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016 # apt fills these in
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)' 2>/dev/null |
    awk -v own="$own" -v suite="$1" '
      $4 == "Packages" && $1 ~ /^https?:.*\/(debian|debian-security|ubuntu)\/$/ &&
      $2 ~ "^" own "(-updates|-security)?$" && $3 ~ /^(main|universe)$/ {
        sub("^" own, suite, $2)
        print "deb", $1, $2, $3
      }' | sort -u
}

# The settings of this machine's apt without which its archive would not answer, as apt.conf lines.
machine_apt_settings() {
  command -v apt-config >/dev/null || return 0
  apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) ' || true
}
