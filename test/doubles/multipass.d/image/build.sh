#!/bin/sh
# Makes the image of the multipass test double: a plain Debian, split as LXD and Incus import it.
# $1 = WORK (an empty folder)  $2 = OUT (gets metadata.tar and rootfs.squashfs)  $3 = SOURCES  $4 = SUITE
# $5 = FILES (laid over the root)  $6 = METADATA (folder with metadata.yaml and templates)
# $7 = APT_SOURCES (the guest's own)  $8 = APT_OPTIONS (the guest's way to the mirror); the rest: options of mmdebstrap.
# Runs in a mount namespace of its own (unshare --mount), so that a killed build leaves no mount behind.
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
work=$1 out=$2 sources=$3 suite=$4 files=$5 metadata=$6 guest_sources=$7 guest_options=$8
shift 8
root=$work/root
mmdebstrap --verbose --mode=root --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --aptopt='Acquire::Languages "none"' --aptopt='Apt::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --include="$(grep -v '^#' "$here/packages.txt" | paste -sd,)" \
  "$@" "$suite" "$root" "$sources"
chmod -R u=rwX,go=rX "$files"
cp -R --no-preserve=ownership "$files/." "$root/"
chmod 755 "$root"/usr/local/sbin/double-*
chroot "$root" dpkg-divert --local --rename --divert /usr/libexec/netplan/generate.real --add /usr/libexec/netplan/generate
ln -s /usr/local/sbin/double-netplan "$root/usr/libexec/netplan/generate"
rm -f "$root"/etc/apt/sources.list.d/*
cp "$guest_sources" "$root/etc/apt/sources.list"
cp "$guest_options" "$root/etc/apt/apt.conf.d/90-mirror"
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved ssh double-cgroups 2>&1
# Devices, modules and kernel file systems are the host's, and no two may manage them; timers and consoles only cost.
chroot "$root" systemctl --quiet mask \
  systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
  systemd-modules-load.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount sys-kernel-config.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
  kmod-static-nodes.service systemd-pstore.service systemd-random-seed.service systemd-repart.service \
  console-getty.service getty@tty1.service getty-static.service cloud-init-hotplugd.socket \
  apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer 2>&1
chroot "$root" systemctl --quiet set-default multi-user.target
ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# Host keys and the machine's id are made at first boot (machine-id(5)); package lists come with "apt-get update".
rm -rf "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* \
  "$root/etc/apt/apt.conf.d/99mmdebstrap"
: > "$root/etc/machine-id"
mksquashfs "$root" "$out/rootfs.squashfs" -comp zstd -Xcompression-level 3 -no-progress -noappend -quiet
tar --sort=name --numeric-owner --owner=0 --group=0 -C "$metadata" -cf "$out/metadata.tar" metadata.yaml templates
rm -rf "$root"
