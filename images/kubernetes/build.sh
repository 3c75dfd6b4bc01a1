#!/bin/sh
# Builds Kubernetes' commands and pause from Debian's source package in a chroot, and takes kubectl from Debian's binary package.
# $1 = WORK (an empty folder for the chroot)  $2 = OUT (gets the binaries)  $3 = SOURCES (sources.list with deb-src)
# $4 = SUITE  $5 = VERSION (as stamped, e.g. v1.20.2); the rest are further options of mmdebstrap.
# Runs in a mount namespace of its own (unshare --mount), so that it leaves no mount behind. The caller removes the chroot,
# which takes several seconds, when others already work with the binaries.
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
work=$1 out=$2 sources=$3 suite=$4 version=$5
shift 5
chroot=$work/chroot

echo '== unpacking the Go toolchain and the source package'
# The variant "extract" unpacks without running maintainer scripts: three times faster than installing.
# shellcheck disable=SC2016 # the hook's variables are mmdebstrap's
mmdebstrap --mode=root --variant=extract \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --aptopt='Acquire::Languages "none"' --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --include="$(grep -v '^#' "$here/packages.txt" | paste -sd,)" \
  --extract-hook='mkdir "$1/build" && cd "$1/build" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" &&
    apt-get --quiet --download-only source kubernetes && apt-get --quiet download kubernetes-client' \
  "$@" "$suite" "$chroot" "$sources"

# Now, as the compiler's end is what everybody waits for.
dpkg-deb --fsys-tarfile "$chroot"/build/kubernetes-client_*.deb | tar -x -C "$out" --strip-components=3 ./usr/bin/kubectl

echo '== building'
cp "$here/compile.sh" "$here/../pause/pause.go" "$chroot/build/"
mkdir -p "$chroot/proc" "$chroot/dev" "$chroot/tmp"
mount -t proc proc "$chroot/proc"
mount --rbind /dev "$chroot/dev"
chroot "$chroot" /bin/sh /build/compile.sh "$version"
mv "$chroot"/build/bin/* "$out/"
