# What runs on the host for a push or a pull. In front of it stand the values of: verb, nonce, path, key, block, size,
# mode, id, small. Numbers that it exits with: 71 a directory, 72 no file, 73 no space, 74 the source changes, 75
# damaged, 76 another one's file.
# shellcheck shell=sh disable=SC2154
set -eu
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
part='' held=/proc/self/fd/9
printf '\n%s\n' "$nonce" >&2
able=-
if command -v gzip >/dev/null; then able=gzip; fi
printf '\n%s %s\n' "$nonce" "$able"
exec 3>&1

# The name that comes as $1, in `name`: what is not harmless in it comes as \0ooo.
decode() {
  name=$(printf '%bx' "$1")
  name=${name%x}
}

# Root follows no link that is not root's: whoever planted it would choose what root writes to.
follow() {
  if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$1")" != 0 ]; then
    printf '%s is a link that root does not follow, being %s'"'"'s: name what it leads to\n' "$1" "$(stat -c %U "$1")" >&2
    exit 1
  fi
}

# Where the file $1 is in truth, and where its new content grows.
locate() {
  target=$1
  if [ -h "$target" ]; then
    follow "$target"
    target=$(readlink -nf "$target" && printf x)
    target=${target%x}
  fi
  check
  part=${target%/*}/.stdbctl-$key.part
}

check() {
  if [ -d "$target" ] && [ ! -h "$target" ]; then exit 71; fi
  if [ -e "$target" ] && [ ! -f "$target" ] && [ ! -h "$target" ]; then exit 72; fi
}

# Whether file 9 is a file of our own, and no other name leads to it. From here on only the number is used: who may
# write to the directory can put a link, or another file, in the place of a name.
is_ours() {
  [ -f "$held" ] && [ "$(stat -L -c '%u %h' "$held")" = "$(id -u) 1" ]
}

# Whether $1 is the file that `look` found, and no link to it.
is_it() {
  [ -f "$1" ] && [ "$(stat -c %d:%i "$1")" = "$id" ]
}

# Opens the file that `look` found, as 9: the part, or the target once another run has put it there.
hold() {
  for file in "$part" "$target"; do
    if is_it "$file"; then
      exec 9<"$file"
      break
    fi
  done
  [ "$(stat -L -c %d:%i "$held" 2>/dev/null)" = "$id" ] || exit 76
  file=$held
}

# Is there room, and what is there already? What nobody went on with for a week goes.
look() {
  locate "$path"
  now=$(date +%s)
  for old in "${part%/*}"/.stdbctl-*.part; do
    if [ -f "$old" ] && [ ! -h "$old" ] && [ "$((now - $(stat -c %Y "$old")))" -gt 604800 ]; then
      rm -f "$old"
    fi
  done
  # Another's file, or a link to one, is not written to.
  if [ -h "$part" ] || { [ -e "$part" ] && [ "$(stat -c '%u %h' "$part")" != "$(id -u) 1" ]; }; then
    rm -f "$part"
  fi
  [ -e "$part" ] || (set -C && : >"$part") || [ -e "$part" ]
  exec 9<"$part"
  is_ours || exit 76
  free=$(df --output=avail -B1 "${part%/*}/" | tail -n 1)
  free=$((free + $(stat -L -c '%b * %B' "$held")))
  if [ "$free" -lt "$size" ]; then
    [ -s "$held" ] || rm -f "$part"
    printf '%s bytes are free there, and %s are needed\n' "$free" "$size" >&2
    exit 73
  fi
  [ ! -f "$target" ] || printf 'target %s\n' "$(stat -c %s "$target")"
  printf 'part %s\n' "$(stat -L -c '%s %d:%i' "$held")"
}

# File 9 gets what the old file has, its owner and mode; where there was none, mode $1.
adopt() {
  if [ -f "$target" ] && [ ! -h "$target" ]; then
    chown --reference="$target" "$held" 2>/dev/null || chgrp --reference="$target" "$held" 2>/dev/null || :
    chmod --reference="$target" "$held"
  else
    chmod "$1" "$held"
  fi
}

finish() {
  locate "$path"
  hold
  # One that was cut off may be at it still: what it has put in its place is not done twice.
  if command -v flock >/dev/null; then flock -w 300 9 || exit 76; fi
  if is_it "$part"; then
    is_ours || exit 76
    truncate -c -s "$size" "$held"
    adopt "$mode"
    sync "$held"
    mv -fT "$part" "$target"
    sync "${target%/*}/"
  elif ! is_it "$target"; then
    exit 76
  fi
  printf 'done\n'
}

drop() {
  locate "$path"
  if is_it "$part"; then rm -f "$part"; fi
  printf 'done\n'
}

read_part() {
  dd bs=262144 iflag=skip_bytes,count_bytes skip="$1" count="$2" if="$file"
}

write_part() {
  is_it "$part" || exit 76
  dd bs=262144 iflag=fullblock,count_bytes oflag=seek_bytes count="$2" seek="$1" conv=notrunc,nocreat status=none of="$file"
}

# What comes out of so many packed bytes of the input. All of them are read, whatever is in them.
unpack() {
  dd bs=262144 iflag=fullblock,count_bytes count="$1" status=none | {
    gzip -dc || :
    cat >/dev/null
  }
}

# Whether `file` gets smaller by an eighth, judged by 64 KiB of it from an offset on.
shrinks() {
  [ "$(dd bs=65536 iflag=skip_bytes count=1 skip="$1" status=none if="$file" | gzip -1c | wc -c)" -lt 57344 ]
}

# So many bytes of `file` from an offset on, packed or plain. If they are not there any more, all ends.
give() {
  if [ "$3" = packed ]; then
    said=$({ read_part "$1" "$2" 2>&4 | gzip -1c >&3; } 4>&1)
  else
    said=$(read_part "$1" "$2" 2>&1 >&3) || :
  fi
  case $said in
    *"
$2 byte"*) ;;
    *dd:*)
      printf '%s\n' "$said" >&2
      exit 1
      ;;
    *) exit 74 ;;
  esac
}

# What says the sha256 of its input. Many a sha256sum knows nothing of the processor's own instructions and costs a host
# more than the writing does; openssl knows them. It is asked for the sum of nothing first: it may be missing or broken.
choose_digest() {
  digest=sha256sum
  case $(openssl dgst -sha256 -r </dev/null 2>/dev/null) in
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 '*) digest='openssl dgst -sha256 -r' ;;
  esac
}

# Blocks of `file`: w writes one that comes in, z one that comes in packed, r gives one out, p gives one out packed if
# that pays, and all answer with the sha256 of what is there.
serve() {
  choose_digest
  while IFS=' ' read -r what number length packed; do
    offset=$((number * block))
    case $what in
      w) write_part "$offset" "$length" ;;
      z) unpack "$packed" | write_part "$offset" "$length" ;;
      r) give "$offset" "$length" plain ;;
      p)
        form=plain
        if shrinks "$offset"; then form=packed; fi
        printf '%s\n' "$form"
        give "$offset" "$length" "$form"
        ;;
    esac
    printf '%s ' "$number"
    dd bs=262144 iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none if="$file" | $digest
  done
}

# One whole file from standard input.
take() {
  # Under -C no file that is there is opened, and no link to one followed.
  set -C
  exec 9>"$part"
  set +C
  is_ours || exit 76
  dd bs=262144 iflag=fullblock,count_bytes count="$1" conv=fsync status=none >&9
  sum=$(sha256sum <"$held")
  [ "${sum%% *}" = "$3" ] || exit 75
  adopt "$2"
  mv -fT "$part" "$target"
}

is_same() {
  [ -f "$name" ] && [ ! -h "$name" ] && sum=$(sha256sum <"$name") && [ "${sum%% *}" = "$1" ]
}

# Links $1 to what is at $2, whatever was there before, if it was no directory.
link() {
  if [ -h "$2" ] && [ "$(readlink -n "$2" && printf x)" = "$1x" ]; then
    printf 'same\n'
    return
  fi
  target=$2
  check
  part=${target%/*}/.stdbctl-$key.part
  ln -sT -- "$1" "$part"
  mv -fT "$part" "$target"
  printf 'new\n'
}

# Records of small things: o one file, f a file of a tree, q is it there, u no link is to be there, d and m a
# directory, l a link.
put() {
  trap '[ -z "$part" ] || rm -f "$part"' EXIT
  while IFS=' ' read -r what length rights expected name; do
    decode "$name"
    case $what in
      o)
        locate "$name"
        name=$target
        if is_same "$expected"; then
          head -c "$length" >/dev/null
          printf 'same\n'
        else
          take "$length" "$rights" "$expected"
          sync "${target%/*}/"
          printf 'new\n'
        fi
        ;;
      f)
        target=$name
        check
        part=${target%/*}/.stdbctl-$key.part
        take "$length" "$rights" "$expected"
        printf 'new\n'
        ;;
      u)
        [ ! -h "$name" ] || rm -f "$name"
        printf 'done\n'
        ;;
      q) if is_same "$expected"; then printf 'same\n'; else printf 'other\n'; fi ;;
      d)
        if [ -d "$name" ]; then
          [ ! -h "$name" ] || follow "$name"
          printf 'same\n'
        else
          mkdir "$name"
          printf 'new\n'
        fi
        ;;
      m)
        [ ! -h "$name" ] || follow "$name"
        [ "$rights" = - ] || chmod "$rights" "$name"
        sync "$name"
        printf 'done\n'
        ;;
      l)
        link=$name
        decode "$expected"
        link "$name" "$link"
        ;;
    esac
  done
}

# What is at `path`: a small file at once, a big one by its size, of a directory what is in it.
show() {
  file=$path
  stamp=$(stat -L -c '%s,%.9Y,%.9Z,%i' "$file")
  if [ -d "$file" ]; then
    printf 'tree %s\n' "$(stat -L -c %a "$file")"
    find "$file/" -mindepth 1 -printf '%y %m %s %P\0%l\0'
    return
  fi
  [ -f "$file" ] || exit 72
  size=$(wc -c <"$file")
  printf 'file %s %s %s\n' "$(stat -L -c %a "$file")" "$size" "$stamp"
  if [ "$size" -le "$small" ]; then
    give 0 "$size" plain
    sha256sum <"$file"
  fi
}

# Whole small files of a tree: g gives one, and both answer with its sha256.
fetch() {
  while IFS=' ' read -r what name; do
    decode "$name"
    file=$name
    if [ "$what" = g ]; then
      size=$(wc -c <"$file")
      printf '%s\n' "$size"
      give 0 "$size" plain
    fi
    sha256sum <"$file"
  done
}

case $verb in
  part)
    locate "$path"
    hold
    serve
    ;;
  target)
    locate "$path"
    file=$target
    serve
    ;;
  source)
    file=$path
    serve
    ;;
  *) "$verb" ;;
esac
