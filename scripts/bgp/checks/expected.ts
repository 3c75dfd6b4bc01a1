import type { LabPlan, MachinePlan } from '../../plan/types.ts';
import { machinesOf, theMachine } from '../../plan/types.ts';

/** A prefix and the nodes that announce it over BGP now, derived from the services' state. */
export interface Announcement {
  readonly prefix: string;
  readonly nodes: readonly string[];
}

/** Where a table must send a prefix. */
export interface ExpectedRoute {
  readonly prefix: string;
  /** Gateways, or 'blackhole'; empty where the prefix must be absent. Sorted. */
  readonly nextHops: readonly string[];
  readonly why: string;
}

/** The Kubernetes nodes, in plan order. */
export function nodesOf(plan: LabPlan): readonly MachinePlan[] {
  return machinesOf(plan, 'control-plane', 'worker');
}

/** The nodes that have an eBGP session with the router, in plan order: the next hops that it can have. */
export function routerPeers(plan: LabPlan): readonly MachinePlan[] {
  const ends = plan.bgp.peerings
    .filter(({ kind }) => kind === 'ebgp')
    .flatMap(({ a, b }) => [a.machine, b.machine]);
  return nodesOf(plan).filter(({ name }) => ends.includes(name));
}

/** What the router must have learned: each pod block from its owner, the service CIDR and the external /32s. */
export function routerRoutes(
  plan: LabPlan,
  announcements: readonly Announcement[],
): readonly ExpectedRoute[] {
  const peers = routerPeers(plan);
  const blocks = nodesOf(plan).flatMap((node): ExpectedRoute[] => {
    if (node.podBlock === undefined) return [];
    return peers.includes(node)
      ? [
          {
            prefix: node.podBlock,
            nextHops: [node.address],
            why: `Only ${node.name} announces its own pod block; a node does not pass on what it learned from another.`,
          },
        ]
      : [
          {
            prefix: node.podBlock,
            nextHops: [],
            why: `${node.name} has no session with the router, and the workers do not pass its block on.`,
          },
        ];
  });
  return [
    ...blocks,
    {
      prefix: plan.kubernetes.serviceCidr,
      nextHops: sorted(peers.map(({ address }) => address)),
      why: 'Every worker announces the service CIDR, and any of them can translate a ClusterIP.',
    },
    ...announcements.map(({ prefix, nodes }) => ({
      prefix,
      nextHops: sorted(peers.filter(({ name }) => nodes.includes(name)).map(({ address }) => address)),
      why: 'Exactly the workers that can deliver to the service must be next hops.',
    })),
  ];
}

/** What one node's kernel must hold: the other nodes' blocks, its own block, external /32s, the router's prefixes. */
export function nodeRoutes(
  plan: LabPlan,
  announcements: readonly Announcement[],
  node: MachinePlan,
): readonly ExpectedRoute[] {
  const nodes = nodesOf(plan);
  const isPeer = routerPeers(plan).includes(node);
  const router = theMachine(plan, 'router');
  return [
    ...nodes.flatMap((owner): ExpectedRoute[] => {
      if (owner.podBlock === undefined) return [];
      return [
        owner.name === node.name
          ? {
              prefix: owner.podBlock,
              nextHops: ['blackhole'],
              why: `${node.name} holds its own block as a blackhole beneath the routes of its pods.`,
            }
          : {
              prefix: owner.podBlock,
              nextHops: [owner.address],
              why: `${owner.name} announces its block to every other node over iBGP.`,
            },
      ];
    }),
    ...announcements.map(({ prefix, nodes: announcing }) => externalRoute(plan, node, prefix, announcing)),
    ...plan.bgp.routerPrefixes.map((prefix) => ({
      prefix,
      nextHops: isPeer ? [router.address] : [],
      why: isPeer
        ? 'The router announces its own prefix to every worker.'
        : `${node.name} has no session with the router, and the workers do not pass on what they learn there.`,
    })),
  ];
}

function externalRoute(
  plan: LabPlan,
  node: MachinePlan,
  prefix: string,
  announcing: readonly string[],
): ExpectedRoute {
  if (announcing.includes(node.name))
    return {
      prefix,
      nextHops: ['blackhole'],
      why: `${node.name} announces it from a blackhole route; kube-proxy translates packets before they meet it.`,
    };
  const others = nodesOf(plan).filter(({ name }) => announcing.includes(name));
  return {
    prefix,
    nextHops: sorted(others.map(({ address }) => address)),
    why: `${node.name} does not announce it and learns it over iBGP from those that do.`,
  };
}

function sorted(addresses: readonly string[]): readonly string[] {
  return [...addresses].sort();
}
