import type { Document } from 'yaml';
import { type LabPlan, machinesOf, theMachine } from '../plan/types.ts';
import { parseCidr } from '../shared/ip.ts';
import type { Secrets } from '../shared/secrets.ts';
import { RESTART_SECONDS } from './bird.ts';
import { checkedPassword } from './password.ts';
import { fillIn, readYamlAsset, readYamlDocument, writeDocuments } from './yaml.ts';

/**
 * The groups that Calico's resources are written to. v3 is the documented one, served by Calico's API server or by CRDs
 * of that group; a plain calico.yaml brings only the other, which nobody validates or fills with defaults.
 */
export const CALICO_APIS = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'] as const;
export type CalicoApi = (typeof CALICO_APIS)[number];

/** Where calico-node runs: with the operator, and with calico.yaml. */
export const CALICO_NAMESPACES = { operator: 'calico-system', manifest: 'kube-system' } as const;

/** The operator's Installation and APIServer. */
export function renderInstallation(plan: LabPlan): string {
  const documents = readYamlAsset('manifests', 'calico', 'installation.yaml');
  const [installation] = documents;
  if (installation === undefined) throw new Error('manifests/calico/installation.yaml holds no document');
  const network = ['spec', 'calicoNetwork'];
  fillIn(installation, [...network, 'nodeAddressAutodetectionV4', 'cidrs', 0], plan.network.subnet);
  fillIn(installation, [...network, 'ipPools', 0, 'cidr'], plan.kubernetes.podCidr);
  fillIn(installation, [...network, 'ipPools', 0, 'blockSize'], plan.kubernetes.podBlockLength);
  return writeDocuments(documents);
}

/** BGP of all nodes, the session of the workers with the router, and a status object per node. Without secrets. */
export function renderBgpResources(plan: LabPlan, api: CalicoApi): string {
  const documents = readYamlAsset('manifests', 'calico', 'bgp.yaml');
  const [configuration, filter, peer] = documents;
  if (!configuration || !filter || !peer) throw new Error('manifests/calico/bgp.yaml must hold 3 documents');
  for (const document of documents) fillIn(document, ['apiVersion'], api);
  fillConfiguration(configuration, plan);
  fillIn(
    filter,
    ['spec', 'importV4'],
    [
      ...plan.bgp.routerPrefixes.map((cidr) => ({ action: 'Accept', matchOperator: 'Equal', cidr })),
      { action: 'Reject' },
    ],
  );
  fillIn(peer, ['spec', 'peerIP'], theMachine(plan, 'router').address);
  fillIn(peer, ['spec', 'asNumber'], plan.bgp.routerAsn);
  fillIn(peer, ['spec', 'maxRestartTime'], RESTART);
  if (hasKeepaliveTime(plan)) peer.setIn(['spec', 'keepaliveTime'], `${plan.bgp.keepaliveSeconds}s`);
  return writeDocuments([...documents, ...nodeStatuses(plan, api)]);
}

/** The BGP password, and calico-node's permission to read it in its own namespace. */
export function renderBgpPassword(secrets: Secrets, namespace: string): string {
  const documents = readYamlAsset('manifests', 'calico', 'password.yaml');
  const [secret, , binding] = documents;
  if (!secret || !binding) throw new Error('manifests/calico/password.yaml must hold 3 documents');
  for (const document of documents) fillIn(document, ['metadata', 'namespace'], namespace);
  const password = Buffer.from(checkedPassword(secrets.bgpPassword)).toString('base64');
  fillIn(secret, ['data', 'password'], password);
  fillIn(binding, ['subjects', 0, 'namespace'], namespace);
  return writeDocuments(documents);
}

/** The pools that LoadBalancer services get their addresses from; '' where they bring their own. */
export function renderLoadBalancerPools(plan: LabPlan, api: CalicoApi): string {
  if (plan.echo.loadBalancer !== 'ipam') return '';
  return writeDocuments(
    plan.bgp.externalPrefixes.map((prefix, index) => {
      const pool = readYamlDocument('manifests', 'calico', 'load-balancer.yaml');
      fillIn(pool, ['apiVersion'], api);
      fillIn(pool, ['metadata', 'name'], poolName(index));
      fillIn(pool, ['spec', 'cidr'], prefix);
      fillIn(pool, ['spec', 'blockSize'], parseCidr(prefix)?.length);
      return pool;
    }),
  );
}

/** The names of the pools that a lab has with ipam. */
export function loadBalancerPools({ bgp }: LabPlan): readonly string[] {
  return bgp.externalPrefixes.map((_, index) => poolName(index));
}

function poolName(index: number): string {
  return `lab-external-${index + 1}`;
}

const RESTART = `${RESTART_SECONDS}s`;

function fillConfiguration(document: Document, plan: LabPlan): void {
  const externals = plan.bgp.externalPrefixes.map((cidr) => ({ cidr }));
  const isIpam = plan.echo.loadBalancer === 'ipam';
  fillIn(document, ['spec', 'asNumber'], plan.bgp.clusterAsn);
  fillIn(document, ['spec', 'nodeMeshMaxRestartTime'], RESTART);
  fillIn(document, ['spec', 'serviceClusterIPs', 0, 'cidr'], plan.kubernetes.serviceCidr);
  // Both lists are written, the empty one too: a lab that changes from one to the other must lose what it had.
  fillIn(document, ['spec', 'serviceExternalIPs'], isIpam ? [] : externals);
  fillIn(document, ['spec', 'serviceLoadBalancerIPs'], isIpam ? externals : []);
}

function nodeStatuses(plan: LabPlan, api: CalicoApi): readonly Document[] {
  return machinesOf(plan, 'control-plane', 'worker').map(({ name }) => {
    const status = readYamlDocument('manifests', 'calico', 'node-status.yaml');
    fillIn(status, ['apiVersion'], api);
    fillIn(status, ['metadata', 'name'], name);
    fillIn(status, ['spec', 'node'], name);
    return status;
  });
}

/** BGPPeer.keepaliveTime came with 3.32. Before, BIRD takes a third of the hold time, which the router sets. */
function hasKeepaliveTime({ calico }: LabPlan): boolean {
  const [major = 0, minor = 0] = (calico?.version ?? '').replace(/^v/, '').split('.').map(Number);
  return major > 3 || (major === 3 && minor >= 32);
}
