# shellcheck shell=sh
# Talks to SpacetimeDB on the host it runs on, over loopback. The script around it sets $base (`http://127.0.0.1:3000`)
# and $root. An owner's token is read from its file and goes through a pipe: no argument, variable of the environment
# or file elsewhere ever holds it.
# shellcheck disable=SC2154

tokens=$root/config/stdbctl
newline='
'
# The longest answer that is handed on, in bytes.
most=6000000
# What goes to loopback never goes through a proxy that the host has for the rest of the world: it holds tokens.
export no_proxy='*'
unset NO_PROXY

# take_answer: $status and $body of $answer, as curl has written it.
take_answer() {
  status=${answer##*"$newline"} body=${answer%"$newline"*}
  case $status in
    000) status=0 ;;
    [1-5][0-9][0-9]) ;;
    *) status=0 body=$answer ;;
  esac
}

# as_server COMMAND...: as the owner of the configuration, so that no link below it leads root astray.
as_server() {
  server_user=$(stat -c %u "$root/config") && server_group=$(stat -c %g "$root/config") || return
  [ "$server_user" != "$(id -u)" ] || {
    "$@"
    return
  }
  setpriv --reuid "$server_user" --regid "$server_group" --clear-groups -- "$@"
}

# request PATH [CURL ARGUMENT...]: leaves $status and $body. No answer at all is status 0, with curl's words.
request() {
  path=$1
  shift
  answer=$(curl -sS --connect-timeout 5 -m "${patience:-60}" -w '\n%{http_code}' "$@" -- "$base$path" 2>&1)
  take_answer
}

# request_as IDENTITY PATH [CURL ARGUMENT...]: the same with that identity's token. Standard input stays curl's.
request_as() {
  [ -s "$tokens/$1.jwt" ] || {
    status=0 body="no token of $1"
    return
  }
  identity=$1
  shift
  {
    answer=$(
      printf 'Authorization: Bearer %s\n' "$(as_server cat "$tokens/$identity.jwt")" |
        {
          path=$1
          shift
          curl -sS --connect-timeout 5 -m "${patience:-60}" -w '\n%{http_code}' -H @/dev/fd/3 "$@" -- "$base$path" 2>&1
        } 3<&0 <&5 5<&-
    )
  } 5<&0
  take_answer
}

# hand_on NAME: the last answer as the record `answer:NAME`, its status in the first line.
hand_on() {
  [ "${#body}" -le "$most" ] || status=0 body="the answer is longer than $most bytes"
  rec "answer:$1" "$status$newline$body"
}

# ask NAME PATH [CURL ARGUMENT...]
ask() {
  name=$1
  shift
  request "$@"
  hand_on "$name"
}

# ask_as IDENTITY NAME PATH [CURL ARGUMENT...]
ask_as() {
  as=$1 name=$2
  shift 2
  request_as "$as" "$@"
  hand_on "$name"
}

# hex_in TEXT FIELD: the identity in `"FIELD":{"__identity__":"0x..."}`, or nothing.
hex_in() {
  printf '%s' "$1" | sed -n "s/.*\"$2\":{\"__identity__\":\"0x\([0-9a-f]\{64\}\)\"}.*/\1/p"
}
