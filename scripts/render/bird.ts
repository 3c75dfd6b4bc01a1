import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { readAsset } from '../shared/assets.ts';
import type { Secrets } from '../shared/secrets.ts';
import { checkedPassword } from './password.ts';
import { type Session, sessionsOf } from './sessions.ts';
import { fillTemplate } from './template.ts';

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
