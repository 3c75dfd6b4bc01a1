#!/bin/sh
# Imports container images into a root file system with its own containerd, unpacked.
# $1 ROOT    the root file system, changed in place
# $2 IMAGES  folder with their archives
# Runs in the mount namespace of assemble.sh.
set -eu
umask 022
# A containerd that was brought comes before Debian's.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root=$1 images=$2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
# The same snapshotter and paths as in the machine, without the CRI plugin: nothing runs here.
cat > "$root/run/containerd.toml" <<'EOF'
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.opt"]
EOF
chroot "$root" containerd --config /run/containerd.toml --log-level warn &
containerd=$!
trap 'kill $containerd 2>/dev/null || true' EXIT
tries=0
until chroot "$root" ctr version > /dev/null 2>&1; do
  tries=$((tries + 1))
  if [ $tries -gt 100 ] || ! kill -0 $containerd; then echo 'containerd did not start' >&2; exit 1; fi
  sleep 0.1
done
for image in "$images"/*.t*; do
  chroot "$root" ctr --namespace k8s.io images import --snapshotter overlayfs - < "$image"
done
chroot "$root" ctr --namespace k8s.io images ls -q
# The layers are unpacked; their blobs would double the image. containerd's own option discard_unpacked_layers forgets
# the same blobs, and keeps manifests and configs (JSON, the only blobs that begin with a brace).
blobs=$root/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256
layers=
for blob in "$blobs"/*; do
  # Gone already: containerd collects on its own what no image refers to, such as an import's index.
  if ! first=$(head -c 1 "$blob" 2> /dev/null); then continue; fi
  if [ "$first" != '{' ]; then layers="$layers ${blob##*/}"; fi
done
for layer in $layers; do
  chroot "$root" ctr --namespace k8s.io content rm "sha256:$layer" > /dev/null
done
kill $containerd
wait $containerd || true
trap - EXIT
# containerd collects what was removed later, in its own time, which here never comes.
for layer in $layers; do rm -f "$blobs/$layer"; done
umount -l "$root/run" "$root/dev" "$root/proc"
umount -l "$root"
