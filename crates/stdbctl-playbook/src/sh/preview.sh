# shellcheck shell=sh
# What can be known before a module goes live without changing anything. Comes after server.sh, owner.sh, store.sh,
# snapshot.sh and rows.sh; the script around it says what is wanted, in variables.
# shellcheck disable=SC2154,SC2034

# see_publish: what there is under a name, and what is kept of it. $owner is whose it will be, if there is nothing yet.
see_publish() {
  see_moving
  ask health /v1/health
  [ "$status" != 0 ] || {
    see_unit
    return
  }
  schema_version=10
  case $body in *'"version":"1.'* | *'"version":"0.'*) schema_version=9 ;; esac
  ask database "/v1/database/$database_name"
  if [ "$status" = 200 ]; then
    database=$(hex_in "$body" database_identity) owner=$(hex_in "$body" owner_identity)
    ask_as "$owner" program "/v1/database/$database/sql" --data-binary 'select program_hash from st_module'
    fits=$status
    request_schema "$database"
    hand_on schema
  else
    database=none
    request_as "$owner" "/v1/identity/$owner/verify"
    fits=$status
  fi
  # Whoever was let in needs no further look at keys, which takes its time.
  case $fits in
    2??) rec owner "token $owner 204 private -" ;;
    *) see_owner ;;
  esac
  see_store "$database"
}

# see_unit: the record `unit`: its state, then what it has logged last.
see_unit() {
  rec unit "$(
    systemctl show -p LoadState,ActiveState,SubState,Result "$unit" 2>/dev/null | tr '\n' ' '
    printf '\n'
    journalctl --no-pager -q -o cat -n 50 -u "$unit" 2>/dev/null | grep -a '[[:alpha:]]' | tail -n 5 |
      sed "s/$(printf '\033')\[[0-9;]*m//g"
  )"
}

# preview: what the server would do with the module, and what it would do it to. With $payload the module comes on
# standard input; it stays in the store if $keep says so. With $claims the owner's token is made first: it is missing, or
# another key has signed it, and without it nothing can be asked.
preview() {
  [ -z "$claims" ] || {
    eval "ensure_owner $claims" || {
      rec unowned "$why"
      return
    }
    ask_as "$owner" program "/v1/database/$database/sql" --data-binary 'select program_hash from st_module'
  }
  file=$modules/$sha.wasm
  [ -z "$payload" ] || {
    file=$modules/.preview.$sha.$$
    receive "$file" "$bytes" "$sha" || {
      rec unreceived "$why"
      return
    }
  }
  status=200
  [ -z "$plans" ] || {
    patience=600
    with_ticks request_as "$owner" "/v1/database/$database/pre_publish?style=NoColor&host_type=Wasm" -X POST \
      -H 'Content-Type: application/wasm' -H 'Expect:' --data-binary "@$file"
    patience=
    hand_on migration
  }
  if [ -n "$payload" ] && [ "$keep $status" = 'yes 200' ]; then
    store "$file" "$sha" ''
  elif [ -n "$payload" ]; then
    rm -f "$file"
  fi
  rec rows "$(count_rows)"
  rec schema "$(cat "$modules/$sha.schema.json" 2>/dev/null)"
  see_room
}

# with_ticks COMMAND...: says every second that it still runs; nothing else is said meanwhile.
with_ticks() {
  (while sleep 1 >/dev/null 2>&1; do rec tick '' || exit; done) </dev/null &
  ticker=$!
  "$@"
  kill "$ticker" 2>/dev/null
  wait "$ticker" 2>/dev/null
}

# tell KIND DATA: as in scripts that change something.
tell() {
  rec "$@"
}
