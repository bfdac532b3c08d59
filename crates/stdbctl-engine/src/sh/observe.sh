# shellcheck shell=sh
# The read-only part that is the same in every script that looks: what records say of the host. Comes after record.sh.

# see_paths PATH...: type, mode, owner, group, size, time of last write and link target of those that are there.
see_paths() {
  rec paths "$(stat -c '%n|%F|%a|%U|%G|%s|%Y|%N' -- "$@" 2>/dev/null)"
}

# see_files WANTED PATH...: the sha256 of those that are there, and the content of those that are not as wanted.
# WANTED holds a line `SHA256  PATH` for each.
see_files() {
  wanted=$1
  shift
  sums=$(sha256sum -- "$@" 2>/dev/null)
  rec sums "$sums"
  [ "$sums" != "$wanted" ] || return 0
  printf '%s\n' "$sums" | while read -r sum path; do
    case $wanted in *"$sum  $path"*) continue ;; esac
    [ "$(stat -c %s -- "$path")" -le 262144 ] || continue
    rec "content:$path" "$(cat -- "$path" && printf x)"
  done
}

# see_secrets PATH...: the sha256 of those that are there, and never their content.
see_secrets() {
  rec sums "$(sha256sum -- "$@" 2>/dev/null)"
}

# see_packages NAME...: dpkg's state of each that it knows.
see_packages() {
  # The braces are dpkg-query's.
  # shellcheck disable=SC2016
  packages=$(dpkg-query -W -f '${Package}|${db:Status-Abbrev}|${Version}\n' "$@" 2>/dev/null)
  rec packages "$packages"
}

# simulate NAME...: what apt would install, if one of them is missing. It takes half a second to say.
simulate() {
  for name; do
    case "
$packages" in
      *"
$name|"?'i '*) ;;
      *)
        apt-get -s -qq install --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Inst //p'
        return
        ;;
    esac
  done
}

# see_extra KIND COMMAND: what it prints, and its exit status in the last line.
see_extra() {
  rec "$1" "$(
    "$2" 2>&1
    printf '\n%s' "$?"
  )"
}

see_users() {
  rec users "$(getent passwd "$@")"
}

see_groups() {
  rec groups "$(getent group "$@")"
}

see_units() {
  rec units "$(systemctl show --timestamp=unix -p Id -p LoadState -p ActiveState -p UnitFileState \
    -p NeedDaemonReload -p InvocationID -p ActiveEnterTimestamp -- "$@" 2>/dev/null)"
}

# see_stamp TASK: what the task's unit was last started or reloaded with.
see_stamp() {
  stamp=
  [ ! -r "/run/stdbctl/with/$1" ] || IFS= read -r stamp <"/run/stdbctl/with/$1"
  rec "stamp:$1" "$stamp"
}

# machine_id: what tells this machine from all others, from copies of it too. Nothing where that is not known.
machine_id() {
  [ -s /etc/machine-id ] || return 0
  for part in /etc/machine-id /sys/class/dmi/id/product_uuid; do
    line=
    [ ! -r "$part" ] || IFS= read -r line <"$part"
    printf '/%s' "$line"
  done 2>/dev/null
}

# is_same_machine ID: whether this is the one that was seen before, as far as that is known.
is_same_machine() {
  case $1 in
    '' | "$(machine_id)") ;;
    *)
      rec elsewhere ''
      return 1
      ;;
  esac
}

# see_host SSH_CONNECTION: what does not stay the same from one look to the next.
see_host() {
  # shellcheck disable=SC1091
  rec host "$(
    [ ! -r /etc/os-release ] || . /etc/os-release
    read -r _ memory _ </proc/meminfo
    printf 'id=%s\nversion=%s\nmachine=%s\nclock=%s\nmemory_kb=%s\nssh=%s\nmachine_id=%s\n' \
      "${ID:-unknown}" "${VERSION_ID:-0}" "$(uname -m)" "$(date +%s)" "$memory" "$1" "$(machine_id)"
  )"
}
