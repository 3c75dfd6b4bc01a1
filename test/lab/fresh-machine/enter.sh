#!/bin/sh
# Runs a shell command in the checkout of a fresh root file system as on a machine of its own: pivoted to, below the first
# process of a PID namespace. In a mere chroot the container daemon and kubectl exec would see the real root.
# $1 = ROOT  $2 = CACHE (of artifacts, bound in)  $3 = COMMAND; to be started by unshare --mount --pid --fork.
set -eu
root=$1 cache=$2 command=$3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/root/.cache/k8s-bgp-lab" "$root/outside"
mount --bind "$cache" "$root/root/.cache/k8s-bgp-lab"
cd "$root"
pivot_root . outside
# shellcheck disable=SC2016 # the inner shell's
exec chroot . /bin/sh -c 'umount -l /outside && rmdir /outside && cd /root/k8s-bgp-lab && eval "$1"' sh "$command"
