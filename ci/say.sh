# shellcheck shell=bash # read by the scripts beside it
# How a CI job is told something: as annotations on GitHub, as plain lines elsewhere.

on_github() { [ "${GITHUB_ACTIONS:-}" = true ]; }

say() { # error|warning|notice MESSAGE
  if on_github; then
    local message=${2//'%'/%25}
    message=${message//$'\r'/%0D}
    printf '::%s title=stdbctl::%s\n' "$1" "${message//$'\n'/%0A}"
  else
    printf '%s: %s\n' "$1" "$2"
  fi
}

fail() { # MESSAGE
  say error "$1"
  exit 1
}

# A folder of this job alone: what install.sh put there, and what one script leaves for the next.
job_folder() {
  local parent=${RUNNER_TEMP:-${CI_PROJECT_DIR:+$CI_PROJECT_DIR.tmp}}
  [ -n "$parent" ] || fail 'neither RUNNER_TEMP nor CI_PROJECT_DIR is set: is this a CI job?' >&2
  (umask 077 && mkdir -p "$parent/stdbctl") || exit
  printf '%s/stdbctl' "$parent"
}
