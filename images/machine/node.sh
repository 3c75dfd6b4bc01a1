#!/bin/sh
# Makes the machine image of a lab's own Kubernetes nodes: a machine image, and in it packages, programs, configuration and
# container images, unpacked by the container runtime that will run them.
# $1 = WORK (an empty folder)  $2 = OUT (gets rootfs.squashfs)  $3 = ROOT (the machine image's rootfs.squashfs)
# $4 = FILES (laid over it)  $5 = DEBS (folder)  $6 = IMAGES (folder with archives)
# Runs in a mount namespace of its own (unshare --mount), so that a killed build leaves no mount behind.
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
work=$1 out=$2 root=$3 files=$4 debs=$5 images=$6
new=$work/rootfs
unsquashfs -quiet -no-progress -dest "$new" "$root"
if [ -n "$(ls "$debs")" ]; then
  mkdir "$new/debs"
  cp "$debs"/* "$new/debs/"
  mount --bind "$new" "$new"
  mount -t proc proc "$new/proc"
  # All in one call: they need each other.
  env -u TMPDIR chroot "$new" sh -c 'dpkg --install --force-confdef --force-confold /debs/*'
  umount "$new/proc" "$new"
  rm -r "$new/debs"
fi
cp -R --no-preserve=ownership "$files/." "$new/"
# Images of another containerd than that which comes now are of no use to it.
if [ -e "$files/usr/local/bin/containerd" ]; then rm -rf "$new/var/lib/containerd"; fi
# As its installer does.
if [ -e "$new/usr/local/bin/k3s" ]; then
  for name in kubectl crictl ctr; do
    chroot "$new" sh -c 'command -v "$0" > /dev/null || ln -s k3s "/usr/local/bin/$0"' $name
  done
fi
if [ -n "$(ls "$images")" ]; then sh "$here/import-images.sh" "$new" "$images"; fi
mksquashfs "$new" "$out/rootfs.squashfs" -comp lz4 -no-progress -noappend -quiet
rm -rf "$new"
