# shellcheck shell=bash disable=SC2034,SC2154 # part of docker/lab, which has the variables
# Images: the base, and what docker/host and docker/services make of it. Tagged by their inputs, so a changed file
# builds a new image and an unchanged one costs nothing.

# Sets image_ref to the image of a flavour and image_base, image_suite to what it is made from.
image_resolve() { # plain|python|sudo-password|services
  image_choose_base
  image_read_apt
  local folder=host
  [ "$1" != services ] || folder=services
  local inputs
  inputs=$(cd "$here/$folder" && head -n -0 -- * && echo "$image_base $image_apt_sources $image_apt_settings")
  image_ref=stdbctl-lab/$1:$(printf %s "$inputs" | sha256sum | cut -c1-12)
  image_folder=$folder
}

# Ubuntu 24.04 where a registry answers, else a Debian or Ubuntu made from this machine's own package archive.
image_choose_base() {
  local refused=$state/registry-refused
  image_base=ubuntu:24.04 image_suite=noble image_distribution=ubuntu
  ! docker image inspect $image_base >/dev/null 2>&1 || return 0
  if [ -z "$(find "$refused" -mmin -1440 2>/dev/null)" ]; then
    say "asking the image registry for $image_base"
    timeout 120 docker pull -q $image_base >/dev/null 2>"$refused.error" && return
    say "no registry answers ($(tail -n 1 "$refused.error")); not asked again before tomorrow"
    touch "$refused"
  fi
  image_distribution=$(machine_distribution)
  case $image_distribution in
    debian) image_suite=bookworm ;;
    ubuntu) image_suite=noble ;;
    *) die "no image registry answers, and without one the lab can only build hosts on Debian or Ubuntu" ;;
  esac
  image_base=stdbctl-lab/base:$image_suite
}

# Hosts install from where this machine does, if it is of the same distribution.
image_read_apt() {
  [ -z "${image_apt_settings+known}" ] || return 0
  image_apt_sources=''
  [ "$image_distribution" != "$(machine_distribution)" ] || image_apt_sources=$(machine_sources "$image_suite")
  image_apt_settings=$(machine_apt_settings)
}

image_build() { # plain|python|sudo-password|services
  image_resolve "$1"
  ! docker image inspect "$image_ref" >/dev/null 2>&1 || return 0
  case $image_base in stdbctl-lab/*) image_bootstrap ;; esac
  say "building the image $image_ref"
  local context
  context=$(mktemp -d "$cache/context.XXXXXX")
  cp "$here/$image_folder"/* "$context"
  echo "$image_apt_sources" >"$context/sources.list"
  echo "$image_apt_settings" >"$context/apt.conf"
  # The classic builder: present in every client and engine, and needs no registry.
  if ! DOCKER_BUILDKIT=0 docker build -q --build-arg BASE="$image_base" --target "$1" -t "$image_ref" "$context" >"$state/build.log" 2>&1; then
    tail -n 20 "$state/build.log" >&2
    rm -rf "$context"
    die "the image $1 cannot be built (log: $state/build.log)"
  fi
  rm -rf "$context"
}

# A minimal system of the same distribution, kept as an archive so that an emptied engine gets it back in seconds.
image_bootstrap() {
  ! docker image inspect "$image_base" >/dev/null 2>&1 || return 0
  local archive=$cache/base-$image_suite.tar.gz
  if [ ! -s "$archive" ]; then
    [ "$(id -u)" -eq 0 ] || die "no image registry answers, and building a base image takes root: run 'docker/lab prepare' as root once"
    machine_need debootstrap debootstrap
    local work components='main' mirror
    [ "$image_distribution" = debian ] || components=main,universe
    mirror=$(machine_sources "$image_suite" | awk -v suite="$image_suite" '$3 == suite { print $2; exit }')
    [ -n "$mirror" ] || die "this machine's apt knows no $image_distribution archive to build a base image from"
    work=$(mktemp -d "$cache/base.XXXXXX")
    say "building a $image_suite base image from $mirror (half a minute)"
    if ! debootstrap --variant=minbase --components="$components" --include=ca-certificates "$image_suite" "$work" "$mirror" >"$state/debootstrap.log" 2>&1; then
      tail -n 5 "$state/debootstrap.log" >&2
      rm -rf --one-file-system "$work"
      die "debootstrap failed (log: $state/debootstrap.log)"
    fi
    rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/*
    tar -C "$work" --numeric-owner -czf "$archive.part" .
    rm -rf --one-file-system "$work"
    mv "$archive.part" "$archive"
  fi
  docker import "$archive" "$image_base" >/dev/null
}
