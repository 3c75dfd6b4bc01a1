#!/bin/sh
# Runs a shell command in a root file system of its own as on a machine of its own: the first process of its PID namespace,
# with the root file system pivoted to. In a mere chroot the container daemon and kubectl exec would see the real root.
# $1 = ROOT  $2 = CACHE (the artifacts, bound in)  $3 = COMMAND; to be started by unshare --mount --pid --fork.
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
exec chroot . /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"} \
  /bin/sh -c 'umount -l /outside && rmdir /outside && cd /root/k8s-bgp-lab && eval "$1"' sh "$command"
