#!/bin/sh
# Installs the machine image's packages into a root file system and packs it.
# $1 = WORK (an empty folder)  $2 = OUT (gets root.squashfs)  $3 = SOURCES  $4 = SUITE; the rest are further options of mmdebstrap.
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
work=$1 out=$2 sources=$3 suite=$4
shift 4
# LXD walks over every file of a machine whenever it copies or removes its disk: what nobody reads is left out.
# --verbose shows what apt and dpkg say: in the log when it fails, and as progress before that.
mmdebstrap --verbose --mode=root --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --aptopt='Acquire::Languages "none"' --aptopt='Apt::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/lintian/*' --dpkgopt='path-exclude=/usr/share/bash-completion/*' \
  --dpkgopt='path-exclude=/usr/share/zoneinfo/*' --dpkgopt='path-include=/usr/share/zoneinfo/Etc/*' \
  --include="$(grep -v '^#' "$here/packages.txt" | paste -sd,)" \
  "$@" "$suite" "$work/root" "$sources"
mksquashfs "$work/root" "$out/root.squashfs" -comp zstd -Xcompression-level 1 -no-progress -noappend -quiet
rm -rf "$work/root"
