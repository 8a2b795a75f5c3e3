#!/usr/bin/env bash
# Installs promtool of Debian's Prometheus. Never fails: without it the tests that need it are skipped.
set -u
command -v promtool >/dev/null && exit 0
skip() { echo "The alert rules are not tried: $1" >&2; exit 0; }
[ "$(id -u)" = 0 ] || skip "installing promtool needs root"
command -v apt-get >/dev/null || skip "there is no apt-get to install promtool"
# Unpacked, not installed: Debian's package would start a server on its usual port.
folder=$(mktemp -d) || skip "no temporary folder"
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder" || skip "no temporary folder"
apt-get download -qq prometheus >/dev/null 2>&1 ||
  { apt-get update -qq && apt-get download -qq prometheus; } >/dev/null 2>&1 ||
  skip "apt-get cannot download it"
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - ./usr/bin/promtool &&
  install -m 755 usr/bin/promtool /usr/local/bin/promtool ||
  skip "promtool cannot be unpacked"
