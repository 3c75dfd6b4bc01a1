#!/bin/sh
# Takes a kubeadm node apart, whole or half-made; $0 is the socket of its container runtime as kubeadm wants it. The files
# by which labup knows that there is something to take apart go last, so that it can be stopped anywhere and begun again.
set -eu
rm -f /etc/kubernetes/lab-done
systemctl stop kubelet

# kubeadm 1.20 removes containers with crictl, which Debian 12 lacks. One that ended by itself meanwhile is no error.
for id in $(ctr -n k8s.io tasks list -q); do ctr -n k8s.io tasks rm --force "$id" > /dev/null || true; done
for id in $(ctr -n k8s.io containers list -q); do ctr -n k8s.io containers rm "$id"; done
# The pods' interfaces, routes and addresses went with no container: nobody has called their CNI plugins.
for namespace in /run/netns/cni-*; do
  if [ -e "$namespace" ]; then ip netns delete "${namespace##*/}"; fi
done
rm -rf /run/cni-host-local /var/lib/cni
# It forgets their sandboxes when it restarts.
systemctl restart containerd
kubeadm reset --force --cri-socket "$0"
