import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { type RenderedFile, readAsset } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import { checkedPassword, type Session, sessionsOf } from './sessions.ts';
import { fillTemplate } from './template.ts';

/** Where the announcer writes and BIRD reads the external addresses of this node. */
const SERVICES_CONF = '/etc/bird/services.conf';

/**
 * The files of the `bird` CNI on one Kubernetes node. None of them depends on the cluster being up, and none is changed
 * by the machine itself, so writing them again is safe.
 */
export function renderNodeFiles(plan: LabPlan, machine: MachinePlan, secrets: Secrets): RenderedFile[] {
  return [
    // BIRD reads it as user bird again at every "birdc configure".
    {
      path: '/etc/bird/bird.conf',
      content: renderBirdConf(plan, machine, secrets),
      mode: 0o640,
      owner: 'root:bird',
    },
    {
      path: '/etc/systemd/system/bird.service.d/10-lab.conf',
      content: readAsset('bird', 'units', 'bird.conf'),
    },
    { path: '/etc/cni/net.d/10-lab.conflist', content: renderCniConflist(machine) },
    {
      path: '/usr/lib/cni/lab-default-route',
      content: readAsset('bird', 'cni', 'lab-default-route'),
      mode: 0o755,
    },
    { path: '/etc/lab/nat-outgoing.rules', content: renderNatOutgoingRules(plan) },
    unitFile('lab-nat-outgoing.service'),
    { path: '/usr/local/lib/lab/announcer.py', content: readAsset('bird', 'announcer.py') },
    {
      path: '/usr/local/lib/lab/kube_watch.py',
      content: readAsset('images', 'cluster-dns', 'kube_watch.py'),
    },
    { path: '/etc/lab/announcer.json', content: renderAnnouncerConfig(plan, machine) },
    unitFile('lab-announcer.service'),
  ];
}

/** The announcer's configuration. It logs in to the API with the certificate that kubelet renews. */
export function renderAnnouncerConfig(plan: LabPlan, machine: MachinePlan): string {
  const config = {
    nodeName: machine.name,
    apiServer: `https://${plan.kubernetes.apiServer}`,
    ca: '/etc/kubernetes/pki/ca.crt',
    cert: '/var/lib/kubelet/pki/kubelet-client-current.pem',
    serviceCidr: plan.kubernetes.serviceCidr,
    externalCidrs: plan.bgp.externalPrefixes,
    output: SERVICES_CONF,
    reload: ['birdc', 'configure'],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function unitFile(name: string): RenderedFile {
  return { path: `/etc/systemd/system/${name}`, content: readAsset('bird', 'units', name) };
}

/** How long a peer keeps the routes of a BIRD that vanished without a word, in seconds. */
export const RESTART_SECONDS = 10;

/** bird.conf of one Kubernetes node. Holds the BGP password where the node has a session with the router. */
export function renderBirdConf(plan: LabPlan, machine: MachinePlan, secrets: Secrets): string {
  return fillTemplate(readAsset('bird', 'bird.conf'), {
    NODE: machine.name,
    ADDRESS: machine.address,
    POD_BLOCK: podBlockOf(machine),
    POD_CIDR: plan.kubernetes.podCidr,
    SERVICE_CIDR: plan.kubernetes.serviceCidr,
    ACCEPT_EXTERNALS: plan.bgp.externalPrefixes.map((prefix) => `if net ~ ${prefix} then accept;`).join('\n'),
    ACCEPT_ROUTER_PREFIXES: plan.bgp.routerPrefixes
      .map((prefix) => `if net = ${prefix} then accept;`)
      .join('\n'),
    CLUSTER_ASN: String(plan.bgp.clusterAsn),
    RESTART_SECONDS: String(RESTART_SECONDS),
    HOLD: String(plan.bgp.holdSeconds),
    KEEPALIVE: String(plan.bgp.keepaliveSeconds),
    MAXIMUM_PATHS: String(plan.bgp.maximumPaths),
    SESSIONS: sessionsOf(plan, machine)
      .map((session) => (session.kind === 'ibgp' ? meshPeer(session) : routerPeer(session, secrets)))
      .join('\n'),
  });
}

/** The pod block of a Kubernetes node. Throws for other machines. */
export function podBlockOf(machine: MachinePlan): string {
  if (machine.podBlock === undefined) throw new Error(`${machine.name} has no pod block`);
  return machine.podBlock;
}

// Of two nodes one dials and the other waits, or two connections collide; Calico compares the addresses as text.
function meshPeer({ own, peer }: Session): string {
  return fillTemplate(readAsset('bird', 'mesh-peer.conf'), {
    ...peerValues(peer),
    PASSIVE: peer.address > own.address ? `passive on;  # ${peer.machine} dials` : '',
  });
}

function routerPeer({ peer }: Session, secrets: Secrets): string {
  return fillTemplate(readAsset('bird', 'router-peer.conf'), {
    ...peerValues(peer),
    BGP_PASSWORD: checkedPassword(secrets.bgpPassword),
  });
}

// Calico's naming: Mesh_192_168_13_36.
function peerValues(peer: Session['peer']): Record<'NAME' | 'MACHINE' | 'PEER_ADDRESS' | 'PEER_ASN', string> {
  return {
    NAME: peer.address.replaceAll('.', '_'),
    MACHINE: peer.machine,
    PEER_ADDRESS: peer.address,
    PEER_ASN: String(peer.asn),
  };
}

/**
 * The CNI configuration of one node: a routed veth per pod, addresses from the node's own block. The pods' gateway is
 * the node's own address, so that no address of the block is spent on the node and masqueraded traffic shows the node's
 * address. Leases are kept in /run: they end with the pods at a reboot.
 */
export function renderCniConflist(machine: MachinePlan): string {
  return fillTemplate(readAsset('bird', 'cni', '10-lab.conflist'), {
    POD_BLOCK: podBlockOf(machine),
    NODE_ADDRESS: machine.address,
  });
}

/** The rules, for iptables-restore, that masquerade what leaves the pod network. */
export function renderNatOutgoingRules(plan: LabPlan): string {
  return fillTemplate(readAsset('bird', 'cni', 'nat-outgoing.rules'), { POD_CIDR: plan.kubernetes.podCidr });
}
