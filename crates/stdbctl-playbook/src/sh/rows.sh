# shellcheck shell=sh
# Rows: how many there are, and what a query answered. Comes after server.sh; the script around it sets $database,
# $owner and $tables, names separated by blanks.
# shellcheck disable=SC2154

# count_rows: a line `TABLE COUNT` for each table that there is.
count_rows() {
  for table in $tables; do
    request_as "$owner" "/v1/database/$database/sql" --data-binary "select count(*) as n from \"$table\"" </dev/null
    count=$(printf '%s' "$body" | sed -n 's/.*"rows":\[\[\([0-9][0-9]*\)\]\].*/\1/p')
    [ "$status" != 200 ] || [ -z "$count" ] || printf '%s %s\n' "$table" "$count"
  done
}

# rows_of: the rows in the answer to a query, without blanks outside of texts.
rows_of() {
  awk '
    { text = text $0 " " }
    END {
      at = index(text, "\"rows\":")
      if (!at) exit
      text = substr(text, at + 7)
      for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (quoted) {
          out = out c
          if (escaped) escaped = 0
          else if (c == "\\") escaped = 1
          else if (c == "\"") quoted = 0
          continue
        }
        if (c ~ /[ \t\r]/) continue
        out = out c
        if (c == "\"") quoted = 1
        if (c == "[" || c == "{") depth++
        if (c == "]" || c == "}") depth--
        if (depth == 0) break
      }
      print out
    }'
}
