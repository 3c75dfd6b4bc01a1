import { type Check, checkId } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import { inAny, numberOf } from './addresses.ts';
import { worldOf } from './expect/world.ts';
import { blockedBy, type LayeredChecks } from './layers.ts';
import { wrongChains } from './rule-checks.ts';
import type { ObservedState } from './state/types.ts';
import type { Cell, CellResult, ChainStep } from './types.ts';

/** Which addresses a machine looks up in its routes for a cell, and which machines' rules for its service decide. */
interface Needs {
  readonly lookups: ReadonlyMap<string, ReadonlySet<string>>;
  /** By machine the chains of the service that decide there; undefined: any of them may. */
  readonly translators: ReadonlyMap<string, readonly string[] | undefined>;
  /** The node that must masquerade it, because it leaves the pod network there. */
  readonly masquerader?: string;
  /** The nodes whose pods send or answer. */
  readonly podNodes: readonly string[];
}

/**
 * Marks the cells whose way leads over something that failed its check as blocked by the check at the bottom: over a
 * machine whose route to the target, to one of the backends, or back to the client is not as it should be, or whose
 * rules for the service are not, in a chain that the cell passes, or whose masquerading of pods is not, or which does not
 * answer its pods. Which machines, addresses and chains those are follows from the cell's own chain of reasons. Pure.
 */
export function blockCells(
  plan: LabPlan,
  state: ObservedState,
  { checks, roots }: LayeredChecks,
  cells: readonly Cell[],
): readonly Cell[] {
  if (roots.size === 0) return cells;
  const routes = checks.flatMap((check) =>
    check.kind === 'route' ? [{ id: check.id, ...check.subject }] : [],
  );
  const wrong = new Map(
    checks.flatMap((check): [string, readonly string[]][] =>
      check.kind === 'service-rules' ? [[check.id, wrongChains(check)]] : [],
    ),
  );
  return cells.map((cell) => {
    if (cell.blockedBy !== undefined || endsInDns(cell)) return cell;
    const { lookups, translators, masquerader, podNodes } = needsOf(plan, state, cell);
    const used = [...lookups].flatMap(([machine, addresses]) =>
      [...addresses].flatMap((address) =>
        longest(
          routes.filter((route) => route.machine === machine && inAny([route.prefix], address)),
          ({ prefix }) => Number(prefix.split('/')[1]),
        ).map(({ id }) => id),
      ),
    );
    const rules = [...translators].flatMap(([node, passed]) => {
      const id = checkId('service-rules', { machine: node, service: cell.service ?? '' });
      return passed === undefined || wrong.get(id)?.some((chain) => passed.includes(chain)) ? [id] : [];
    });
    const masquerading = masquerader === undefined ? [] : [checkId('masquerading', { machine: masquerader })];
    const gateways = podNodes.map((machine) => checkId('pod-gateway', { machine }));
    const failing = [...used, ...gateways, ...masquerading, ...rules].filter((id) => roots.has(id));
    const [first] = checks.filter(({ id }) => failing.includes(id));
    const root = roots.get(first?.id ?? '');
    if (root === undefined) return cell;
    const { skipped: _unknown, chance: _undecided, ...rest } = cell;
    return { ...rest, blockedBy: root };
  });
}

/** The items with the greatest value. */
function longest<T>(items: readonly T[], sizeOf: (item: T) => number): readonly T[] {
  const most = Math.max(...items.map(sizeOf));
  return items.filter((item) => sizeOf(item) === most);
}

function needsOf(plan: LabPlan, state: ObservedState, cell: Cell): Needs {
  const world = worldOf(state);
  const { chain, servers, clients } = cell.expected;
  const pod = state.pods.find(({ name }) => `pod/${name}` === cell.from);
  const origin = pod?.node ?? cell.from;
  const service = world.service(cell.service ?? '');
  const targets = cell.pods ?? [cell.address];
  const ready = service?.backends ?? cell.pods ?? [];
  const backends = isUncertain(cell) ? ready : servers;
  const translators = new Map<string, readonly string[] | undefined>();
  for (const { at, chains = [] } of chain)
    if (chains.some((name) => name.startsWith('KUBE-') && name !== 'KUBE-FORWARD'))
      translators.set(at, serviceChainsOf(chain.filter((step) => step.at === at)));
  const everywhere = serviceChainsOf(chain);
  const machines = new Set([origin, ...chain.map(({ at }) => at)]);
  // A chain names only the first few of many equal next hops.
  for (const name of [...machines])
    for (const target of targets)
      for (const next of nextMachines(state, name, target)) {
        machines.add(next);
        if (cell.service !== undefined && translators.size > 0 && !translators.has(next))
          if (world.machine(next)?.node !== undefined) translators.set(next, everywhere);
      }
  // Where nothing certain is predicted the chain may lack a node: any on the way may translate.
  if (isUncertain(cell) && cell.service !== undefined)
    for (const name of machines)
      if (world.machine(name)?.node !== undefined) translators.set(name, undefined);
  const lookups = new Map<string, Set<string>>();
  const note = (machine: string | undefined, addresses: readonly string[]) => {
    if (machine === undefined || world.machine(machine) === undefined) return;
    const known = lookups.get(machine) ?? new Set();
    // Its own pods are reached by routes of their own.
    for (const address of addresses) if (world.nodeOf(address) !== machine) known.add(address);
    lookups.set(machine, known);
  };
  for (const machine of machines) {
    const isTranslator = translators.has(machine);
    // A node's own connection is routed before its rules translate it, all others after.
    if (!isTranslator || (machine === origin && pod === undefined)) note(machine, targets);
    if (isTranslator) note(machine, backends);
  }
  const source = pod?.ip ?? '';
  for (const backend of backends)
    note(world.nodeOf(backend), [...clients, ...(source === '' ? [] : [source])].filter(isAddress));
  // What a node's own rules lead to a pod has left for that pod only.
  const sent = cell.kind === 'node-port' && cell.node !== origin ? targets : (cell.pods ?? backends);
  const leaves = sent.some((each) => isAddress(each) && !inAny([plan.kubernetes.podCidr], each));
  const isPod = pod !== undefined && !pod.hostNetwork;
  const answering = backends.filter((each) => inAny([plan.kubernetes.podCidr], each));
  return {
    lookups,
    translators,
    podNodes: [...(isPod ? [origin] : []), ...answering.flatMap((each) => world.nodeOf(each) ?? [])],
    ...(isPod && leaves ? { masquerader: origin } : {}),
  };
}

/** The chains of a service port that a connection passes in these steps; undefined where its rules end it before any. */
function serviceChainsOf(steps: readonly ChainStep[]): readonly string[] | undefined {
  const passed = steps.flatMap(({ chains = [] }) => {
    // Without a local endpoint KUBE-EXT has no rule that leads on, and nothing but a wrong one would.
    const [last] = chains.slice(-1);
    return last?.startsWith('KUBE-EXT-') ? [...chains, last.replace('-EXT-', '-SVL-')] : chains;
  });
  const own = passed.filter((name) => /^KUBE-(SVC|SVL|XLB|EXT)-/.test(name));
  return own.length === 0 ? undefined : own;
}

/** True for a name that cannot be resolved where it is asked for: no packet to a pod is ever sent. */
function endsInDns({ expected: { outcome } }: Cell): boolean {
  return outcome === 'dns-error' || outcome === 'dns-nxdomain';
}

/** True where the expectation may lack a backend, so that these have to be taken from the service. */
function isUncertain({ expected, chance }: Cell): boolean {
  return expected.outcome === 'harness-error' || chance !== undefined;
}

function isAddress(text: string): boolean {
  return Number.isInteger(numberOf(text));
}

function nextMachines(state: ObservedState, name: string, address: string): readonly string[] {
  const world = worldOf(state);
  const machine = world.machine(name);
  if (machine === undefined || !isAddress(address)) return [];
  const found = machine.lookup(address);
  if (found.kind !== 'route') return [];
  return found.route.hops.flatMap(({ gateway }) => world.ownerOf(gateway ?? address) ?? []);
}

/**
 * The DNS checks in order, and the results of cells whose name did not resolve. Checks that fail in the same way for the
 * want of an answer are one cause, which the first of them stands for; a cell whose name failed its own check is blocked
 * by it. Pure.
 */
export function layerDns(
  dns: readonly Check[],
  results: readonly CellResult[],
): { readonly checks: readonly Check[]; readonly results: readonly CellResult[] } {
  const roots = new Map<string, string>();
  for (const check of dns) {
    if (check.verdict !== 'failed') continue;
    const first = dns.find(({ verdict, reason }) => verdict === 'failed' && reason === 'no-answer');
    roots.set(check.id, check.reason === 'no-answer' ? (first?.id ?? check.id) : check.id);
  }
  return {
    checks: dns.map((check) => blockedBy(check, roots.get(check.id))),
    results: results.map((result): CellResult => {
      const { cell, observed, verdict } = result;
      const didNotResolve = observed?.outcome === 'dns-error' || observed?.outcome === 'dns-nxdomain';
      const root = roots.get(checkId('dns', { from: cell.from, type: 'A', name: cell.address }));
      if (verdict !== 'failed' || cell.kind !== 'name' || !didNotResolve || root === undefined) return result;
      return { ...result, verdict: 'blocked', finding: { reason: 'name-blocked', by: root } };
    }),
  };
}
