#!/bin/sh
# Completes .env for docker-compose.yml: random passwords for PostgreSQL and for each user of
# deploy/nats-server.conf.
# It only ever adds lines, so it can run again at any time; it never changes or prints a value.
set -eu
umask 077
cd "$(dirname "$0")/.."

touch .env
chmod 600 .env

# The last assignment counts, as it does for Compose. Quotes are not part of the value.
value_of() {
  sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" .env |
    tail -n 1 | tr -d '\r' | sed -e 's/^"\(.*\)"[[:space:]]*$/\1/' -e "s/^'\(.*\)'[[:space:]]*\$/\1/" -e 's/[[:space:]]*$//'
}

wrong=0
missing=
for name in $(sed -n 's/.*password: \$\([A-Z_]*\).*/\1/p' deploy/nats-server.conf) THREADWAX_POSTGRES_PASSWORD; do
  value=$(value_of "$name")
  case $value in
    '') missing="$missing $name" ;;
    [!A-Za-z]* | *[!A-Za-z0-9]*)
      # It becomes part of a URL, and NATS reads it as if it were written in its configuration.
      echo "$name: use letters and digits only, and begin with a letter." >&2
      wrong=1
      ;;
  esac
done
[ "$wrong" -eq 0 ] || exit 1
if [ -z "$missing" ]; then
  echo "Every password is in .env already: nothing to do."
  exit 0
fi

lines=
for name in $missing; do
  random=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  [ "${#random}" -eq 48 ] || { echo "/dev/urandom gives no random bytes: nothing was changed." >&2; exit 1; }
  lines="$lines$name=p$random
"
done
# A last line without an end would swallow the first of ours.
[ -z "$(tail -c 1 .env)" ] || echo >> .env
printf '\n# Passwords of NATS, one per user of deploy/nats-server.conf, and of PostgreSQL (deploy/passwords.sh).\n%s' "$lines" >> .env
for name in $missing; do
  echo "Added $name to .env."
done
