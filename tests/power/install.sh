#!/usr/bin/env bash
# Installs the packages for a lossy disk on Debian. Never fails: without them the tests are skipped.
set -u
PATH=$PATH:/usr/sbin:/sbin
packages="libfuse3-3 e2fsprogs mount"
ldconfig -p 2>/dev/null | grep -q libfuse3 && command -v mkfs.ext4 losetup >/dev/null && exit 0
skip() { echo "the power tests will be skipped: $1" >&2; exit 0; }
[ -e /dev/fuse ] || skip "there is no /dev/fuse"
[ "$(id -u)" = 0 ] || skip "mounting needs root"
command -v apt-get >/dev/null || skip "one of $packages is missing, and there is no apt-get to install it"
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq --no-install-recommends $packages >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -qq --no-install-recommends $packages; } >/dev/null 2>&1 ||
  skip "apt-get cannot install $packages"
