# shellcheck shell=sh
# The identity that owns the databases, and the tokens that prove it. Comes after server.sh. No token is ever in an
# argument, in the environment or in a record: of one that was found only the payload is told, which proves nothing.
# What fails leaves its reason in $why.
# shellcheck disable=SC2154,SC2034

signing_key=$root/config/id_ecdsa
why=

# see_owner: the record `owner`, a line a fact:
#   key yes|no|bad          the private key: there, missing, not to be read
#   public yes|no|bad       the public one
#   pair yes|no             no if both are there and do not belong together
#   server same|other|unknown   whether the server runs with the key of these files
#   token IDENTITY STATUS private|open PAYLOAD|-    each token below $tokens: what the server says to it (204 fits, 401
#                                                   signed by another key, 0 no answer), and whether others can read it
see_owner() {
  rec owner "$(
    see_keys
    see_tokens
  )"
}

see_keys() {
  private_half=$(openssl pkey -in "$signing_key" -passin pass: -pubout 2>/dev/null)
  public_half=$(openssl pkey -pubin -in "$signing_key.pub" -pubout 2>/dev/null)
  request /v1/identity/public-key
  servers=
  [ "$status" != 200 ] || servers=$(printf '%s\n' "$body" | openssl pkey -pubin -pubout 2>/dev/null)
  pair=yes server=other
  [ -z "$private_half" ] || [ -z "$public_half" ] || [ "$private_half" = "$public_half" ] || pair=no
  [ "$servers" != "${private_half:-$public_half}" ] || server=same
  [ -n "$servers" ] || server=unknown
  printf '%s\n' "key $(presence "$signing_key" "$private_half")" \
    "public $(presence "$signing_key.pub" "$public_half")" "pair $pair" "server $server"
}

# presence FILE CONTENT: whether a file is there, given what could be read of it.
presence() {
  if [ -n "$2" ]; then echo yes; elif [ -e "$1" ]; then echo bad; else echo no; fi
}

see_tokens() {
  for token in "$tokens"/*.jwt; do
    [ -e "$token" ] || continue
    token_of=${token##*/}
    token_of=${token_of%.jwt}
    request_as "$token_of" "/v1/identity/$token_of/verify" </dev/null
    access=open
    [ "$(stat -c '%a %u' "$token" 2>/dev/null)" != "600 $(stat -c %u "$root/config")" ] || access=private
    token_payload=$(payload_in "$token")
    printf '%s\n' "token $token_of $status $access ${token_payload:--}"
  done
}

# payload_in FILE: the payload of the token that a file holds and nothing else, or nothing.
payload_in() {
  [ -f "$1" ] || return 0
  as_server timeout 5 head -c 16384 "$1" 2>/dev/null | sed -n '1s/^[A-Za-z0-9_-]*\.\([A-Za-z0-9_-]*\)\.[A-Za-z0-9_-]*$/\1/p'
}

# see_databases IDENTITY: the record `databases`: a line for each database it owns, `DATABASE NAME...`, after a line
# `IDENTITY STATUS`.
see_databases() {
  request "/v1/identity/$1/databases"
  rec databases "$1 $status$(
    printf '%s' "$body" | grep -o '"[0-9a-f]\{64\}"' | tr -d '"' | while read -r database; do
      request "/v1/database/$database/names" </dev/null
      names=
      [ "$status" != 200 ] || names=$(printf '%s' "$body" | tr -d '"\n' | sed 's/^[^[]*\[//; s/\].*//' | tr , ' ')
      printf '\n%s %s' "$database" "$names"
    done
  )"
}

# see_foreign_tokens: the record `foreign`: `PATH PAYLOAD` for each token that the `spacetime` command has left behind.
see_foreign_tokens() {
  rec foreign "$(
    {
      printf '%s\n' "$root/config/cli.toml" /root/.config/spacetime/cli.toml /home/*/.config/spacetime/cli.toml
      sed -n 's|^[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:\(/[^:]*\):[^:]*$|\1/.config/spacetime/cli.toml|p' /etc/passwd
    } | tr -s / | awk '!seen[$0]++' | while IFS= read -r cli_toml; do
      foreign_payload=$(token_in "$cli_toml" | cut -d. -f2)
      [ -z "$foreign_payload" ] || printf '%s\n' "$cli_toml $foreign_payload"
    done
  )"
}

# token_in CLI_TOML: the token that the `spacetime` command keeps there, or nothing. The file may be anybody's.
token_in() {
  [ -f "$1" ] || return 0
  timeout 5 head -c 65536 "$1" 2>/dev/null |
    sed -n 's/^[[:blank:]]*spacetimedb_token[[:blank:]]*=[[:blank:]]*["'\'']\([A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\)["'\''].*/\1/p' |
    head -n 1
}

# ensure_owner IDENTITY ISSUER SUBJECT: its token is there and fits, or a new one is made.
ensure_owner() {
  verify_token "$1" && return
  [ "$status" != 0 ] || [ ! -s "$tokens/$1.jwt" ] || {
    why="the server does not answer: $body"
    return 1
  }
  mint "$@" || return
  verify_token "$1" && return
  case $status in
    0) why="the server does not answer: $body" ;;
    401) why="the server does not run with $signing_key: it refuses what that key has signed" ;;
    *) why="the server does not accept the new token of $1: $status $body" ;;
  esac
  return 1
}

verify_token() {
  request_as "$1" "/v1/identity/$1/verify" </dev/null
  [ "$status" = 204 ]
}

# mint IDENTITY ISSUER SUBJECT: its token, signed with the server's key as it is now.
mint() {
  [ -s "$signing_key" ] || {
    why="the server's signing key $signing_key is missing"
    return 1
  }
  unsigned=$(
    printf %s '{"typ":"JWT","alg":"ES256"}' | url64
    printf .
    printf '{"hex_identity":"%s","sub":"%s","iss":"%s","aud":["spacetimedb"],"iat":%s,"exp":null}' \
      "$1" "$(json_text "$3")" "$(json_text "$2")" "$(date +%s)" | url64
  )
  signature=$(printf %s "$unsigned" | sign) || {
    why="$signing_key cannot sign: it is no P-256 private key that openssl reads"
    return 1
  }
  keep "$1" "$unsigned.$signature"
}

# adopt CLI_TOML IDENTITY: keeps the token found there beside our own.
adopt() {
  adopted=$(token_in "$1")
  [ -n "$adopted" ] || {
    why="there is no token in $1 any more"
    return 1
  }
  keep "$2" "$adopted"
}

# keep IDENTITY TOKEN: in its file, at once or not at all.
keep() {
  # shellcheck disable=SC2016
  printf %s "$2" | as_server sh -c '
    umask 077
    { [ -d "$0" ] || mkdir "$0"; } && chmod 700 "$0" || exit
    rm -f "$0"/.new.*
    new=$(mktemp "$0/.new.XXXXXX") || exit
    cat >"$new" && sync "$new" && mv -fT "$new" "$0/$1.jwt" && exit
    rm -f "$new"
    exit 1' "$tokens" "$1" 2>/dev/null && return
  why="cannot write below $tokens: is the disk full, or is it not the server's own directory?"
  return 1
}

# restore_public: the public half of the key anew, from the private one.
restore_public() {
  # shellcheck disable=SC2016
  openssl pkey -in "$signing_key" -passin pass: -pubout 2>/dev/null | as_server sh -c '
    umask 077
    new=$(mktemp "$0.XXXXXX") || exit
    cat >"$new" && [ -s "$new" ] && sync "$new" && mv -fT "$new" "$0" && exit
    rm -f "$new"
    exit 1' "$signing_key.pub" 2>/dev/null && return
  why="cannot write $signing_key.pub: is the disk full?"
  return 1
}

# json_text TEXT: as it stands between the quotes of a JSON string. TEXT has no control characters.
json_text() {
  printf %s "$1" | sed 's/["\\]/\\&/g'
}

# url64: standard input in base64 as URLs and JWTs have it.
url64() {
  base64 | tr -d '=\n' | tr '+/' '-_'
}

# sign: the signature of standard input as a JWT has it: the two numbers of openssl's DER, each 32 bytes long.
sign() {
  openssl dgst -sha256 -passin pass: -sign "$signing_key" 2>/dev/null | od -An -v -tx1 | awk '
    function digit(at) { return index("0123456789abcdef", substr(numbers, at, 1)) - 1 }
    function size(byte) { return 16 * (index("0123456789abcdef", substr(byte, 1, 1)) - 1) + index("0123456789abcdef", substr(byte, 2, 1)) - 1 }
    { for (i = 1; i <= NF; i++) bytes[count++] = $i }
    END {
      if (count < 8 || bytes[0] != "30") exit 1
      at = 2
      for (part = 0; part < 2; part++) {
        if (bytes[at] != "02") exit 1
        number = ""
        for (i = size(bytes[at + 1]); i > 0; i--) number = bytes[at + 1 + i] number
        at += 2 + size(bytes[at + 1])
        sub(/^(00)+/, "", number)
        while (length(number) < 64) number = "0" number
        if (length(number) != 64) exit 1
        numbers = numbers number
      }
      if (at != count) exit 1
      numbers = numbers "0"
      alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
      for (i = 1; i < length(numbers); i += 3) {
        value = 256 * digit(i) + 16 * digit(i + 1) + digit(i + 2)
        printf "%s%s", substr(alphabet, int(value / 64) + 1, 1), substr(alphabet, value % 64 + 1, 1)
      }
    }'
}
