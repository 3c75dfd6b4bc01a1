import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { theMachine } from '../plan/types.ts';
import { sizeOf } from '../shared/ip.ts';
import type { Secrets } from '../shared/secrets.ts';
import { ETCD_TAG, K8S_IMAGE_REPOSITORY } from '../shared/versions.ts';
import { fillIn, readYamlAsset, readYamlDocument, writeDocument, writeDocuments } from './yaml.ts';

/** kubelet's own limit, see KubeletConfiguration.maxPods. */
const KUBELET_MAX_PODS = 110;

/** The configuration file of `kubeadm init` on the control plane; holds the join token. */
export function renderKubeadmInit(plan: LabPlan, secrets: Secrets): string {
  const documents = readYamlAsset('manifests', 'kubeadm', 'init.yaml');
  const [init, cluster, kubelet, proxy] = documents;
  if (!init || !cluster || !kubelet || !proxy)
    throw new Error('manifests/kubeadm/init.yaml must hold 4 documents');
  const { kubernetes } = plan;
  const controlPlane = theMachine(plan, 'control-plane');

  fillIn(init, ['bootstrapTokens', 0, 'token'], secrets.joinToken);
  fillIn(init, ['localAPIEndpoint', 'advertiseAddress'], controlPlane.address);
  fillIn(init, ['localAPIEndpoint', 'bindPort'], portOf(kubernetes.apiServer));
  fillIn(init, ['nodeRegistration', 'name'], controlPlane.name);
  fillIn(init, ['nodeRegistration', 'kubeletExtraArgs', 'node-ip'], controlPlane.address);

  fillIn(cluster, ['clusterName'], plan.lab);
  fillIn(cluster, ['kubernetesVersion'], kubernetes.version);
  fillIn(cluster, ['imageRepository'], K8S_IMAGE_REPOSITORY);
  fillIn(cluster, ['controlPlaneEndpoint'], kubernetes.apiServer);
  fillIn(cluster, ['networking', 'podSubnet'], kubernetes.podCidr);
  fillIn(cluster, ['networking', 'serviceSubnet'], kubernetes.serviceCidr);
  fillIn(cluster, ['networking', 'dnsDomain'], kubernetes.domain);
  fillIn(cluster, ['apiServer', 'certSANs'], [controlPlane.name, controlPlane.address]);
  fillIn(cluster, ['etcd', 'local', 'imageTag'], ETCD_TAG);

  fillIn(kubelet, ['clusterDNS'], [kubernetes.dnsAddress]);
  fillIn(kubelet, ['clusterDomain'], kubernetes.domain);
  // A block's first address is its network's and its last the broadcast address: host-local gives out neither.
  fillIn(kubelet, ['maxPods'], Math.min(KUBELET_MAX_PODS, sizeOf(kubernetes.podBlockLength) - 2));

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
  const join = readYamlDocument('manifests', 'kubeadm', 'join.yaml');
  fillIn(join, ['discovery', 'bootstrapToken', 'apiServerEndpoint'], plan.kubernetes.apiServer);
  fillIn(join, ['discovery', 'bootstrapToken', 'token'], secrets.joinToken);
  fillIn(join, ['discovery', 'bootstrapToken', 'caCertHashes'], [caCertHash]);
  fillIn(join, ['nodeRegistration', 'name'], machine.name);
  fillIn(join, ['nodeRegistration', 'kubeletExtraArgs', 'node-ip'], machine.address);
  return writeDocument(join);
}

function portOf(apiServer: string): number {
  return Number(apiServer.slice(apiServer.lastIndexOf(':') + 1));
}
