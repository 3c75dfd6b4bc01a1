import type { LabPlan, PeeringPlan } from '../../plan/types.ts';
import { theMachine } from '../../plan/types.ts';
import { overlaps, parseCidr } from '../../shared/ip.ts';
import type { Answer } from './ask.ts';
import type { Check } from './check.ts';
import type { Announcement, ExpectedRoute } from './expected.ts';
import { nodeRoutes, nodesOf, routerRoutes } from './expected.ts';
import type { BgpObservation, NamedTable } from './observe.ts';
import type { RouteTable } from './tables.ts';

/** Every BGP check: sessions at both ends, the router's tables and each node's, down to the kernels. */
export function checkBgp(
  plan: LabPlan,
  announcements: readonly Announcement[],
  observed: ReadonlyMap<string, BgpObservation>,
): readonly Check[] {
  const router = theMachine(plan, 'router');
  return [
    ...plan.bgp.peerings.map((peering) => checkSession(peering, observed)),
    ...checkTables(router.name, routerRoutes(plan, announcements), observed),
    checkNothingElse(plan, announcements, router.name, observed),
    ...nodesOf(plan).flatMap((node) =>
      checkTables(node.name, nodeRoutes(plan, announcements, node), observed),
    ),
  ];
}

function checkSession({ kind, a, b }: PeeringPlan, observed: ReadonlyMap<string, BgpObservation>): Check {
  const ends = [stateAt(a.machine, b, observed), stateAt(b.machine, a, observed)];
  const wrong = ends.some(({ verdict }) => verdict === 'failed');
  const unknown = ends.some(({ verdict }) => verdict === 'harness');
  return {
    id: `bgp.session.${a.machine}-${b.machine}`,
    title: `${kind === 'ebgp' ? 'eBGP' : 'iBGP'} session ${a.machine} - ${b.machine}`,
    verdict: wrong ? 'failed' : unknown ? 'harness' : 'passed',
    expected: 'Established at both ends',
    observed: ends.map(({ text }) => text).join(', '),
    why: 'Routes are exchanged over established sessions only.',
  };
}

function stateAt(
  machine: string,
  other: PeeringPlan['a'],
  observed: ReadonlyMap<string, BgpObservation>,
): { readonly verdict: 'passed' | 'failed' | 'harness'; readonly text: string } {
  const sessions = observed.get(machine)?.sessions ?? notAsked;
  if (!sessions.ok)
    return { verdict: verdictOfFault(sessions.fault), text: `${machine}: ${sessions.detail}` };
  const session = sessions.value.find(({ neighbor }) => neighbor === other.address);
  if (session === undefined) return { verdict: 'failed', text: `${machine}: no session configured` };
  const isRight = session.state === 'Established' && session.remoteAsn === other.asn;
  const asn = session.remoteAsn === other.asn ? '' : ` with AS ${session.remoteAsn} instead of ${other.asn}`;
  return { verdict: isRight ? 'passed' : 'failed', text: `${machine}: ${session.state}${asn}` };
}

const notAsked = { ok: false, fault: 'harness', detail: 'it was not asked' } as const;

function verdictOfFault(fault: 'lab' | 'harness'): 'failed' | 'harness' {
  return fault === 'lab' ? 'failed' : 'harness';
}

function checkTables(
  machine: string,
  expected: readonly ExpectedRoute[],
  observed: ReadonlyMap<string, BgpObservation>,
): readonly Check[] {
  const observation = observed.get(machine);
  const tables = observation?.tables ?? [{ name: 'tables', label: 'tables', table: notAsked }];
  return expected.flatMap((route) =>
    tables
      .filter(({ name }) => route.tables?.includes(name) ?? true)
      .map((table) => checkRoute(machine, route, table)),
  );
}

function checkRoute(machine: string, route: ExpectedRoute, { name, label, table }: NamedTable): Check {
  const seen: Answer<readonly string[]> = table.ok
    ? { ok: true, value: table.value.get(route.prefix) ?? [] }
    : table;
  const { nextHops } = route;
  const count = (name === 'kernel' ? route.inKernel : undefined) ?? nextHops.length;
  const isRight = (hops: readonly string[]) =>
    hops.length === count && hops.every((hop) => nextHops.includes(hop));
  return {
    id: `bgp.route.${machine}.${name}.${route.prefix}`,
    title: `${machine} ${label}: ${route.prefix}`,
    verdict: seen.ok ? (isRight(seen.value) ? 'passed' : 'failed') : verdictOfFault(seen.fault),
    expected: `${count === nextHops.length ? '' : `${count} of `}${hopsText(nextHops)}`,
    observed: seen.ok ? hopsText(seen.value) : seen.detail,
    why: route.why,
  };
}

function hopsText(nextHops: readonly string[]): string {
  return nextHops.length === 0 ? 'absent' : nextHops.join(', ');
}

/** A prefix of the lab that nobody planned is a leak: it would draw traffic to where nothing answers. */
function checkNothingElse(
  plan: LabPlan,
  announcements: readonly Announcement[],
  router: string,
  observed: ReadonlyMap<string, BgpObservation>,
): Check {
  const planned = new Set(routerRoutes(plan, announcements).map(({ prefix }) => prefix));
  const table: Answer<RouteTable> =
    observed.get(router)?.tables.find(({ name }) => name === 'kernel')?.table ?? notAsked;
  const extra = table.ok
    ? [...table.value.keys()].filter((prefix) => !planned.has(prefix) && isOfLab(plan, prefix)).sort()
    : [];
  return {
    id: `bgp.route.${router}.nothing-else`,
    title: `${router} kernel: no unplanned prefix`,
    verdict: table.ok ? (extra.length === 0 ? 'passed' : 'failed') : verdictOfFault(table.fault),
    expected: 'none',
    observed: table.ok ? extra.join(', ') || 'none' : table.detail,
    why: 'The router accepts pod blocks, the service CIDR and external addresses, and nothing longer or wider.',
  };
}

function isOfLab(plan: LabPlan, prefix: string): boolean {
  const cidr = parseCidr(prefix);
  if (cidr === undefined || cidr.length === 0) return false;
  return [plan.kubernetes.podCidr, plan.kubernetes.serviceCidr, ...plan.bgp.externalPrefixes].some((text) => {
    const other = parseCidr(text);
    return other !== undefined && overlaps(cidr, other);
  });
}
