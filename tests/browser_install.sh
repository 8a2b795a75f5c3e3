#!/usr/bin/env bash
# Installs Debian's Chromium and its driver. Never fails: without them the tests that need a browser
# are skipped.
set -u
command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
skip() { echo "The browser is not tried: $1" >&2; exit 0; }
[ "$(id -u)" = 0 ] || skip "installing it needs root"
command -v apt-get >/dev/null || skip "there is no apt-get to install it"
export DEBIAN_FRONTEND=noninteractive
packages="chromium chromium-driver"
apt-get install -qq --no-install-recommends $packages >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -qq --no-install-recommends $packages; } >/dev/null 2>&1 ||
  skip "apt-get cannot install it"
