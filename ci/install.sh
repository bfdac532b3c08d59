#!/usr/bin/env bash
# Puts the stdbctl binary of a release into the job's folder, and on the PATH of later steps. What is downloaded is
# checked by its sha256 before anything in it is unpacked, and never given to a shell.
#
# Wants PUBLISH_VERSION. PUBLISH_SHA256: the archive's sha256, or lines as sha256sum writes them, of which the one of the
# archive's name counts; without it, the file SHA256SUMS beside the archive. PUBLISH_DOWNLOAD_URL: a mirror of the
# project's releases.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ci/say.sh
. "$here/say.sh"

version=${PUBLISH_VERSION:-}
version=${version#v}
pinned=${PUBLISH_SHA256:-}
base=${PUBLISH_DOWNLOAD_URL:-https://github.com/stdbctl/stdbctl/releases/download}

target() {
  case $(uname -sm) in
    'Linux x86_64') echo x86_64-unknown-linux-gnu ;;
    'Linux aarch64' | 'Linux arm64') echo aarch64-unknown-linux-gnu ;;
    'Darwin x86_64') echo x86_64-apple-darwin ;;
    'Darwin arm64') echo aarch64-apple-darwin ;;
    *) fail "there is no stdbctl for $(uname -sm): use a Linux or macOS runner, x86_64 or arm64" >&2 ;;
  esac
}

download() { # URL FILE
  # Whoever can change what comes over plain HTTP can change the checksum beside it, but not the one in the workflow.
  local protocols='=https'
  [ -z "$pinned" ] || protocols='=https,http,file'
  curl --fail --silent --show-error --location --proto "$protocols" --proto-redir "$protocols" \
    --retry 3 --connect-timeout 20 --max-time 600 --output "$2" -- "$1" || return
}

sha256() { # FILE
  if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}

# The sha256 of a name in lines of sha256sum, whose second blank is a `*` for files that were read as binary.
listed() { # NAME
  tr -d '\r' | awk -v name="$1" '{ file = $2; sub(/^\*/, "", file) } file == name { print $1; exit }'
}

case $version in
  '' | *[!0-9A-Za-z.+-]*) fail "version is '$version': it must be that of a release, such as 0.1.0" ;;
esac
command -v curl >/dev/null || fail 'there is no curl on this runner: install it in a step before'

target=$(target)
archive=stdbctl-$version-$target.tar.gz
url=${base%/}/v$version/$archive
folder=$(job_folder)
work=$(mktemp -d "$folder/install.XXXXXX")
trap 'rm -rf "$work"' EXIT

case $pinned in
  *[[:space:]]*) wanted=$(printf '%s\n' "$pinned" | listed "$archive") ;;
  ?*) wanted=$pinned ;;
  *)
    download "${url%/*}/SHA256SUMS" "$work/SHA256SUMS" ||
      fail "cannot download ${url%/*}/SHA256SUMS (see above); a mirror without it, or without HTTPS, needs sha256 to be given"
    wanted=$(listed "$archive" <"$work/SHA256SUMS")
    ;;
esac
[[ $wanted =~ ^[0-9a-fA-F]{64}$ ]] || fail "no sha256 is known for $archive: give it as sha256, 64 hexadecimal digits"
wanted=$(printf %s "$wanted" | tr A-F a-f)

download "$url" "$work/$archive" || fail "cannot download $url (see above)"
got=$(sha256 "$work/$archive")
[ "$got" = "$wanted" ] ||
  fail "$url is not the file it should be: its sha256 is $got, not $wanted. Nothing of it was run"

tar -xzf "$work/$archive" -C "$work" stdbctl || fail "$archive holds no stdbctl"
chmod 755 "$work/stdbctl"
"$work/stdbctl" --version || fail "stdbctl $version does not run on this runner (see above)"
mkdir -p "$folder/bin"
mv -f "$work/stdbctl" "$folder/bin/stdbctl"
[ -z "${GITHUB_PATH:-}" ] || printf '%s\n' "$folder/bin" >>"$GITHUB_PATH"
