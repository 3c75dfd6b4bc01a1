#!/bin/sh
# mmdebstrap customize hook: unpacks package lists into one root per list, without maintainer scripts.
# $1 = LISTS (folder with *.packages.txt), $2 = OUT (folder that gets one root per list). APT_CONFIG is mmdebstrap's,
# so that packages come from the suite, mirror and signatures of this build and not from the host's configuration.
set -eu
lists=$1 out=$2
debs=$out/.debs
mkdir -p "$debs"
cd "$debs"
# shellcheck disable=SC2046 # one word per package
apt-get download --quiet $(grep -hv '^#' "$lists"/*.packages.txt | sort -u)
for list in "$lists"/*.packages.txt; do
  root=$out/$(basename "$list" .packages.txt)
  mkdir -p "$root"
  for dir in bin sbin lib; do mkdir -p "$root/usr/$dir" && ln -s "usr/$dir" "$root/$dir"; done
  mkdir -p "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64"
  for package in $(grep -v '^#' "$list"); do
    for deb in "$debs/${package}"_*.deb; do
      dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink \
        --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian' \
        --exclude='./usr/share/bash-completion' --exclude='./usr/share/info' --exclude='./etc/init.d' \
        --exclude='./lib/systemd' --exclude='./usr/lib/x86_64-linux-gnu/gconv' --exclude='./usr/bin/etcd-dump-*' \
        --exclude='./usr/share/doc/*/changelog*' --exclude='./usr/share/doc/*/NEWS*'
    done
  done
done
rm -rf "$debs"
