# shellcheck shell=sh
# Asks one database, as its owner. Comes after server.sh.
# shellcheck disable=SC2154

# open_database NAME: leaves $database and $owner, which are identities, and whether there is a token as a record.
open_database() {
  ask health /v1/health
  ask database "/v1/database/$1"
  database=$(hex_in "$body" database_identity) owner=$(hex_in "$body" owner_identity)
  [ "$status" = 200 ] && [ -n "$database" ] && [ -n "$owner" ] || return 1
  [ -s "$tokens/$owner.jwt" ] || {
    rec no_token "$owner"
    return 1
  }
}

# say NAME PATH LENGTH [CURL ARGUMENT...]: sends the next LENGTH bytes of standard input as the body. Fails if the
# answer is no success.
say() {
  name=$1 path=$2 length=$3
  shift 3
  head -c "$length" | {
    request_as "$owner" "$path" --data-binary @- "$@"
    [ "${#body}" -le "$most" ] || rec too_long "$most"
    hand_on "$name"
    [ "$status" -ge 200 ] && [ "$status" -lt 300 ]
  }
}

# statements LENGTH...: runs one statement of SQL after the other, up to the first that fails.
statements() {
  number=0
  for length; do
    say "sql$number" "/v1/database/$database/sql" "$length" || return 1
    number=$((number + 1))
  done
}

# sql STATEMENT: leaves $status and $body. For what names nothing of the operator's.
sql() {
  request_as "$owner" "/v1/database/$database/sql" --data-binary @- <<EOF
$1
EOF
}

# count_rows: the record `rows`, a line `COUNT TABLE` for each of the module's tables whose name is a plain word.
count_rows() {
  sql "select table_name from st_table where table_type = 'user'"
  [ "$status" = 200 ] || return 0
  rows=
  for table in $(printf '%s' "${body#*'"rows":'}" | grep -oE '\["[A-Za-z0-9_]+"\]' | tr -d '[]"'); do
    sql "select count(*) as n from $table"
    count=$(printf '%s' "$body" | sed -n 's/.*"rows":\[\[\([0-9]*\)\]\].*/\1/p')
    [ -z "$count" ] || rows="$rows$count $table$newline"
  done
  rec rows "$rows"
}

# describe: the schema in the newest form the server knows, and how many rows there are.
describe() {
  request "/v1/database/$database/schema?version=10"
  [ "$status" = 200 ] || request "/v1/database/$database/schema?version=9"
  hand_on schema
  count_rows
}

# family: the processes that end when the operator's connection does, this one first.
family() {
  member=$$
  while [ "${member:-0}" -gt 1 ]; do
    echo "$member"
    member=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$member/status" 2>/dev/null)
  done
}

# logs QUERY: what the module has logged, a record `line` for each line, and in the last one the status. sshd leaves
# a command running that writes nothing, so that a watcher has to find out that the operator is gone.
logs() {
  family=$(family)
  {
    printf 'Authorization: Bearer %s\n' "$(as_server cat "$tokens/$owner.jwt")" |
      curl -sSN --connect-timeout 5 -w '\n%{http_code}\n' -H @- -- "$base/v1/database/$database/logs?$1" 2>&1 &
    curl=$!
    (
      # shellcheck disable=SC2086
      while sleep 5; do kill -0 $family || kill "$curl"; done
    ) >/dev/null 2>&1 &
    watcher=$!
    wait "$curl"
    kill "$watcher"
  } 2>/dev/null </dev/null | while IFS= read -r line; do
    rec line "$line" || break
  done
}
