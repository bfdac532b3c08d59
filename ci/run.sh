#!/usr/bin/env bash
# Publishes a module from a CI job; for a pull request, leaves a preview of that in preview.md of the job's folder.
#
# Wants PUBLISH_NAME, PUBLISH_SSH_KEY and PUBLISH_KNOWN_HOSTS (each of the two: the content, or a file of it).
# Everything else, described in action.yml: PUBLISH_MODE, _HOST, _CONFIG, _ENV, _MODULE, _DIRECTORY, _BREAK_CLIENTS,
# _CHECK_REDUCER, _CHECK_SQL, _EXPECT, _ARGS, _WAIT. Exits with stdbctl's own code.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ci/say.sh
. "$here/say.sh"

# Not to be inherited by anything that is started here, least of all by the build of a module.
unset private_key known_hosts
private_key=${PUBLISH_SSH_KEY:-} known_hosts=${PUBLISH_KNOWN_HOSTS:-}
unset PUBLISH_SSH_KEY PUBLISH_KNOWN_HOSTS PUBLISH_TOKEN

choose_mode() { # -> preview|publish
  local event=${GITHUB_EVENT_NAME:-${CI_PIPELINE_SOURCE:-}}
  # Such a workflow has the secrets, and a stranger's code in its checkout.
  [ "$event" != pull_request_target ] ||
    fail 'pull_request_target would run the code of a stranger beside your SSH key: use pull_request' >&2
  case ${PUBLISH_MODE:-auto},$event in
    preview,* | publish,*) echo "$PUBLISH_MODE" ;;
    auto,pull_request | auto,merge_group | auto,merge_request_event) echo preview ;;
    auto,push | auto,workflow_dispatch | auto,release | auto,web) echo publish ;;
    auto,*) fail "is a run for '$event' to publish? Say so: mode is 'preview' or 'publish'" >&2 ;;
    *) fail "mode is '$PUBLISH_MODE', not auto, preview or publish" >&2 ;;
  esac
}

# Writes a secret to a file that nobody else can read. Pasted secrets often lack the last newline, or have too many \r.
keep() { # CONTENT|FILE NAME
  if [ -f "$1" ]; then tr -d '\r' <"$1"; else printf '%s\n' "$1" | tr -d '\r'; fi >"$secrets/$2"
}

add() { # FLAG VALUE
  [ -z "$2" ] || arguments+=("$1=$2")
}

collect_arguments() {
  local line
  arguments=(publish "--name=${PUBLISH_NAME:-}" "--identity=$secrets/key" "--known-hosts=$secrets/known_hosts")
  module=()
  add --host "${PUBLISH_HOST:-}"
  add --config "${PUBLISH_CONFIG:-}"
  add --env "${PUBLISH_ENV:-}"
  add --check-reducer "${PUBLISH_CHECK_REDUCER:-}"
  add --check-sql "${PUBLISH_CHECK_SQL:-}"
  add --expect "${PUBLISH_EXPECT:-}"
  case ${PUBLISH_BREAK_CLIENTS:-false} in
    true) arguments+=(--break-clients) ;;
    false) ;;
    *) fail "break-clients is '$PUBLISH_BREAK_CLIENTS', not true or false" ;;
  esac
  # A line is an argument as it stands, whatever is in it.
  while IFS= read -r line; do
    case $line in
      '') ;;
      --accept-new*) fail 'a job never trusts a host it does not know: take --accept-new out of args, fill known-hosts' ;;
      *) arguments+=("$line") ;;
    esac
  done <<<"${PUBLISH_ARGS:-}"
  [ -z "${PUBLISH_MODULE:-}" ] || module=(-- "$PUBLISH_MODULE")
}

# In place of the calling subshell, so that its process is stdbctl's.
become_stdbctl() { # FLAG...
  exec "$folder/bin/stdbctl" "${arguments[@]}" "$@" ${module[@]+"${module[@]}"}
}

# Waits for the child to end, and passes a cancelled job on to it: it ends as with Ctrl-C, leaving nothing half done.
await() { # PROCESS
  local status
  child=$1
  while :; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
  return "$status"
}

interrupt() { # EXIT_CODE
  interrupted=$1
  [ -z "$child" ] || kill -INT "$child" 2>/dev/null || true
}

end_if_interrupted() {
  [ -z "$interrupted" ] || exit "$interrupted"
}

# Runs stdbctl, showing what it says as it comes. Errors are held back: a run that is repeated had none in the end.
attempt() { # FLAG...
  local status=0 filter
  end_if_interrupted
  : >"$secrets/errors"
  : >"$secrets/cause"
  rm -f "$summary"
  show <"$secrets/output" &
  filter=$!
  (GITHUB_STEP_SUMMARY=$summary become_stdbctl --output github "$@") >"$secrets/output" 2>&1 &
  await $! || status=$?
  wait "$filter" || true
  end_if_interrupted
  return "$status"
}

show() {
  local line
  while IFS= read -r line; do
    case $line in
      '::error '*) printf '%s\n' "$line" >>"$secrets/errors" ;;
      'error: '*) show_line "$line" && printf '%s\n' "${line#error: }" >"$secrets/cause" ;;
      *) show_line "$line" ;;
    esac
  done
}

show_line() { # LINE
  local text
  if on_github; then
    printf '%s\n' "$1"
    return
  fi
  case $1 in
    ::group::*) printf '\e[0Ksection_start:%s:stdbctl[collapsed=true]\r\e[0K%s\n' "$(date +%s)" "${1#::group::}" ;;
    ::endgroup::) printf '\e[0Ksection_end:%s:stdbctl\r\e[0K\n' "$(date +%s)" ;;
    ::error\ * | ::warning\ * | ::notice\ *)
      text=${1#::} text=${text/ title=/: } text=${text/::/: }
      text=${text//%0A/$'\n'} text=${text//%0D/} text=${text//%3A/:} text=${text//%2C/,}
      printf '%s\n' "${text//%25/%}"
      ;;
    *) printf '%s\n' "$1" ;;
  esac
}

show_errors() { # error|notice
  local line
  while IFS= read -r line; do
    show_line "::$1 ${line#::error }"
  done <"$secrets/errors"
}

# What failed is an annotation, also where no host is at fault.
show_failure() { # EXIT_CODE
  show_errors error
  [ "$1" -eq 0 ] || [ -s "$secrets/errors" ] || [ ! -s "$secrets/cause" ] || say error "$(cat "$secrets/cause")"
}

preview() {
  local status=0
  attempt --plan --detailed-exitcode || status=$?
  show_failure "$status"
  [ ! -s "$summary" ] || cp "$summary" "$folder/preview.md"
  read_results || true
  # Something to publish is no failure of a pull request.
  [ "$status" -ne 10 ] || status=0
  return "$status"
}

# Publishes. Another job, or somebody at a terminal, may be changing the host: that one goes first, for a bounded time.
publish() {
  local status pause=0 left
  read_results || true
  while :; do
    status=0
    attempt --yes || status=$?
    left=$((wait_limit - SECONDS))
    # 7: another run holds the lock. 8: it has ended meanwhile, and left the host otherwise than it was looked at.
    case $status in 7 | 8) [ "$left" -gt 0 ] || break ;; *) break ;; esac
    pause=$((pause == 0 ? 1 : pause < 16 ? pause * 2 : 30))
    pause=$((pause < left ? pause : left))
    show_errors notice
    say notice "the host is being changed by somebody else: trying again in $pause s, and for $left s in all"
    sleep "$pause" &
    await $! || true
    end_if_interrupted
  done
  show_failure "$status"
  # The identity of a database is known once it exists.
  [ "$status" -ne 0 ] || [ -n "$database" ] || read_results || true
  return "$status"
}

# Sets what the outputs say from the plan as a document. Fails if there is none.
read_results() {
  local document operation
  on_github || return 0
  document=$(become_stdbctl --plan --output json 2>/dev/null) || [ -n "$document" ] || return
  document=${document#*'"previews":'}
  operation=$(field operation '"[a-z_]*"' "$document")
  [ -n "$operation" ] || return
  database=$(field identity '"[0-9a-f]*"' "$document")
  # The first look decides: the one after a publish finds nothing to do.
  [ -z "$changed" ] || return 0
  changed=true
  [ "$operation" != unchanged ] || changed=false
  breaks_clients=$(field breaks_clients 'true|false' "$document")
}

# A quote inside of a JSON string has a backslash before it, so what looks like a key is one.
field() { # KEY PATTERN DOCUMENT
  grep -aoE "\"$1\": *($2)" <<<"$3" | head -n 1 | sed 's/^[^:]*: *//; s/"//g' || true
}

end() {
  local status=$?
  trap - EXIT
  rm -rf "$secrets"
  if [ -n "$results" ]; then
    printf '%s\n' "changed=$changed" "breaks-clients=$breaks_clients" "database=$database" >>"$results"
  fi
  [ -z "${GITHUB_STEP_SUMMARY:-}" ] || [ ! -s "$summary" ] || cat "$summary" >>"$GITHUB_STEP_SUMMARY"
  exit "$status"
}

mode=$(choose_mode)
wait_limit=${PUBLISH_WAIT:-300}
case $wait_limit in *[!0-9]*) fail "wait is '$wait_limit', not a number of seconds" ;; esac
if [ -z "${private_key//[[:space:]]/}" ]; then
  [ "$mode" = preview ] || fail 'there is no SSH key: set ssh-key to a secret that holds one'
  say warning 'no preview: there is no SSH key. Pull requests from forks have no secrets; for others, set ssh-key to one'
  exit 0
fi
[ -n "${known_hosts//[[:space:]]/}" ] ||
  fail 'known-hosts is empty, and a job never trusts a host it does not know: docs/ci.md says how to get its lines'
[ -n "${PUBLISH_NAME:-}" ] || fail 'name is empty: it is the name of the database'

folder=$(job_folder)
summary=$folder/summary.md results=${GITHUB_OUTPUT:-}
changed='' breaks_clients='' database=''
child='' interrupted=''
rm -f "$folder/preview.md" "$summary"
umask 077
secrets=$(mktemp -d "$folder/secrets.XXXXXX")
trap end EXIT
trap 'interrupt 130' INT
trap 'interrupt 143' TERM HUP
mkfifo "$secrets/output"
keep "$private_key" key
keep "$known_hosts" known_hosts
cd -- "${PUBLISH_DIRECTORY:-.}"
collect_arguments
"$mode"
