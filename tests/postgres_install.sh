#!/usr/bin/env bash
# Installs Debian's PostgreSQL. Never fails: without it the tests that need it are skipped.
set -u
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0
command -v initdb >/dev/null && exit 0
skip() { echo "PostgreSQL is not tried: $1" >&2; exit 0; }
[ "$(id -u)" = 0 ] || skip "installing it needs root"
command -v apt-get >/dev/null || skip "there is no apt-get to install it"
export DEBIAN_FRONTEND=noninteractive
# Debian's package would start a server of its own on the usual port.
mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get install -qq --no-install-recommends postgresql >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -qq --no-install-recommends postgresql; } >/dev/null 2>&1 ||
  skip "apt-get cannot install it"
