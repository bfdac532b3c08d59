#!/usr/bin/env bash
# Shows the preview that run.sh has left: as one comment of the pull request (GitHub) or one note of the merge request
# (GitLab), which later runs of the same database and host bring up to date. A comment that cannot be written is a warning.
#
# Wants PUBLISH_TOKEN. PUBLISH_NAME, _HOST and _ENV as run.sh; PUBLISH_PULL_REQUEST: the number, on GitHub.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ci/say.sh
. "$here/say.sh"
export LC_ALL=C

# No more than the services take, 65536 characters on GitHub, with room for what is added.
most=60000

unset token
token=${PUBLISH_TOKEN:-}
unset PUBLISH_TOKEN

give_up() { # REASON
  say warning "the preview is not a comment: $1. This job shows it"
  exit 0
}

# METHOD URL [FILE] -> $status, and the body in $answer. The token goes through a pipe: arguments can be seen by others.
request() {
  local method=$1 url=$2 header='Authorization: Bearer' more=()
  on_github || header=PRIVATE-TOKEN:
  # To repeat what is not known to have failed could make two comments.
  if [ "$method" = GET ]; then more=(--retry 2); else more=(--header 'Content-Type: application/json' --data-binary "@$3"); fi
  ! on_github || more+=(--header 'Accept: application/vnd.github+json' --header 'X-GitHub-Api-Version: 2022-11-28')
  status=$(printf '%s %s\n' "$header" "$token" |
    curl --silent --show-error --header @- --request "$method" --user-agent stdbctl --connect-timeout 20 --max-time 60 \
      --output "$answer" --write-out '%{http_code}' "${more[@]}" -- "$url") || give_up 'the API cannot be reached (see above)'
  case $status in
    2??) ;;
    401 | 403 | 404) give_up "the job's token may not write it (HTTP $status): docs/ci.md says what it takes" ;;
    *) give_up "the API answers $status" ;;
  esac
}

# One JSON token a line. A quote inside of a string has a backslash before it, so strings come out whole.
tokens() {
  grep -aoE '"([^"\\]|\\.)*"|[][{},:]|[^][{},:"[:space:]]+'
}

# Of the comments in $answer: how many there are, and the id of the one that begins with the marker, if it is a bot's.
# On GitHub the token is a bot's, and what somebody else wrote behind our marker is not ours to change.
find_comment() {
  local author=
  ! on_github || author='"Bot"'
  tokens <"$answer" | MARKER="\"$marker" AUTHOR="$author" awk '
    { sub(/^"\\u003c/, "\"<"); gsub(/\\u003e/, ">") }
    $0 == "{" || $0 == "[" { depth++; key = value = ""; if ($0 == "{" && depth == 2) { count++; id = body = type = "" } next }
    $0 == "}" || $0 == "]" {
      if ($0 == "}" && depth == 2 && found == "" && index(body, ENVIRON["MARKER"]) == 1 &&
          (ENVIRON["AUTHOR"] == "" || type == ENVIRON["AUTHOR"])) found = id
      depth--; key = ""; next
    }
    $0 == ":" { key = last; next }
    $0 == "," { key = ""; next }
    key == "" { last = $0; if (depth == 2) parent = $0; next }
    depth == 2 && key == "\"id\"" { id = $0 }
    depth == 2 && key == "\"body\"" { body = $0 }
    depth == 3 && parent == "\"user\"" && key == "\"type\"" { type = $0 }
    END { print count + 0, found }'
}

# The body as a JSON document.
document() {
  printf '{"body":"'
  tr -d '\000-\010\013-\037\177' <"$1" | sed 's/\\/\\\\/g; s/"/\\"/g'$'; s/\t/\\\\t/g' | awk '{ printf "%s\\n", $0 }'
  printf '"}'
}

# The text up to the last whole line that fits; a block of code that is open there is closed.
shortened() {
  awk -v most="$most" '
    { size += length($0) + 1 }
    size > most { if (open) print "```"; print "\n*And more: the job shows the whole of it.*"; exit }
    { print }
    /^ *```/ { open = !open }'
}

write_body() {
  printf '%s\n' "$marker"
  shortened <"$preview"
  printf '\n<sub>Preview of %s by [this job](%s). Nothing has been changed.</sub>\n' "$commit" "$job"
}

folder=$(job_folder)
preview=$folder/preview.md
if [ ! -s "$preview" ] || [ "${PUBLISH_COMMENT:-true}" = false ]; then exit 0; fi
if on_github; then
  number=${PUBLISH_PULL_REQUEST:-}
  url=${GITHUB_API_URL:-https://api.github.com}/repos/${GITHUB_REPOSITORY:-}
  comments=$url/issues/$number/comments one=$url/issues/comments change=PATCH
  commit=${PUBLISH_COMMIT:-${GITHUB_SHA:-}}
  job=${GITHUB_SERVER_URL:-https://github.com}/${GITHUB_REPOSITORY:-}/actions/runs/${GITHUB_RUN_ID:-}
else
  number=${CI_MERGE_REQUEST_IID:-}
  comments=${CI_API_V4_URL:-}/projects/${CI_PROJECT_ID:-}/merge_requests/$number/notes one=$comments change=PUT
  commit=${CI_COMMIT_SHA:-} job=${CI_JOB_URL:-}
fi
case $number in '' | *[!0-9]*) exit 0 ;; esac
[ -n "$token" ] || give_up 'there is no token for the API'

# Nothing in it may end the HTML comment that it is.
place=${PUBLISH_HOST:-${PUBLISH_ENV:-default}}
marker="${PUBLISH_NAME:-}@$place"
marker="<!-- stdbctl:${marker//[^a-zA-Z0-9._@:-]/_} -->"

work=$(mktemp -d "$folder/comment.XXXXXX")
trap 'rm -rf "$work"' EXIT
answer=$work/answer
write_body >"$work/body.md"
document "$work/body.md" >"$work/body.json"

page=1 count=100 found=''
while [ "$count" -ge 100 ] && [ -z "$found" ] && [ "$page" -le 50 ]; do
  request GET "$comments?per_page=100&page=$page"
  read -r count found <<<"$(find_comment)"
  page=$((page + 1))
done
if [ -n "$found" ]; then
  request "$change" "$one/$found" "$work/body.json"
else
  request POST "$comments" "$work/body.json"
fi
