import type { Document } from 'yaml';
import { type LabPlan, type MachinePlan, theMachine } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import type { Secrets } from '../shared/secrets.ts';
import {
  ETCD_TAG,
  K8S_IMAGE_REPOSITORY,
  kubernetesMinor,
  UPSTREAM_IMAGE_REPOSITORY,
} from '../shared/versions.ts';
import { type CgroupDriver, maxPods, RESOLV_CONF } from './runtime.ts';
import { fillIn, readYamlAsset, readYamlDocument, writeDocument, writeDocuments } from './template.ts';

/**
 * The generations of kubeadm's configuration that the lab writes: v1beta2 for the 1.20 that is built from Debian's
 * sources, v1beta4 for what is current (1.31 and later). Nothing in between is offered anywhere.
 */
export type KubeadmApi = 'v1beta2' | 'v1beta4';

/** The generation for a version such as "v1.36.2". Throws UserError where the lab writes none that it would read. */
export function kubeadmApi(version: string): KubeadmApi {
  const minor = kubernetesMinor(version);
  if (minor >= 31) return 'v1beta4';
  if (minor === 20) return 'v1beta2';
  throw new UserError(`The lab cannot make a cluster of Kubernetes ${version} with kubeadm.`, {
    details: [
      'it knows how to configure kubeadm 1.31 and later, and 1.20, which it builds from Debian sources',
    ],
    next: 'take another version, or another source of software: labup --artifacts auto',
  });
}

/** Where kubeadm and kubelet find containerd. With the scheme, as kubeadm wants it since 1.24. */
export function criSocket(version: string): string {
  const path = '/run/containerd/containerd.sock';
  return kubeadmApi(version) === 'v1beta2' ? path : `unix://${path}`;
}

/** What the configuration of `kubeadm init` may have other than usual. */
export interface InitOptions {
  /** containerd's; the cluster of 1.20 always takes cgroupfs, as the machine image does. */
  readonly cgroupDriver?: CgroupDriver | undefined;
  /** Where kubeadm makes certificates and looks for them, if not where nodes have them. */
  readonly certificatesDir?: string;
  /** The node that a phase is run for, if not the control plane. */
  readonly node?: MachinePlan;
}

/** The configuration file of `kubeadm init` and of its phases; holds the join token. */
export function renderKubeadmInit(
  plan: LabPlan,
  secrets: Secrets,
  { cgroupDriver = 'cgroupfs', certificatesDir, node }: InitOptions = {},
): string {
  const api = kubeadmApi(plan.kubernetes.version);
  const documents = readYamlAsset(
    'manifests',
    'kubeadm',
    api === 'v1beta2' ? 'init.yaml' : `init-${api}.yaml`,
  );
  const [init, cluster, kubelet, proxy] = documents;
  if (!init || !cluster || !kubelet || !proxy)
    throw new Error(`the template of kubeadm init ${api} must hold 4 documents`);
  const { kubernetes } = plan;
  const controlPlane = theMachine(plan, 'control-plane');

  fillIn(init, ['bootstrapTokens', 0, 'token'], secrets.joinToken);
  fillIn(init, ['localAPIEndpoint', 'advertiseAddress'], controlPlane.address);
  fillIn(init, ['localAPIEndpoint', 'bindPort'], portOf(kubernetes.apiServer));
  fillInNode(init, node ?? controlPlane, api);

  fillIn(cluster, ['clusterName'], plan.lab);
  if (certificatesDir !== undefined) {
    cluster.set('certificatesDir', certificatesDir);
    kubelet.setIn(['authentication', 'x509', 'clientCAFile'], '/etc/kubernetes/pki/ca.crt');
  }
  fillIn(cluster, ['kubernetesVersion'], kubernetes.version);
  fillIn(cluster, ['controlPlaneEndpoint'], kubernetes.apiServer);
  fillIn(cluster, ['networking', 'podSubnet'], kubernetes.podCidr);
  fillIn(cluster, ['networking', 'serviceSubnet'], kubernetes.serviceCidr);
  fillIn(cluster, ['networking', 'dnsDomain'], kubernetes.domain);
  fillIn(cluster, ['apiServer', 'certSANs'], [controlPlane.name, controlPlane.address]);

  fillIn(kubelet, ['clusterDNS'], [kubernetes.dnsAddress]);
  fillIn(kubelet, ['clusterDomain'], kubernetes.domain);
  fillIn(kubelet, ['maxPods'], maxPods(plan));

  if (api === 'v1beta2') {
    fillIn(cluster, ['imageRepository'], K8S_IMAGE_REPOSITORY);
    fillIn(cluster, ['etcd', 'local', 'imageTag'], ETCD_TAG);
  } else {
    fillIn(cluster, ['imageRepository'], UPSTREAM_IMAGE_REPOSITORY);
    fillIn(kubelet, ['cgroupDriver'], cgroupDriver);
    fillIn(kubelet, ['resolvConf'], RESOLV_CONF);
  }

  fillIn(proxy, ['mode'], kubernetes.proxyMode ?? 'iptables');
  fillIn(proxy, ['clusterCIDR'], kubernetes.podCidr);
  return writeDocuments(documents);
}

/** The configuration file of `kubeadm join` on one worker; holds the join token. `caCertHash` is "sha256:<hex>". */
export function renderKubeadmJoin(
  plan: LabPlan,
  machine: MachinePlan,
  secrets: Secrets,
  caCertHash: string,
): string {
  const api = kubeadmApi(plan.kubernetes.version);
  const join = readYamlDocument('manifests', 'kubeadm', api === 'v1beta2' ? 'join.yaml' : `join-${api}.yaml`);
  fillIn(join, ['discovery', 'bootstrapToken', 'apiServerEndpoint'], plan.kubernetes.apiServer);
  fillIn(join, ['discovery', 'bootstrapToken', 'token'], secrets.joinToken);
  fillIn(join, ['discovery', 'bootstrapToken', 'caCertHashes'], [caCertHash]);
  fillInNode(join, machine, api);
  return writeDocument(join);
}

// kubelet's flags are a map of v1beta2 and a list of v1beta4.
function fillInNode(document: Document, { name, address }: MachinePlan, api: KubeadmApi): void {
  const flags = ['nodeRegistration', 'kubeletExtraArgs'];
  fillIn(document, ['nodeRegistration', 'name'], name);
  fillIn(document, api === 'v1beta2' ? [...flags, 'node-ip'] : [...flags, 0, 'value'], address);
}

function portOf(apiServer: string): number {
  return Number(apiServer.slice(apiServer.lastIndexOf(':') + 1));
}
