import { networkNumber, numberOf, prefixOf } from '../addresses.ts';
import type { Hop, MachineState, NodeState, Route } from '../state/types.ts';
import type { Reach } from './packet.ts';

/** Where a machine sends what is addressed to one address. */
export type Lookup =
  | { readonly kind: 'local' }
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'none' };

/** A machine with its routes in a form that can be asked. */
export interface Machine {
  readonly name: string;
  readonly state: MachineState;
  /** Present on Kubernetes nodes, which run kube-proxy. */
  readonly node?: NodeState;
  /** The longest matching prefix, after the machine's own addresses; the smallest metric among equals. */
  lookup(address: string): Lookup;
  /** True for the machine's own addresses and 127.0.0.0/8: iptables' addrtype LOCAL. */
  isOwn(address: string): boolean;
  /** The source that a connection of the machine itself gets. */
  sourceFor(address: string): string | undefined;
  /** The address that MASQUERADE puts in what leaves by this hop. */
  masqueradeSource(hop: Hop, destination: string): string | undefined;
  /** What reach() has worked out, by address. */
  readonly reached: Map<string, Reach>;
}

const LOCAL: Lookup = { kind: 'local' };
const NONE: Lookup = { kind: 'none' };

/** Indexes a machine's routes at the first question. */
export function indexMachine(state: MachineState, node: NodeState | undefined): Machine {
  const own = new Set(state.interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  const usable = usableAddresses(state);
  let tables: readonly (readonly [length: number, table: ReadonlyMap<number, Route>])[] | undefined;
  // The kernel answers for such a rule what it answers where there is no route: ENETUNREACH (fib_rules.c).
  const guards = state.guarded.flatMap((text) => prefixOf(text) ?? []);
  const isOwn = (address: string) => own.has(address) || address.startsWith('127.');
  const lookup = (address: string): Lookup => {
    if (isOwn(address)) return LOCAL;
    tables ??= routeTables(state.routes);
    const number = numberOf(address);
    const guarded = guards.some(({ length, network }) => networkNumber(number, length) === network);
    for (const [length, table] of tables) {
      const route = table.get(networkNumber(number, length));
      if (route !== undefined && !(guarded && length === 0)) return { kind: 'route', route };
    }
    return NONE;
  };
  return {
    name: state.name,
    state,
    ...(node === undefined ? {} : { node }),
    lookup,
    isOwn,
    sourceFor: (address) => {
      const found = lookup(address);
      if (found.kind === 'local') return address;
      if (found.kind === 'none') return undefined;
      const [hop] = found.route.hops;
      return found.route.source ?? (hop === undefined ? undefined : addressOf(usable, hop, address));
    },
    masqueradeSource: (hop, destination) => addressOf(usable, hop, destination),
    reached: new Map(),
  };
}

/** Longest prefixes first. */
function routeTables(routes: readonly Route[]) {
  const tables = new Map<number, Map<number, Route>>();
  for (const route of routes) {
    const prefix = prefixOf(route.prefix);
    if (prefix === undefined) continue;
    let table = tables.get(prefix.length);
    if (table === undefined) {
      table = new Map();
      tables.set(prefix.length, table);
    }
    const before = table.get(prefix.network);
    if (before === undefined || route.metric < before.metric) table.set(prefix.network, route);
  }
  return [...tables].sort(([a], [b]) => b - a);
}

interface UsableAddress {
  readonly address: string;
  readonly length: number;
  readonly network: number;
}

/** The addresses of each interface that are valid beyond the host. */
function usableAddresses({ interfaces }: MachineState): ReadonlyMap<string, readonly UsableAddress[]> {
  return new Map(
    interfaces.map(({ name, addresses }) => [
      name,
      addresses
        .filter(({ scope }) => scope === 'global')
        .map(({ address, length }) => ({
          address,
          length,
          network: networkNumber(numberOf(address), length),
        })),
    ]),
  );
}

/**
 * The address that the kernel chooses for what leaves by a hop (inet_select_addr): on the interface the one that shares
 * a prefix with the next hop, else its first, else the first of any interface that is valid beyond the host.
 */
function addressOf(
  usable: ReadonlyMap<string, readonly UsableAddress[]>,
  hop: Hop,
  destination: string,
): string | undefined {
  const next = numberOf(hop.gateway ?? destination);
  const onInterface = usable.get(hop.interface) ?? [];
  for (const { address, length, network } of onInterface)
    if (networkNumber(next, length) === network) return address;
  const [first] = onInterface;
  if (first !== undefined) return first.address;
  for (const [any] of usable.values()) if (any !== undefined) return any.address;
  return undefined;
}
