#!/bin/sh
# Makes the machine image: its root file system is Debian root + Kubernetes + configuration + container images, unpacked.
# $1 ROOT    the root file system (mmdebstrap's), changed in place
# $2 FILES   files that are laid over it
# $3 BIN     folder with kubelet and kubeadm; empty: none, for a Kubernetes that comes to the machine later
# $4 IMAGES  folder with docker-archive tars; empty: none
# Runs in a mount namespace of its own (unshare --mount), so that a killed build leaves no mount behind.
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
root=$1 files=$2 bin=$3 images=$4
# The one from outside names a folder that the root file system does not have.
unset TMPDIR
say() { echo "== $*"; }

say 'files'
# Whatever modes the files have here: a checkout under umask 077 must not make an image that only root can read.
chmod -R u=rwX,go=rX "$files"
cp -R --no-preserve=ownership "$files/." "$root/"
chmod 755 "$root"/usr/local/sbin/*
if [ -n "$bin" ]; then install -m 755 "$bin/kubelet" "$bin/kubeadm" "$root/usr/bin/"; fi
mkdir -p "$root/etc/cni/net.d" "$root/etc/kubernetes" "$root/opt"

say 'units'
# Roles enable these when they need them.
chroot "$root" systemctl --quiet disable containerd kubelet bird bird6 frr 2>&1
# lab-cloud-init runs the stages of these four; the generator's only use is to decide whether to pull them in.
chroot "$root" systemctl --quiet mask \
  cloud-init-local.service cloud-init.service cloud-config.service cloud-final.service cloud-init.target
mkdir -p "$root/etc/systemd/system-generators"
for generator in cloud-init cryptsetup gpt-auto hibernate-resume integritysetup rc-local run system-update sysv veritysetup; do
  case $generator in cloud-init) name=cloud-init-generator ;; *) name=systemd-$generator-generator ;; esac
  ln -sf /dev/null "$root/etc/systemd/system-generators/$name"
done
rm -f "$root"/etc/cloud/cloud.cfg.d/*
chroot "$root" systemctl --quiet enable lab-cloud-init 2>&1
# Nothing here helps a lab machine; each is a process, a timer or a wait at boot. udev: the devices of a container are
# the host's, and ifupdown-pre does nothing but wait for udev.
chroot "$root" systemctl --quiet mask \
  apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer systemd-tmpfiles-clean.timer \
  systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
  ifupdown-pre.service cloud-init-hotplugd.socket cloud-init-hotplugd.service systemd-pstore.service \
  console-getty.service getty@tty1.service getty-static.service systemd-update-utmp.service \
  systemd-update-utmp-runlevel.service systemd-random-seed.service systemd-modules-load.service \
  systemd-binfmt.service proc-sys-fs-binfmt_misc.automount sys-kernel-config.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount systemd-firstboot.service \
  systemd-repart.service systemd-hwdb-update.service systemd-journal-flush.service systemd-logind.service \
  systemd-ask-password-console.path systemd-ask-password-wall.path kmod-static-nodes.service 2>&1
chroot "$root" systemctl --quiet set-default multi-user.target

if [ -n "$images" ]; then
  say 'container images'
  sh "$here/import-images.sh" "$root" "$images"
fi

say 'clean'
rm -rf "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* \
  "$root"/var/log/*.log "$root"/var/log/apt "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old \
  "$root/var/log/journal" "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/usr/lib/sysctl.d/99-protect-links.conf" \
  "$root"/usr/bin/containerd-stress \
  "$root"/var/lib/dpkg/info/*.md5sums "$root"/var/lib/dpkg/info/*.shlibs "$root"/var/lib/dpkg/info/*.symbols \
  "$root"/usr/bin/containerd-shim "$root"/usr/bin/containerd-shim-runc-v1
# ifup runs them for each interface, and neither has anything to set: sixty processes at each boot.
rm -f "$root"/etc/network/if-*.d/ethtool "$root"/etc/network/if-*.d/resolved
# Only the plugins that a lab's CNI configuration names.
for plugin in "$root"/usr/lib/cni/*; do
  case ${plugin##*/} in bridge | host-local | loopback | portmap | ptp) ;; *) rm "$plugin" ;; esac
done
# Empty and not absent: systemd then makes an id at boot without treating it as a first boot, which would apply presets
# and so enable every service that was disabled above (machine-id(5), "First Boot Semantics").
: > "$root/etc/machine-id"
