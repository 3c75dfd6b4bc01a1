import { type Document, isDocument, isMap, isSeq, parseAllDocuments, type YAMLMap } from 'yaml';
import { checkedCidr } from '../plan/addressing.ts';
import { type LabPlan, machinesOf, theMachine } from '../plan/types.ts';
import { LabFailure } from '../shared/errors.ts';
import { nthAddress, parseCidr, sizeOf } from '../shared/ip.ts';
import type { Secrets } from '../shared/secrets.ts';
import { RESTART_SECONDS } from './bird.ts';
import { checkedPassword } from './sessions.ts';
import { fillIn, readYamlAsset, readYamlDocument, writeDocuments } from './template.ts';

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

/** The pool of the pods' addresses, for a Calico without operator. */
export function renderPodPool({ kubernetes }: LabPlan, api: CalicoApi): string {
  const pool = readYamlDocument('manifests', 'calico', 'pod-pool.yaml');
  fillIn(pool, ['apiVersion'], api);
  fillIn(pool, ['spec', 'cidr'], kubernetes.podCidr);
  fillIn(pool, ['spec', 'blockSize'], kubernetes.podBlockLength);
  return writeDocuments([pool]);
}

/** What lets pods come before calico-node has started for the first time, for a Calico without operator. */
export function renderClusterInformation(api: CalicoApi): string {
  const information = readYamlDocument('manifests', 'calico', 'cluster-information.yaml');
  fillIn(information, ['apiVersion'], api);
  return writeDocuments([information]);
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
      const isForAll = prefix === plan.kubernetes.loadBalancerCidr;
      fillIn(pool, ['spec', 'assignmentMode'], isForAll ? 'Automatic' : 'Manual');
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
  const externals = plan.bgp.externalPrefixes.flatMap(eachAddress).map((cidr) => ({ cidr }));
  const isIpam = plan.echo.loadBalancer === 'ipam';
  fillIn(document, ['spec', 'asNumber'], plan.bgp.clusterAsn);
  fillIn(document, ['spec', 'nodeMeshMaxRestartTime'], RESTART);
  fillIn(document, ['spec', 'serviceClusterIPs', 0, 'cidr'], plan.kubernetes.serviceCidr);
  // Both lists are written, the empty one too: a lab that changes from one to the other must lose what it had.
  fillIn(document, ['spec', 'serviceExternalIPs'], isIpam ? [] : externals);
  fillIn(document, ['spec', 'serviceLoadBalancerIPs'], isIpam ? externals : []);
}

function eachAddress(prefix: string): readonly string[] {
  const cidr = checkedCidr(prefix);
  return Array.from({ length: sizeOf(cidr.length) }, (_, n) => `${nthAddress(cidr, n)}/32`);
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

type Path = readonly (string | number)[];

const POD: Path = ['spec', 'template', 'spec'];

/** The group of admission policies, and the versions of it that may serve mutating ones, the newest first. */
export const ADMISSION_GROUP = 'admissionregistration.k8s.io';
export const ADMISSION_VERSIONS = ['v1', 'v1beta1'] as const;
export type AdmissionVersion = (typeof ADMISSION_VERSIONS)[number];
/** Mutating admission policies and their bindings. */
const MUTATING = /^MutatingAdmissionPolicy(Binding)?$/;
/**
 * Checks who may change policies of which tier, and does not start without a certificate that somebody has to make
 * (calico-v3-crds.yaml, the comment above its Deployment). A lab has one administrator, and no tiers.
 */
const WEBHOOKS = 'calico-webhooks';

/** A manifest with this one keeps Calico's resources in projectcalico.org/v3 itself (calico-v3-crds.yaml). */
const NATIVE_CRD = 'bgppeers.projectcalico.org';

/** Whether a manifest has objects of which the cluster must say in which version it takes them; to parse it all takes 0.3 s. */
export function hasMutatingPolicies(text: string): boolean {
  return /^kind: MutatingAdmissionPolicy(Binding)?\s*$/m.test(text);
}

/**
 * A calico.yaml or calico-v3-crds.yaml as its release has it, made for the plan: pod CIDR, blocks, no encapsulation (as
 * shipped it is IPIP), node addresses from the lab's subnet, and no image is ever pulled. `admission` is the version of
 * mutating admission policies that the cluster serves: Calico 3.32 writes v1beta1, which Kubernetes 1.36 does not serve by
 * default; v1 is the same (https://github.com/projectcalico/calico/pull/12877). Where the cluster serves none they are
 * left out: they complete network policies of Calico's, and the lab has none. Throws LabFailure where the file is not of
 * that make, for then it would install something else than the lab that was planned.
 */
export function renderCalicoManifest(
  plan: LabPlan,
  text: string,
  admission: AdmissionVersion | undefined,
): string {
  const parts = partsOf(text).map((part) =>
    typeof part === 'string'
      ? part
      : part
          .filter((each) => each.getIn(['metadata', 'name']) !== WEBHOOKS)
          .filter((each) => admission !== undefined || !MUTATING.test(String(each.get('kind')))),
  );
  const documents = parts.flatMap((part) => (typeof part === 'string' ? [] : part));
  for (const each of documents)
    if (MUTATING.test(String(each.get('kind')))) each.set('apiVersion', `${ADMISSION_GROUP}/${admission}`);
  const errors = documents.flatMap(({ errors: each }) => each.map(({ message }) => message));
  if (errors.length > 0) throw strange(errors);
  const node = find(documents, 'DaemonSet', 'calico-node');
  const controllers = find(documents, 'Deployment', 'calico-kube-controllers');
  for (const document of documents.filter((each) => each.hasIn(POD))) neverPull(document);
  const environment: Readonly<Record<string, string>> = {
    CALICO_IPV4POOL_CIDR: plan.kubernetes.podCidr,
    CALICO_IPV4POOL_BLOCK_SIZE: String(plan.kubernetes.podBlockLength),
    CALICO_IPV4POOL_IPIP: 'Never',
    CALICO_IPV4POOL_VXLAN: 'Never',
    CALICO_IPV4POOL_NAT_OUTGOING: 'true',
    IP: 'autodetect',
    IP_AUTODETECTION_METHOD: `cidr=${plan.network.subnet}`,
    CLUSTER_TYPE: 'k8s,bgp',
  };
  const container = containerOf(node, 'calico-node');
  for (const [name, value] of Object.entries(environment)) setEnvironment(node, container, name, value);
  const controller = containerOf(controllers, 'calico-kube-controllers');
  askEverySecond(node, container);
  askEverySecond(controllers, controller);
  if (plan.echo.loadBalancer === 'ipam')
    setEnvironment(controllers, controller, 'ENABLED_CONTROLLERS', 'node,loadbalancer');
  // Without it each asks the API server once, at its start, and takes crd.projectcalico.org/v1 where it gets no answer.
  if (parts.some((part) => typeof part === 'string' && part.includes(`\n  name: ${NATIVE_CRD}\n`))) {
    setEnvironment(node, container, 'CALICO_API_GROUP', 'projectcalico.org/v3');
    setEnvironment(controllers, controller, 'CALICO_API_GROUP', 'projectcalico.org/v3');
  }
  const texts = parts.flatMap((part) =>
    typeof part === 'string' ? [part] : part.map((each) => writeDocuments([each])),
  );
  return texts.join('---\n');
}

/** The container images that the workloads of a manifest of Calico's run in a lab, each once. */
export function imagesOfManifest(text: string): readonly string[] {
  const workloads = partsOf(text)
    .flatMap((part) => (typeof part === 'string' ? [] : part))
    .filter((each) => each.getIn(['metadata', 'name']) !== WEBHOOKS);
  const containers = workloads.flatMap((each) =>
    ['initContainers', 'containers'].flatMap((list) => itemsOf(each, [...POD, list])),
  );
  return [...new Set(containers.map((item) => String(item.get('image'))))];
}

/** The documents of a manifest in their order; a CRD as its text, for all of them together take 0.3 s to parse. */
function partsOf(text: string): readonly (string | readonly Document[])[] {
  return text.split(/^---\n/m).map((part) => {
    const isCrd = (part.match(/^kind:.*$/gm) ?? []).join() === 'kind: CustomResourceDefinition';
    return isCrd && part.endsWith('\n') ? part : documentsOf(part);
  });
}

// Some documents hold nothing but a comment.
function documentsOf(text: string): readonly Document[] {
  const parsed = parseAllDocuments(text);
  return Array.isArray(parsed)
    ? parsed.filter(isDocument).filter((each) => isMap(each.contents) || each.errors.length > 0)
    : [];
}

function find(documents: readonly Document[], kind: string, name: string): Document {
  const [found, ...more] = documents.filter(
    (each) => each.get('kind') === kind && each.getIn(['metadata', 'name']) === name,
  );
  if (found === undefined || more.length > 0) throw strange([`expected one ${kind} ${name} in it`]);
  return found;
}

/** The path of a container in a workload. */
function containerOf(document: Document, name: string): Path {
  const path = [...POD, 'containers'];
  const index = itemsOf(document, path).findIndex((item) => item.get('name') === name);
  if (index < 0) throw strange([`${document.getIn(['metadata', 'name'])} has no container ${name}`]);
  return [...path, index];
}

function setEnvironment(document: Document, container: Path, name: string, value: string): void {
  const path = [...container, 'env'];
  const index = itemsOf(document, path).findIndex((item) => item.get('name') === name);
  const variable = document.createNode({ name, value });
  if (index < 0) document.addIn(path, variable);
  else document.setIn([...path, index], variable);
}

function neverPull(document: Document): void {
  for (const list of ['initContainers', 'containers'])
    for (const item of itemsOf(document, [...POD, list])) item.set('imagePullPolicy', 'Never');
}

/** Until a container has been ready once it is asked every second, and not every ten. */
function askEverySecond(document: Document, container: Path): void {
  const probe = document.getIn([...container, 'readinessProbe']);
  if (!isMap(probe)) return;
  const startup = { ...(probe.toJSON() as object), periodSeconds: 1, failureThreshold: 300 };
  document.setIn([...container, 'startupProbe'], document.createNode(startup));
}

function itemsOf(document: Document, path: Path): readonly YAMLMap[] {
  const list = document.getIn(path);
  return isSeq(list) ? list.items.filter((item) => isMap(item)) : [];
}

function strange(details: readonly string[]): LabFailure {
  return new LabFailure("Calico's manifest is not one that the lab knows how to set up.", {
    details,
    next: 'use calico.yaml or calico-v3-crds.yaml of a Calico release as it is, or the operator',
  });
}
