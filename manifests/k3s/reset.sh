#!/bin/sh
# Takes a k3s node apart, as k3s' own k3s-killall.sh and k3s-uninstall.sh do (its installer would write them): units,
# containers with all their processes, mounts, pod network, filter rules, data. Program and images stay for the next one.
set -eu
data=/var/lib/rancher/k3s

for unit in k3s-agent k3s; do
  if [ -e "/etc/systemd/system/$unit.service" ]; then systemctl disable --now --quiet "$unit.service"; fi
done

# A container's processes are the children of its shim, which outlives k3s (KillMode=process).
tree() {
  for pid in "$@"; do
    echo "$pid"
    # shellcheck disable=SC2046
    tree $(pgrep --parent "$pid" || true)
  done
}
shims=$(pgrep --full "^$data/data/[^/]*/bin/containerd-shim" || true)
# shellcheck disable=SC2046,SC2086
if [ -n "$shims" ]; then kill -KILL $(tree $shims) 2>/dev/null || true; fi

# The deepest first. Lazily: a process that was killed just now may still hold one. Where mounts are shared, one umount
# takes the same mount away in several places.
mounted() { grep -qF " $1 " /proc/self/mounts; }
while read -r _ path _; do
  case $path in /run/k3s/* | /var/lib/kubelet/* | /run/netns/cni-* | "$data"/*) echo "$path" ;; esac
done < /proc/self/mounts | sort --reverse | while read -r path; do
  if mounted "$path"; then umount --lazy "$path"; fi
done
for namespace in /run/netns/cni-*; do
  if [ -e "$namespace" ]; then ip netns delete "${namespace##*/}"; fi
done

for kind in iptables ip6tables; do
  if command -v $kind-save > /dev/null; then
    $kind-save | grep -v -e KUBE- -e CNI- -e cali- | $kind-restore
  fi
done

rm -rf /run/k3s /var/lib/kubelet /var/lib/cni /etc/rancher/node
rm -f "$data/lab-joined" /etc/rancher/k3s/k3s.yaml
# The CAs by which labup knows a node of another cluster go last, so that this can be stopped anywhere and begun again.
for folder in "$data/server" "$data/agent"; do
  if [ -d "$folder" ]; then
    find "$folder" -mindepth 1 -maxdepth 1 ! -name images ! -name tls ! -name server-ca.crt -exec rm -rf {} +
  fi
done
rm -rf "$data/server" "$data/agent/server-ca.crt"
