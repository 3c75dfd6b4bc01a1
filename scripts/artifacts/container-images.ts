import {
  CLUSTER_DNS_IMAGE,
  ECHO_IMAGE,
  ETCD_TAG,
  K8S_IMAGE_REPOSITORY,
  K8S_VERSION,
  PAUSE_TAG,
} from '../shared/versions.ts';

/** A container image: layers of Debian packages, then one layer of files. */
export interface ContainerImage {
  /** File name of its archive, without .tar. */
  readonly name: string;
  readonly reference: string;
  /** Lists of images/containers, in order. */
  readonly layers: readonly string[];
  /** Folder in the image that gets the named binary of the Kubernetes build. */
  readonly binary?: { readonly name: string; readonly to: string };
  /** Python files of folders of this package, by the folder that gets them. */
  readonly python?: Readonly<Record<string, string>>;
  readonly entrypoint: readonly string[];
}

// kubeadm's static pods name their command themselves, found in PATH; kube-proxy's DaemonSet names /usr/local/bin.
const kubernetes = (name: string, layers: readonly string[] = []): ContainerImage => ({
  name,
  reference: `${K8S_IMAGE_REPOSITORY}/${name}:${K8S_VERSION}`,
  layers,
  binary: { name, to: '/usr/local/bin' },
  entrypoint: [`/usr/local/bin/${name}`],
});

/** Every image that a lab runs. All are imported into the machine image, so that no machine ever pulls. */
export const CONTAINER_IMAGES: readonly ContainerImage[] = [
  kubernetes('kube-apiserver'),
  kubernetes('kube-controller-manager'),
  kubernetes('kube-scheduler'),
  kubernetes('kube-proxy', ['kube-proxy']),
  {
    name: 'etcd',
    reference: `${K8S_IMAGE_REPOSITORY}/etcd:${ETCD_TAG}`,
    layers: ['etcd'],
    entrypoint: ['/usr/bin/etcd'],
  },
  {
    name: 'pause',
    reference: `${K8S_IMAGE_REPOSITORY}/pause:${PAUSE_TAG}`,
    layers: [],
    binary: { name: 'pause', to: '/' },
    entrypoint: ['/pause'],
  },
  {
    name: 'cluster-dns',
    reference: CLUSTER_DNS_IMAGE,
    layers: ['base', 'cluster-dns'],
    python: { 'images/cluster-dns': '/' },
    entrypoint: ['python3', '/feeder.py'],
  },
  {
    name: 'echo',
    reference: ECHO_IMAGE,
    layers: ['base'],
    python: { echo: '/echo', probe: '/probe' },
    entrypoint: ['python3', '/echo/echo_server.py'],
  },
];

/** The one that is the lab's own, whoever made Kubernetes. */
export const ECHO_IMAGES = CONTAINER_IMAGES.filter(({ reference }) => reference === ECHO_IMAGE);

export const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
