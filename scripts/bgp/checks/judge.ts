import { type LabPlan, theMachine } from '../../plan/types.ts';
import { NOT_ASKED } from './ask.ts';
import { type Check, makeCheck, unseenCheck } from './check.ts';
import { type Announcement, type ExpectedRoute, nodeRoutes, nodesOf, routerRoutes } from './expected.ts';
import type { BgpObservation, NamedTable } from './observe.ts';
import { checkSessions } from './sessions.ts';
import { checkUnplanned } from './unplanned.ts';

/** Every BGP check: sessions at both ends, the router's tables and each node's, down to the kernels. */
export function checkBgp(
  plan: LabPlan,
  announcements: readonly Announcement[],
  observed: ReadonlyMap<string, BgpObservation>,
): readonly Check[] {
  const router = theMachine(plan, 'router');
  return [
    ...checkSessions(plan, observed),
    ...checkTables(router.name, routerRoutes(plan, announcements), observed),
    ...nodesOf(plan).flatMap((node) =>
      checkTables(node.name, nodeRoutes(plan, announcements, node), observed),
    ),
    ...checkUnplanned(plan, announcements, observed),
  ];
}

function checkTables(
  machine: string,
  expected: readonly ExpectedRoute[],
  observed: ReadonlyMap<string, BgpObservation>,
): readonly Check[] {
  const observation = observed.get(machine);
  const tables = observation?.tables ?? [{ name: 'tables', table: NOT_ASKED }];
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
  if (rule === 'encapsulated')
    return makeCheck('route', subject, {
      verdict: 'skipped',
      reason: rule,
      wanted,
      seen: { nextHops: seen },
    });
  const isRight = seen.length === take && seen.every((hop) => nextHops.includes(hop));
  const reason = isRight
    ? 'as-wanted'
    : seen.length === 0
      ? 'missing'
      : take === 0
        ? 'unwanted'
        : 'wrong-next-hops';
  return makeCheck('route', subject, {
    reason,
    wanted,
    seen: { nextHops: seen },
  });
}
