import { type LabPlan, type PeeringPlan, theMachine } from '../../plan/types.ts';
import { overlaps, parseCidr } from '../../shared/ip.ts';
import type { Answer } from './ask.ts';
import { type Check, type CheckOf, type CheckVerdict, makeCheck, unseenCheck } from './check.ts';
import { type Announcement, type ExpectedRoute, nodeRoutes, nodesOf, routerRoutes } from './expected.ts';
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
  const ends = [endAt(a.machine, b, observed), endAt(b.machine, a, observed)];
  const wrong = ends.find(({ reason }) => reason !== 'as-wanted' && reason !== 'not-read');
  const reason = (wrong ?? ends.find((end) => end.reason === 'not-read'))?.reason ?? 'as-wanted';
  return makeCheck(
    'session',
    { a: a.machine, b: b.machine, protocol: kind },
    {
      verdict: verdictOf(reason),
      reason,
      wanted: { state: 'Established' },
      seen: { ends: ends.map(({ seen }) => seen) },
    },
  );
}

type Session = CheckOf<'session'>;
type SessionEnd = NonNullable<Session['seen']>['ends'][number];

function endAt(
  machine: string,
  other: PeeringPlan['a'],
  observed: ReadonlyMap<string, BgpObservation>,
): { readonly reason: Session['reason']; readonly seen: SessionEnd } {
  const sessions = observed.get(machine)?.sessions ?? notAsked;
  if (!sessions.ok)
    return { reason: reasonOf(sessions), seen: { machine, state: null, problem: sessions.detail } };
  const session = sessions.value.find(({ neighbor }) => neighbor === other.address);
  if (session === undefined) return { reason: 'not-configured', seen: { machine, state: null } };
  const { state, remoteAsn } = session;
  if (remoteAsn !== other.asn)
    return { reason: 'wrong-as', seen: { machine, state, asn: remoteAsn, wantedAsn: other.asn } };
  return { reason: state === 'Established' ? 'as-wanted' : 'not-established', seen: { machine, state } };
}

const notAsked = { ok: false, fault: 'harness', detail: 'it was not asked' } as const;

/** Why nothing was seen. */
function reasonOf({ fault }: { readonly fault: 'lab' | 'harness' }): 'no-answer' | 'not-read' {
  return fault === 'lab' ? 'no-answer' : 'not-read';
}

function verdictOf(reason: Check['reason']): CheckVerdict {
  return reason === 'as-wanted' ? 'passed' : reason === 'not-read' ? 'harness' : 'failed';
}

function checkTables(
  machine: string,
  expected: readonly ExpectedRoute[],
  observed: ReadonlyMap<string, BgpObservation>,
): readonly Check[] {
  const observation = observed.get(machine);
  const tables = observation?.tables ?? [{ name: 'tables', table: notAsked }];
  return expected.flatMap((route) =>
    tables
      .filter(({ name }) => route.tables?.includes(name) ?? true)
      .map((table) => checkRoute(machine, route, table)),
  );
}

function checkRoute(machine: string, route: ExpectedRoute, { name, table }: NamedTable): Check {
  const { nextHops, prefix, rule, owner } = route;
  const take = (name === 'kernel' ? route.inKernel : undefined) ?? nextHops.length;
  const wanted = { nextHops, take, rule, ...(owner === undefined ? {} : { owner }) };
  const subject = { machine, table: name, prefix };
  if (!table.ok) return unseenCheck('route', subject, wanted, table);
  const seen = table.value.get(prefix) ?? [];
  const isRight = seen.length === take && seen.every((hop) => nextHops.includes(hop));
  const reason = isRight
    ? 'as-wanted'
    : seen.length === 0
      ? 'missing'
      : take === 0
        ? 'unwanted'
        : 'wrong-next-hops';
  return makeCheck('route', subject, {
    verdict: verdictOf(reason),
    reason,
    wanted,
    seen: { nextHops: seen },
  });
}

/** A prefix of the lab that nobody planned is a leak: it would draw traffic to where nothing answers. */
function checkNothingElse(
  plan: LabPlan,
  announcements: readonly Announcement[],
  machine: string,
  observed: ReadonlyMap<string, BgpObservation>,
): Check {
  const planned = new Set(routerRoutes(plan, announcements).map(({ prefix }) => prefix));
  const table: Answer<RouteTable> =
    observed.get(machine)?.tables.find(({ name }) => name === 'kernel')?.table ?? notAsked;
  const wanted = { prefixes: [] };
  if (!table.ok) return unseenCheck('unplanned-routes', { machine }, wanted, table);
  const prefixes = [...table.value.keys()]
    .filter((prefix) => !planned.has(prefix) && isOfLab(plan, prefix))
    .sort();
  const reason = prefixes.length === 0 ? 'as-wanted' : 'unwanted';
  return makeCheck(
    'unplanned-routes',
    { machine },
    { verdict: verdictOf(reason), reason, wanted, seen: { prefixes } },
  );
}

function isOfLab(plan: LabPlan, prefix: string): boolean {
  const cidr = parseCidr(prefix);
  if (cidr === undefined || cidr.length === 0) return false;
  return [plan.kubernetes.podCidr, plan.kubernetes.serviceCidr, ...plan.bgp.externalPrefixes].some((text) => {
    const other = parseCidr(text);
    return other !== undefined && overlaps(cidr, other);
  });
}
