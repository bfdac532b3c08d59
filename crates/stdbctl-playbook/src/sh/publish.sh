# shellcheck shell=sh
# A module goes live, proves itself, or is taken back. Comes after server.sh, owner.sh, store.sh, snapshot.sh and rows.sh;
# the script around it says what is wanted, in variables. Defines main: it runs under the host's lock.
# shellcheck disable=SC2154,SC2034

# main: the record `outcome` says how it ended and why.
main() {
  began=$(date +%s)
  outcome=failed why=
  if as_seen; then
    publish
  elif [ "$status" = 0 ]; then
    outcome=down why=$body
  else
    outcome=stale
  fi
  if [ "$outcome" = stale ]; then tell stale ''; else tell outcome "$outcome $why"; fi
}

# as_seen: whether the database is as it was when the preview was made, and the module where it was.
as_seen() {
  request "/v1/database/$database_name"
  [ -n "$payload" ] || [ -s "$modules/$sha.wasm" ] || return
  if [ -z "$database" ]; then
    [ "$status" = 404 ]
    return
  fi
  [ "$(hex_in "$body" database_identity) $(hex_in "$body" owner_identity)" = "$database $owner" ] || return
  [ -n "$live" ] || return 0
  seen=$live
  see_live && [ "$live" = "$seen" ]
}

# see_live: leaves the server's hash of the module that is live in $live.
see_live() {
  request_as "$owner" "/v1/database/$database/sql" --data-binary 'select program_hash from st_module'
  live=$(printf '%s' "$body" | sed -n 's/.*"rows":\[\["\(0x[0-9a-f]*\)"\]\].*/\1/p')
  [ "$status" = 200 ] && [ -n "$live" ]
}

# step ID COMMAND...: one of the plan's steps, if it is planned. Why it failed is what it leaves in $why.
step() {
  case " $steps " in *" $1 "*) ;; *) return 0 ;; esac
  now=$1
  shift
  tell "started:$now" ''
  if "$@"; then
    tell "finished:$now" 0
  else
    tell "finished:$now" "1 $why"
    return 1
  fi
}

publish() {
  snapshot=
  if ! step owner make_owner || ! look_back || ! step upload keep_modules || ! step snapshot keep_data; then
    outcome="step $now"
    [ -z "$payload" ] || forget "$sha"
    return
  fi
  step publish "$put" || {
    rejected
    return
  }
  step proof prove || {
    failed_why=$why
    show_log
    undo
    why=$failed_why
    return
  }
  lock_database
  finish
}

make_owner() {
  # shellcheck disable=SC2086
  eval "ensure_owner $claims"
}

# look_back: what there is before anything changes, for the way back and for the snapshot.
look_back() {
  now=look
  [ -n "$database" ] || return 0
  [ -n "$live" ] || see_live || {
    why="the server does not say which module is live: $body"
    return 1
  }
  request_schema "$database"
  [ "$status" = 200 ] || body=
  live_schema=$body
  live_before=$live before=$(count_rows)
  tell before "$before"
}

# keep_modules: the new one as it comes, and the one that is live if it is not in the store.
keep_modules() {
  [ -z "$payload" ] || {
    receive "$modules/.new.$run_id" "$bytes" "$sha" && store "$modules/.new.$run_id" "$sha" ''
  } || return
  [ -z "$database" ] || keep_live
}

keep_live() {
  [ -z "$live_sha" ] || [ ! -s "$modules/$live_sha.wasm" ] || {
    [ -s "$modules/$live_sha.schema.json" ] || store_schema "$live_sha" "$live_schema"
    return 0
  }
  mkdir -p "$modules"
  new=$modules/.new.$run_id
  ticking fetch_live
  live_sha=$(sha256sum <"$new")
  live_sha=${live_sha%% *}
  [ "$(head -c 4 "$new" | od -An -tx1 | tr -d ' \n')" = 0061736d ] || {
    rm -f "$new"
    why='the server does not hand out the module that is live, or there is no room for it'
    return 1
  }
  store "$new" "$live_sha" "$live_schema" && remember "$database" "$live_sha" "$live" '(found on the server)'
}

fetch_live() {
  request_as "$owner" "/v1/database/$database/sql" --data-binary 'select program_bytes from st_module' -o "$run/live"
  sed 's/.*"rows":\[\["\(0x\)\{0,1\}//; s/".*//' "$run/live" | tr a-f A-F | tr -d '\n' | basenc -d --base16 2>/dev/null >"$new"
}

keep_data() {
  take_snapshot "program $live${newline}sha256 $live_sha$newline${cleared:+deleted$newline}$(printf '%s' "$before" | sed 's/^/rows /')"
}

# slowly COMMAND...: a request that may take its time; leaves $status and $body.
slowly() {
  patience=3600
  ticking note_answer "$@"
  patience=
  status=$(head -n 1 "$run/answer")
  body=$(tail -n +2 "$run/answer")
}

note_answer() {
  "$@"
  printf '%s\n%s' "$status" "$body" >"$run/answer"
}

# put SHA256 QUERY: the module of the store goes live.
put() {
  slowly request_as "$owner" "/v1/database/$database_name?host_type=Wasm$2" -X PUT \
    -H 'Content-Type: application/wasm' -H 'Expect:' --data-binary "@$modules/$1.wasm"
  case $status in 2??) ;; *) false ;; esac
}

put_module() {
  created=
  put "$sha" "$query" || { was_taken && created=yes; } || return
  case $body in *'"op":"created"'*) created=yes ;; esac
  [ -n "$database" ] || database=$(printf '%s' "$body" | sed -n 's/.*"database_identity":"\([0-9a-f]\{64\}\)".*/\1/p')
  [ -n "$database" ] || {
    why="$status $body"
    return 1
  }
  snapshots=$root/snapshots/$database
}

# was_taken: whether a server that broke off without an answer has done it all the same.
was_taken() {
  why="$status $body"
  if [ "$status" != 0 ] || ! ticking await_server; then return 1; fi
  [ -n "$database" ] || {
    request "/v1/database/$database_name"
    database=$(hex_in "$body" database_identity)
  }
  [ -n "$database" ] && see_live && [ "$live" = "$program" ]
}

put_data() {
  restore_snapshot "$restore_from"
}

# rejected: what was not taken, by what is live now. What the old module's way back needs goes only if that is live.
rejected() {
  refusal=$why
  outcome=rejected
  [ "$put" = put_module ] || outcome="step publish"
  [ -z "$database" ] || show_log
  if [ -z "$database" ]; then
    [ -z "$payload" ] || forget "$sha"
  elif see_live && [ "$live" = "${live_before:-}" ]; then
    [ -z "$snapshot" ] || rm -rf "${snapshots:?}/$snapshot"
    [ -z "$payload" ] || forget "$sha"
  elif [ "$status" = 200 ] && [ -n "$live" ] && [ "$live" != "$program" ]; then
    outcome=stale
  elif [ -n "$snapshot" ]; then
    refusal="$refusal; the data of before is kept in $snapshots/$snapshot"
  fi
  why=$refusal
}

# prove: the module that is live is this one, and it works.
prove() {
  see_live || {
    why="the database does not answer: $body"
    return 1
  }
  [ "$live" = "$program" ] || {
    why='the server says that another module is live'
    return 1
  }
  request_schema "$database"
  [ "$status" = 200 ] || {
    why="the database does not tell its schema: $body"
    return 1
  }
  store_schema "$sha" "$body"
  prove_reducer && prove_sql
}

prove_reducer() {
  [ -n "$check_reducer" ] || return 0
  slowly request_as "$owner" "/v1/database/$database/call/$check_reducer" -X POST \
    -H 'Content-Type: application/json' --data-binary '[]'
  case $status in 2??) return ;; esac
  why="the reducer $check_reducer failed: $body"
  return 1
}

prove_sql() {
  [ -n "$check_sql" ] || return 0
  # As a file: arguments can be seen by everybody on the host.
  printf %s "$check_sql" >"$run/check"
  slowly request_as "$owner" "/v1/database/$database/sql" -X POST --data-binary "@$run/check"
  [ "$status" = 200 ] || {
    why="the check's query failed: $body"
    return 1
  }
  [ -n "$check_rows" ] || return 0
  rows=$(printf '%s' "$body" | rows_of)
  case $newline$check_rows$newline in *"$newline$rows$newline"*) return ;; esac
  why="the check's query answered $(printf '%s' "$rows" | head -c 400) and not $check_expect"
  return 1
}

# show_log: the module's own last lines.
show_log() {
  request_as "$owner" "/v1/database/$database/logs?num_lines=20"
  [ "$status" != 200 ] || tell log "$began$newline$body"
}

# undo: takes back what did not stand its proof. Leaves $how, and the outcome.
undo() {
  outcome=rolled_back how=
  case $operation in
    create) undo_create ;;
    restore) undo_restore ;;
    *) undo_update ;;
  esac || outcome=stuck
  tell undone "$how"
}

undo_create() {
  [ -n "$created" ] || {
    how='somebody else has made the database meanwhile, so it is left alone'
    return 1
  }
  request_as "$owner" "/v1/database/$database" -X DELETE
  case $status in
    2??) how='the new database was deleted again' ;;
    *)
      how="the database cannot be deleted: $body"
      return 1
      ;;
  esac
  forget "$sha"
}

undo_restore() {
  kept=$snapshots/$restore_from
  rm -rf "$kept/failed"
  if find_replica && exchange "$kept/replaced" "$kept/failed"; then
    rm -rf "$kept/failed"
    how='the newer module is live again, with its data'
  else
    how=$why
    false
  fi
}

# put_back: the old module, whatever it breaks. A server that plans migrations wants to be shown that its plan is known.
put_back() {
  way=
  [ -z "$plans" ] || {
    slowly request_as "$owner" "/v1/database/$database/pre_publish?style=NoColor&host_type=Wasm" -X POST \
      -H 'Content-Type: application/wasm' -H 'Expect:' --data-binary "@$modules/$live_sha.wasm"
    way=$(printf '%s' "$body" | sed -n 's/.*"token":"\(\(0x\)\{0,1\}[0-9a-f]\{64\}\)".*/\&policy=BreakClients\&token=\1/p')
    [ -n "$way" ] || return
  }
  put "$live_sha" "$way"
}

undo_update() {
  if [ -z "$cleared" ] && put_back && see_live && [ "$live" = "$live_before" ]; then
    how='the old module is live again'
    [ -z "$snapshot" ] || rm -rf "${snapshots:?}/$snapshot"
    [ -z "$payload" ] || forget "$sha"
    return
  fi
  how=$body
  [ -n "$snapshot" ] || {
    [ -z "$cleared" ] || how='the data was deleted without a snapshot'
    return 1
  }
  restore_snapshot "$snapshot" || {
    how="$why; the data of before is kept in $snapshots/$snapshot"
    return 1
  }
  if ! see_live || [ "$live" != "$live_before" ]; then
    how='the snapshot was put back, and the server does not answer as before'
    return 1
  fi
  how='the old module is live again, with the data as it was before'
  ticking prune_snapshots
  [ -z "$payload" ] || forget "$sha"
}

# lock_database: against deletion. That it cannot be is no reason to take the module back.
lock_database() {
  case " $steps " in *' lock '*) ;; *) return ;; esac
  tell started:lock ''
  request_as "$owner" "/v1/database/$database/lock" -X POST
  case $status in
    2??) tell finished:lock 0 ;;
    *) tell skipped:lock "the server did not lock the database: $status $body" ;;
  esac
}

finish() {
  outcome='done' why=
  remember "$database" "$sha" "$program" "$operator" || tell unrecorded "$why"
  why=
  ticking prune_modules
  ticking prune_snapshots
  tell identity "$database"
  tell after "$(count_rows)"
  show_log
}
