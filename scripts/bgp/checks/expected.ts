import { type LabPlan, type MachinePlan, machinesOf, theMachine } from '../../plan/types.ts';
import { isWithin } from '../../shared/ip.ts';
import type { CheckOf } from './check.ts';

/** A prefix and the nodes that announce it over BGP now, derived from what the API server says. */
export interface Announcement {
  /**
   * Absent: an external address. `pods`: a block that Calico's IPAM has given to the node; the `bird` CNI's blocks are in
   * the plan. `service-cidr`: ClusterIPs as a whole. `cluster-ip`: a single one, which Calico announces beside them.
   */
  readonly of?: 'pods' | 'service-cidr' | 'cluster-ip';
  readonly prefix: string;
  readonly nodes: readonly string[];
  /** Of `pods`: Calico carries packets for it between nodes in packets of its own (VXLAN, IP in IP). */
  readonly isEncapsulated?: boolean;
}

/** Where a table must send a prefix. */
export interface ExpectedRoute {
  readonly prefix: string;
  /** Gateways, or 'blackhole'; empty where the prefix must be absent. Sorted. */
  readonly nextHops: readonly string[];
  /** How many of them the kernel gets, where the BGP daemon chooses among them; absent: all. */
  readonly inKernel?: number;
  readonly rule: CheckOf<'route'>['wanted']['rule'];
  /** Who announces it, where only one node does. */
  readonly owner?: string;
  /** The tables that must hold it, by name; absent: all of the machine's. */
  readonly tables?: readonly string[];
}

interface PodBlock extends Pick<Announcement, 'prefix' | 'isEncapsulated'> {
  readonly owner: MachinePlan;
}

/** Every node's pod blocks, in plan order: the plan's, or with Calico those that its IPAM has given out by now. */
function podBlocks(plan: LabPlan, announcements: readonly Announcement[]): readonly PodBlock[] {
  return nodesOf(plan).flatMap((owner): PodBlock[] => {
    if (owner.podBlock !== undefined) return [{ prefix: owner.podBlock, owner }];
    return announcements
      .filter(({ of, nodes }) => of === 'pods' && nodes.includes(owner.name))
      .map(({ prefix, isEncapsulated = false }) => ({ prefix, owner, isEncapsulated }));
  });
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

/** Felix makes the nodes' routes then, and BIRD passes on what it finds; cells follow what the kernels have. */
function encapsulated(prefix: string, owner: MachinePlan): ExpectedRoute {
  return { prefix, nextHops: [], rule: 'encapsulated', owner: owner.name };
}

/** What the router must have learned: each pod block from its owner, the service CIDR and the external /32s. */
export function routerRoutes(
  plan: LabPlan,
  announcements: readonly Announcement[],
): readonly ExpectedRoute[] {
  const peers = routerPeers(plan);
  const blocks = podBlocks(plan, announcements).map(
    ({ prefix, owner, isEncapsulated }): ExpectedRoute =>
      isEncapsulated === true
        ? encapsulated(prefix, owner)
        : peers.includes(owner)
          ? { prefix, nextHops: [owner.address], rule: 'own-block-to-router', owner: owner.name }
          : { prefix, nextHops: [], rule: 'block-without-session', owner: owner.name },
  );
  // Its prefix list takes the service CIDR whole and external addresses one by one, and nothing else of the services.
  const isTaken = (prefix: string) =>
    prefix === plan.kubernetes.serviceCidr ||
    (prefix.endsWith('/32') && plan.bgp.externalPrefixes.some((each) => isWithin(prefix, each)));
  const services = announcements.filter(({ of }) => of === undefined || of === 'service-cidr');
  return [
    ...blocks,
    ...services.map(({ of, prefix, nodes }): ExpectedRoute => {
      if (!isTaken(prefix)) return { prefix, nextHops: [], rule: 'refused-by-router' };
      const announcing = peers.filter(({ name }) => nodes.includes(name));
      const nextHops = announcing.map(({ address }) => address).sort();
      return { prefix, nextHops, rule: of === undefined ? 'external-to-router' : 'service-cidr' };
    }),
  ];
}

/** What one node's kernel must hold: the other nodes' blocks, its own block, external /32s, the router's prefixes. */
export function nodeRoutes(
  plan: LabPlan,
  announcements: readonly Announcement[],
  node: MachinePlan,
): readonly ExpectedRoute[] {
  const isPeer = routerPeers(plan).includes(node);
  const router = theMachine(plan, 'router');
  // Without the mesh, what a node learns from others depends on peers that only Calico's own objects know.
  const hasMesh = plan.bgp.peerings.some(({ kind }) => kind === 'ibgp');
  const routes: readonly ExpectedRoute[] = [
    ...podBlocks(plan, announcements).map(
      ({ prefix, owner, isEncapsulated }): ExpectedRoute =>
        isEncapsulated === true
          ? encapsulated(prefix, owner)
          : owner.name === node.name
            ? { prefix, nextHops: ['blackhole'], rule: 'own-block', owner: owner.name }
            : { prefix, nextHops: [owner.address], rule: 'block-over-ibgp', owner: owner.name },
    ),
    ...announcements
      .filter(({ of }) => of === undefined)
      .map(({ prefix, nodes }) => externalRoute(plan, node, prefix, nodes)),
    // Those of services with externalTrafficPolicy Local, which Calico announces from nodes with an endpoint, beside the
    // service CIDR (confd's routes.go). They stay in BIRD: no kernel gets them, and the router takes the CIDR only. The
    // CIDR itself is looked for at the router: a node learns it from the others with the same preference as its own has.
    ...announcements
      .filter(({ of }) => of === 'cluster-ip')
      .map(({ prefix, nodes }) => ({ ...externalRoute(plan, node, prefix, nodes), tables: ['bird'] })),
    ...plan.bgp.routerPrefixes.map(
      (prefix): ExpectedRoute =>
        isPeer
          ? { prefix, nextHops: [router.address], rule: 'router-prefix', owner: router.name }
          : { prefix, nextHops: [], rule: 'router-prefix-without-session', owner: router.name },
    ),
  ];
  return routes.filter(
    ({ rule }) =>
      hasMesh || !['block-over-ibgp', 'learned-over-ibgp', 'router-prefix-without-session'].includes(rule),
  );
}

function externalRoute(
  plan: LabPlan,
  node: MachinePlan,
  prefix: string,
  announcing: readonly string[],
): ExpectedRoute {
  if (announcing.includes(node.name)) return { prefix, nextHops: ['blackhole'], rule: 'announced-here' };
  const others = nodesOf(plan).filter(({ name }) => announcing.includes(name));
  const nextHops = others.map(({ address }) => address).sort();
  const limit = plan.calico?.maximumPaths ?? plan.bgp.maximumPaths;
  return {
    prefix,
    nextHops,
    rule: 'learned-over-ibgp',
    ...(nextHops.length <= limit ? {} : { inKernel: limit }),
  };
}
