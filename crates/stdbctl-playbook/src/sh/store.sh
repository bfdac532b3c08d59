# shellcheck shell=sh
# The modules that are kept on the host, and which of them each database has had. Comes after server.sh; the script
# around it sets $state. What fails leaves its reason in $why.
# shellcheck disable=SC2154,SC2034

modules=$state/modules
databases=$state/databases

# request_schema IDENTITY: in the newest form that the server knows, $schema_version being the newest known here.
request_schema() {
  request "/v1/database/$1/schema?version=$schema_version"
  [ "$status" != 400 ] || request "/v1/database/$1/schema?version=9"
}

# see_store IDENTITY: the records `modules` (`SHA256 BYTES`), `history` (`SECONDS SHA256 PROGRAM OPERATOR`, newest last)
# and `snapshots` (`snapshot TIME`, then what is known about it).
see_store() {
  rec modules "$(list_modules)"
  rec history "$(cat "$databases/$1/history" 2>/dev/null)"
  rec snapshots "$(list_snapshots "$root/snapshots/$1")"
}

list_modules() {
  for module in "$modules"/*.wasm; do
    [ -f "$module" ] || continue
    module_name=${module##*/}
    printf '%s %s\n' "${module_name%.wasm}" "$(stat -c %s "$module")"
  done
}

list_snapshots() {
  for about in "$1"/*/about; do
    [ -f "$about" ] || continue
    taken_at=${about%/about}
    printf 'snapshot %s\n' "${taken_at##*/}"
    cat "$about"
  done
}

# receive FILE BYTES SHA256: takes a module off standard input, piece by piece so that both sides see it grow.
receive() {
  received=0
  mkdir -p "$modules" 2>/dev/null
  : 2>/dev/null >"$1" || {
    why="cannot write below $modules: is the disk full?"
    return 1
  }
  while [ "$received" -lt "$2" ]; do
    piece=$(($2 - received))
    [ "$piece" -le 262144 ] || piece=262144
    received=$((received + piece))
    head -c "$piece" 2>/dev/null >>"$1"
    [ "$(stat -c %s "$1")" = "$received" ] || break
    tell received "$received"
  done
  sum=$(sha256sum <"$1")
  [ "${sum%% *}" != "$3" ] || return 0
  rm -f "$1"
  why="the module did not arrive whole; below $modules are $(df -P -k "$modules" | awk 'END { print $4 }') kB free"
  return 1
}

# store FILE SHA256 SCHEMA: keeps a module that lies in the store's directory under another name, and its schema.
store() {
  [ -s "$modules/$2.wasm" ] || {
    sync "$1" && mv -fT "$1" "$modules/$2.wasm" && sync "$modules"
  } 2>/dev/null || {
    why="cannot write below $modules: is the disk full?"
    return 1
  }
  rm -f "$1"
  [ -z "$3" ] || store_schema "$2" "$3"
}

# store_schema SHA256 SCHEMA: what a preview of going back compares with. Nothing else needs it.
store_schema() {
  new=$modules/.schema.$1
  if printf %s "$2" 2>/dev/null >"$new"; then mv -fT "$new" "$modules/$1.schema.json"; else rm -f "$new"; fi
}

# remember DATABASE SHA256 PROGRAM WHO: a line of its history, of which the last hundred stay.
remember() {
  line="$(date +%s) $2 $3 $4"
  mkdir -p "$databases/$1" 2>/dev/null
  new=$databases/$1/.history
  {
    tail -n 99 "$databases/$1/history" 2>/dev/null
    printf '%s\n' "$line"
  } 2>/dev/null >"$new"
  if [ "$(tail -n 1 "$new" 2>/dev/null)" = "$line" ] && sync "$new"; then
    mv -fT "$new" "$databases/$1/history"
  else
    rm -f "$new"
    why="cannot write below $databases: is the disk full?"
    return 1
  fi
}

# wanted_modules: of each database, the five different modules that it has had last.
wanted_modules() {
  for history in "$databases"/*/history; do
    [ -f "$history" ] || continue
    tac "$history" | awk '!seen[$2]++ { print $2; if (++count == 5) exit }'
  done
}

# forget SHA256: a module that no database needs.
forget() {
  case $(wanted_modules) in *"$1"*) return ;; esac
  rm -f "$modules/$1.wasm" "$modules/$1.schema.json"
}

# prune_modules: those that no database needs. Not what came within the last hour: somebody may be about to publish it.
prune_modules() {
  find "$modules" -name '.*' -type f -mmin +60 -exec rm -f {} +
  wanted=$(wanted_modules)
  find "$modules" -name '*.wasm' -type f -mmin +60 | while read -r module; do
    module_name=${module##*/}
    case $wanted in
      *"${module_name%.wasm}"*) ;;
      *) rm -f "$module" "${module%.wasm}.schema.json" ;;
    esac
  done
}
