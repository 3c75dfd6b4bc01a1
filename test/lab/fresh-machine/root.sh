#!/bin/sh
# Makes the root file system of a machine that has never seen the project: Debian's minbase, ca-certificates, git and
# Node.js with npm, and a clone of the checkout with what is not committed yet.
# $1 = SUITE  $2 = SOURCES (of apt)  $3 = TAR (the Debian part, made unless it is there)  $4 = ROOT (an empty folder)
# $5 = CHECKOUT  $6 = NODE (this host's, with its npm beside it); the rest are further options of mmdebstrap.
set -eu
umask 022
suite=$1 sources=$2 tar=$3 root=$4 checkout=$5 node=$6
shift 6
packages=ca-certificates,git
# Debian 12's own Node.js is too old.
[ "$suite" = bookworm ] || packages=$packages,nodejs,npm
if [ ! -f "$tar" ]; then
  mkdir -p "$(dirname "$tar")"
  mmdebstrap --variant=minbase --format=tar --include="$packages" "$@" "$suite" "$tar.new" "$sources"
  mv "$tar.new" "$tar"
fi
tar -xpf "$tar" -C "$root"
if [ "$suite" = bookworm ]; then
  npm=$(dirname "$(dirname "$(realpath "$(dirname "$node")/npm")")")
  mkdir -p "$root/usr/local/bin" "$root/usr/local/lib/node_modules"
  cp "$node" "$root/usr/local/bin/node"
  cp -a "$npm" "$root/usr/local/lib/node_modules/npm"
  for name in npm npx; do ln -s "../lib/node_modules/npm/bin/$name-cli.js" "$root/usr/local/bin/$name"; done
fi
# As every installer writes it.
echo '127.0.0.1 localhost' >"$root/etc/hosts"
# The way to the mirror and the registry is this network's, not the machine's.
cp /etc/resolv.conf "$root/etc/resolv.conf"
if ls /usr/local/share/ca-certificates/*.crt >/dev/null 2>&1; then
  cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
  TMPDIR=/tmp chroot "$root" update-ca-certificates
fi
git clone --quiet "$checkout" "$root/root/k8s-bgp-lab"
git -C "$checkout" diff --binary HEAD | git -C "$root/root/k8s-bgp-lab" apply --allow-empty
