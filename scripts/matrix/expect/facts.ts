import type { Address } from '../addresses.ts';
import type { EndCause, Match, NetworkState, RuleMet, Trace } from './types.ts';
import { walkRoutes } from './walk.ts';

/** Something observed that a decision follows from: if it is not as it should be, the decision is not either. */
export type Fact =
  /** A machine's route to an address; `prefix` is the one that was found, absent where there is none. */
  | {
      readonly kind: 'route';
      readonly machine: string;
      readonly destination: Address;
      readonly prefix?: string;
    }
  /** A chain of a node's rules for services, whether it is there or only should be. */
  | { readonly kind: 'chain'; readonly machine: string; readonly chain: string }
  /** A node's masquerading of what its pods send out of the pod network. */
  | { readonly kind: 'masquerade'; readonly machine: string }
  /** A node's link with its pods. */
  | { readonly kind: 'pod-link'; readonly machine: string };

/** All that a trace rests on, whatever chance chooses, with the paths of its answers. */
export function factsOf(network: NetworkState, trace: Trace): readonly Fact[] {
  const facts: Fact[] = [];
  const seen = new Set<Trace>();
  const collect = (each: Trace) => {
    if (seen.has(each)) return;
    seen.add(each);
    facts.push(...factsOfDecision(network, each));
    for (const next of each.next) collect(next);
    if (each.decision.kind === 'translate') for (const { path } of each.decision.choices.all()) collect(path);
    for (const [from, to] of answersOf(each)) {
      const machine = network.machine(from);
      if (machine !== undefined) collect(walkRoutes(network, machine, to));
    }
  };
  collect(trace);
  return facts;
}

/** The answers that a decision waits for: from which machine, to which address. */
function answersOf({ at, decision }: Trace): readonly (readonly [from: string, to: Address])[] {
  switch (decision.kind) {
    case 'answer':
      return decision.by.kind === 'itself' ? [] : [[decision.by.machine, decision.client]];
    case 'masquerade':
      return [[at, decision.source]];
    case 'translate': {
      const { choices, client } = decision;
      return [
        ...choices.all().map(({ node, source }) => [node, source] as const),
        ...(client === undefined || choices.outcomes.servers.length === 0 ? [] : [[at, client] as const]),
      ];
    }
    default:
      return [];
  }
}

function factsOfDecision(network: NetworkState, { at, decision, next }: Trace): readonly Fact[] {
  switch (decision.kind) {
    case 'pod-route': {
      const { node: machine } = decision;
      const isLeaving = next.some((trace) =>
        destinationsAt(machine, trace).some((address) => !network.isPodAddress(address)),
      );
      return [
        { kind: 'pod-link', machine },
        ...(isLeaving ? [{ kind: 'masquerade' as const, machine }] : []),
      ];
    }
    case 'route': {
      const { route, destination, hops, rule } = decision;
      return [
        { kind: 'route', machine: at, destination, prefix: route.prefix },
        ...(hops.some(({ kind }) => kind === 'pod') ? [{ kind: 'pod-link' as const, machine: at }] : []),
        ...(rule === undefined ? [] : rulesMet(at, rule)),
      ];
    }
    case 'rule':
      return rulesMet(at, decision);
    case 'translate':
      return chains(at, decision.translation.chains);
    case 'unknown':
      return decision.matches.flatMap((match) => serviceChains(network, at, match));
    case 'end':
      return factsOfEnd(network, at, decision.cause);
    default:
      return [];
  }
}

/** Where a packet goes from a machine: by its routes, or by rules. */
function destinationsAt(machine: string, { at, decision, next }: Trace): readonly Address[] {
  if (at !== machine) return [];
  if (decision.kind === 'route') return [decision.destination];
  if (decision.kind === 'translate') return decision.translation.endpoints.map(({ ip }) => ip);
  return next.flatMap((each) => destinationsAt(machine, each));
}

function factsOfEnd(network: NetworkState, machine: string, cause: EndCause): readonly Fact[] {
  switch (cause.kind) {
    case 'no-route':
      return [{ kind: 'route', machine, destination: cause.destination }];
    case 'dead-route':
      return [{ kind: 'route', machine, destination: cause.destination, prefix: cause.route.prefix }];
    case 'filtered': {
      const { match } = cause.verdict;
      return match === undefined ? [] : serviceChains(network, machine, match);
    }
    default:
      return [];
  }
}

function rulesMet(machine: string, { chains: met, missing }: RuleMet): readonly Fact[] {
  return chains(machine, missing === undefined ? met : [...met, missing]);
}

/** The chains that would lead a packet on, if a service port had other endpoints. */
function serviceChains(network: NetworkState, name: string, match: Match): readonly Fact[] {
  const rules = network.machine(name)?.kubeProxy?.rules;
  if (rules === undefined) return [];
  const { all, local } = match.names(rules);
  return chains(name, [all, local]);
}

function chains(machine: string, names: readonly string[]): readonly Fact[] {
  return names.map((chain) => ({ kind: 'chain', machine, chain }));
}
