import { type LabPlan, type MachinePlan, theMachine } from '../../plan/types.ts';
import { isIPv4, isWithin, overlaps, parseCidr } from '../../shared/ip.ts';
import { NOT_ASKED } from './ask.ts';
import { type CheckOf, makeCheck, unseenCheck } from './check.ts';
import { type Announcement, nodesOf } from './expected.ts';
import type { SessionState } from './frr.ts';
import type { BgpObservation, NamedTable } from './observe.ts';

type Unplanned = CheckOf<'unplanned-routes'>;
type Seen = NonNullable<Unplanned['seen']>;
type Observed = ReadonlyMap<string, BgpObservation>;

/** The tables that are looked through; what is in between those two of the router follows from them. */
const TABLES = ['bgp', 'bird', 'kernel'];

/**
 * Whether any machine holds a route, or offers one to a BGP neighbor, that nobody planned: it would draw traffic to where
 * nothing answers, or take a node's own default route away. A route that leads neither to a machine of the lab nor into
 * its prefixes is the machine's own affair (an uplink, for instance).
 */
export function checkUnplanned(
  plan: LabPlan,
  announcements: readonly Announcement[],
  observed: Observed,
): readonly Unplanned[] {
  return plan.machines
    .filter(({ role, name }) => role !== 'client' || observed.has(name))
    .map((machine) => checkMachine(plan, announcements, machine, observed));
}

function checkMachine(
  plan: LabPlan,
  announcements: readonly Announcement[],
  machine: MachinePlan,
  observed: Observed,
): Unplanned {
  const subject = { machine: machine.name };
  const wanted = { prefixes: [] };
  const tables = (observed.get(machine.name)?.tables ?? []).filter(({ name }) => TABLES.includes(name));
  const kernel = tables.find(({ name }) => name === 'kernel')?.table ?? NOT_ASKED;
  if (!kernel.ok) return unseenCheck('unplanned-routes', subject, wanted, kernel);
  const isPlanned = plannedFor(plan, announcements, machine);
  const held = new Map<string, { prefix: string; tables: string[]; nextHops: readonly string[] }>();
  for (const { name, prefix, nextHops } of tables.flatMap(routesOf)) {
    if (isPlanned(prefix) || !isOfLab(plan, machine, name, prefix, nextHops)) continue;
    const key = `${prefix} ${nextHops.join()}`;
    const known = held.get(key);
    if (known === undefined) held.set(key, { prefix, tables: [name], nextHops });
    else known.tables.push(name);
  }
  const seen: Seen = {
    held: [...held.values()],
    offered: offeredBy(plan, machine, observed).filter(({ prefix }) => !isPlanned(prefix)),
  };
  const isRight = seen.held.length + seen.offered.length === 0;
  return makeCheck('unplanned-routes', subject, {
    reason: isRight ? 'as-wanted' : 'unwanted',
    wanted,
    seen,
  });
}

function routesOf({ name, table }: NamedTable) {
  return table.ok ? [...table.value].map(([prefix, nextHops]) => ({ name, prefix, nextHops })) : [];
}

/** True for a prefix that the machine may hold and offer; whether it leads to the right place is for the route checks. */
function plannedFor(plan: LabPlan, announcements: readonly Announcement[], machine: MachinePlan) {
  const { podCidr, serviceCidr } = plan.kubernetes;
  const planned = new Set([
    ...nodesOf(plan).flatMap(({ podBlock }) => podBlock ?? []),
    ...announcements.map(({ prefix }) => prefix),
    serviceCidr,
    plan.network.subnet,
    ...plan.bgp.routerPrefixes,
    ...machine.routes.map(({ to }) => to),
  ]);
  // Calico announces single ClusterIPs, and a pod's address where a node has borrowed it from another one's block.
  const singles =
    machine.asn === plan.bgp.clusterAsn && plan.calico !== undefined ? [podCidr, serviceCidr] : [];
  return (prefix: string) =>
    planned.has(prefix) || (prefix.endsWith('/32') && singles.some((cidr) => isWithin(prefix, cidr)));
}

/** Whether a route leads to a machine of the lab, into its prefixes, or was made by a BGP daemon itself. */
function isOfLab(
  plan: LabPlan,
  machine: MachinePlan,
  table: string,
  prefix: string,
  nextHops: readonly string[],
): boolean {
  const { podCidr, serviceCidr } = plan.kubernetes;
  if (nextHops.some((hop) => plan.machines.some(({ address }) => address === hop))) return true;
  const isLink = nextHops.every((hop) => hop.startsWith('dev '));
  // The link of a pod.
  if (isLink && machine.asn === plan.bgp.clusterAsn && isWithin(prefix, podCidr)) return false;
  if (!isLink && table !== 'kernel' && !nextHops.some(isIPv4)) return true;
  const cidr = parseCidr(prefix);
  if (cidr === undefined || cidr.length === 0) return false;
  return [podCidr, serviceCidr, ...plan.bgp.externalPrefixes].some((text) => {
    const other = parseCidr(text);
    return other !== undefined && overlaps(cidr, other);
  });
}

/** What a machine offers over eBGP, as the router tells it: its own offers, and what it refuses of a node's. */
function offeredBy(plan: LabPlan, machine: MachinePlan, observed: Observed): Seen['offered'] {
  const router = theMachine(plan, 'router');
  const sessions = sessionsOf(observed.get(router.name));
  if (machine !== router)
    return sessions
      .filter(({ neighbor }) => neighbor === machine.address)
      .flatMap(({ refused, filter }) =>
        refused.map((prefix) => ({ prefix, to: router.name, refusedBy: filter })),
      );
  return sessions.flatMap(({ neighbor, offered = [] }) => {
    const node = nodesOf(plan).find(({ address }) => address === neighbor);
    const at = node && observed.get(node.name);
    const end = sessionsOf(at).find((session) => session.neighbor === router.address);
    const table = at?.tables.find(({ name }) => name === 'bird')?.table;
    return offered.map((prefix) => {
      const isTaken = table?.ok !== true || table.value.has(prefix);
      return { prefix, to: node?.name ?? neighbor, refusedBy: isTaken ? null : (end?.filter ?? null) };
    });
  });
}

function sessionsOf(observation: BgpObservation | undefined): readonly SessionState[] {
  return observation?.sessions.ok === true ? observation.sessions.value : [];
}
