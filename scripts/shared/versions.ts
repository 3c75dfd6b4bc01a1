/** Where the lab's own Kubernetes images live. Nothing answers under this name: images are in the machine image already. */
export const K8S_IMAGE_REPOSITORY = 'registry.lab.internal/k8s';

/** The version that Debian 12's source package `kubernetes` (1.20.5+really1.20.2) holds; images are tagged with it. */
export const K8S_VERSION = 'v1.20.2';

/** The tag that kubeadm 1.20 gives the pause image; containerd's sandbox_image has to be the same. */
export const PAUSE_TAG = '3.2';

/** Debian 12's etcd-server. kubeadm 1.20 would ask for 3.4.13-0, so its configuration names this tag. */
export const ETCD_TAG = '3.4.23';

/** The echo server, and a shell with nc for the client pod. Its entry point is echo_server.py; arguments: tcp|udp PORT. */
export const ECHO_IMAGE = 'registry.lab.internal/lab/echo:1';

/** Debian's nginx on port 80, for the manifests of a lab's user. */
export const NGINX_IMAGE = 'registry.lab.internal/lab/nginx:1';

/** What people look at a network with from a pod: dig, curl, tcpdump ... It sleeps, or runs its arguments. */
export const TOOLBOX_IMAGE = 'registry.lab.internal/lab/toolbox:1';

/** Debian's haproxy as an Ingress controller, for the manifests of scenarios and users; the controller is the entry point. */
export const INGRESS_IMAGE = 'registry.lab.internal/lab/ingress:1';

/** dnsmasq and the feeder that fills it from the Kubernetes API; the feeder is the entry point. */
export const CLUSTER_DNS_IMAGE = 'registry.lab.internal/lab/cluster-dns:1';

/** Where kubeadm's own images live; nodes never ask there, all images are brought. */
export const UPSTREAM_IMAGE_REPOSITORY = 'registry.k8s.io';

/** 36 for "v1.36.2" and "v1.36.2+k3s1". Throws on what is no version 1 of Kubernetes, which is a bug. */
export function kubernetesMinor(version: string): number {
  const minor = /^v1\.(\d+)\./.exec(version)?.[1];
  if (minor === undefined) throw new Error(`not a version of Kubernetes: ${version}`);
  return Number(minor);
}
