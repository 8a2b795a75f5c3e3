#!/bin/sh
# Makes the certificates for deploy/nats-cluster.conf: a private authority, and one folder per server.
#
#   sh deploy/cluster-certificates.sh nats-1.example.org nats-2.example.org nats-3.example.org
#
# Each argument is a server's host name; further names and addresses of it follow after commas. An
# existing file is never changed: to renew a certificate, delete its folder and run this again. Every
# server admits whoever has a certificate of this authority, so keep tls/ca.key to yourself, and have
# it sign nothing else.
set -eu
umask 077
cd "$(dirname "$0")"

[ "$#" -gt 0 ] || { echo "Name the servers: sh $0 nats-1.example.org nats-2.example.org ..." >&2; exit 1; }
command -v openssl >/dev/null || { echo "This needs openssl: install it." >&2; exit 1; }
for names; do
  case $names in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9.,:-]* | *,,* | *,)
      echo "$names: write host names and addresses, separated by commas." >&2
      exit 1
      ;;
  esac
done

mkdir -p tls
work=$(mktemp -d tls/new.XXXXXX)
trap 'rm -rf "$work"' EXIT

if [ ! -e tls/ca.key ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
    -subj "/CN=threadwax NATS cluster" -addext "basicConstraints=critical,CA:TRUE" \
    -addext "keyUsage=critical,keyCertSign" -keyout "$work/ca.key" -out "$work/ca.pem" 2>"$work/log" ||
    { cat "$work/log" >&2; exit 1; }
  mv "$work/ca.pem" tls/ca.pem
  mv "$work/ca.key" tls/ca.key
  echo "Made the authority tls/ca.pem, which clients trust by SSL_CERT_FILE."
fi

for names; do
  host=${names%%,*}
  if [ -e "tls/$host" ]; then
    echo "tls/$host exists: not changed."
    continue
  fi
  alternatives=
  for name in $(echo "$names" | tr , ' '); do
    case $name in
      *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
      *) kind=DNS ;;
    esac
    alternatives="$alternatives${alternatives:+,}$kind:$name"
  done
  mkdir "$work/$host"
  # To the other servers it is a client, too.
  printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
    "extendedKeyUsage=serverAuth,clientAuth" "subjectAltName=$alternatives" > "$work/extensions"
  {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
      -subj "/O=threadwax" -keyout "$work/$host/server.key" -out "$work/request" &&
      openssl x509 -req -in "$work/request" -CA tls/ca.pem -CAkey tls/ca.key -sha256 -days 825 \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions" -out "$work/$host/server.pem"
  } 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
  cp tls/ca.pem "$work/$host/ca.pem"
  mv "$work/$host" "tls/$host"
  echo "Made tls/$host: copy its three files to /etc/nats/tls of that server."
done
