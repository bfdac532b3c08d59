# shellcheck shell=bash disable=SC2034,SC2154 # part of docker/lab, which has the variables
# SpacetimeDB releases: from the official page if it answers, else built from source once, kept in the cache.

release_provide() { # VERSION...
  local version archive
  for version in "$@"; do
    archive=$cache/releases/download/v$version/spacetime-x86_64-unknown-linux-gnu.tar.gz
    [ -s "$archive" ] || release_fetch "$version" "$archive" || release_build "$version"
  done
}

release_fetch() { # VERSION ARCHIVE
  local page=https://github.com/clockworklabs/SpacetimeDB/releases/download/v$1/${2##*/}
  machine_need curl curl ca-certificates
  mkdir -p "${2%/*}"
  say "asking the release page for SpacetimeDB $1"
  # Asked for one byte first: a network that swallows packets must not cost minutes.
  curl -fsSL --connect-timeout 4 --max-time 8 -r 0-0 -o /dev/null "$page" 2>/dev/null || return 1
  curl -fsSL --retry 2 --max-time 900 -o "$2.part" "$page" && tar -tzf "$2.part" >/dev/null && mv "$2.part" "$2"
}

release_build() { # VERSION
  [ "$(uname -m)" = x86_64 ] || die "SpacetimeDB $1 cannot be fetched, and building it here needs an x86_64 machine"
  command -v cargo >/dev/null || die "SpacetimeDB $1 cannot be fetched, and building it needs cargo: install Rust, or put the archive at $cache/releases/download/v$1/"
  local command
  for command in cc pkg-config perl clang; do
    machine_need "$command" build-essential pkg-config libssl-dev perl clang
  done
  say "building SpacetimeDB $1 from source: about 15 minutes, once (log: $state/release.log)"
  "$here/spacetimedb/build" "$1" >"$state/release.log" 2>&1 9>&- ||
    die "building SpacetimeDB $1 failed: $(tail -n 3 "$state/release.log")"
}
