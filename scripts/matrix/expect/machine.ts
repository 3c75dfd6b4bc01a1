import { type Address, holderOf, isLoopback, type PrefixTable, prefixTable } from '../addresses.ts';
import type { Hop, Interface, MachineState, NodeState, ProxySettings, Route } from '../state/types.ts';
import { kubeProxyOf } from './kube-proxy.ts';
import type { Lookup, Machine } from './types.ts';

const LOCAL: Lookup = { kind: 'local' };
const NONE: Lookup = { kind: 'none' };

/** Indexes a machine's routes at the first question. */
export function indexMachine(state: MachineState, node?: NodeState, proxy?: ProxySettings): Machine {
  const own = new Set(state.interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  const usable = usableAddresses(state, node?.addresses ?? []);
  let table: PrefixTable<Route> | undefined;
  // The kernel answers for such a rule what it answers where there is no route: ENETUNREACH (fib_rules.c).
  const isRefused = holderOf(state.refusedPrefixes);
  const isOwn = (address: Address) => own.has(address) || isLoopback(address);
  const lookup = (address: Address): Lookup => {
    if (isOwn(address)) return LOCAL;
    table ??= prefixTable(
      state.routes,
      ({ prefix }) => prefix,
      (route, than) => route.metric < than.metric,
    );
    const route = table.find(address, isRefused(address));
    return route === undefined ? NONE : { kind: 'route', route };
  };
  const isPodNetwork = holderOf(state.natOutgoing?.sources ?? []);
  const isExcepted = holderOf(state.natOutgoing?.except ?? []);
  return {
    name: state.name,
    state,
    ...(node === undefined ? {} : { node }),
    ...(node === undefined || proxy === undefined
      ? {}
      : { kubeProxy: kubeProxyOf(proxy, { state, node, isOwn, lookup }) }),
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
    leavesPodNetwork: (source, destination) =>
      state.natOutgoing !== undefined && isPodNetwork(source) && !isExcepted(destination),
  };
}

interface UsableAddress {
  readonly address: Address;
  /** True for what lies in the same prefix. */
  readonly isNear: (other: Address) => boolean;
}

/**
 * The addresses of each interface that are valid beyond the host, in the order in which the kernel got the interfaces.
 * `ip` lists them by number, but a container's own one, which came from outside, may have a larger number than what was
 * made inside later (Calico's VXLAN device), so the one with the node's own address is first.
 */
function usableAddresses(
  { interfaces }: MachineState,
  own: readonly Address[],
): ReadonlyMap<string, readonly UsableAddress[]> {
  const isFirst = ({ addresses }: Interface) => addresses.some(({ address }) => own.includes(address));
  return new Map(
    [...interfaces.filter(isFirst), ...interfaces.filter((each) => !isFirst(each))].map(
      ({ name, addresses }) => [
        name,
        addresses
          .filter(({ scope }) => scope === 'global')
          .map(({ address, length }) => ({ address, isNear: holderOf([`${address}/${length}`]) })),
      ],
    ),
  );
}

/**
 * The address that the kernel chooses for what leaves by a hop (inet_select_addr): on the interface the one that shares
 * a prefix with the next hop, else its first, else the first of any interface that is valid beyond the host.
 */
function addressOf(
  usable: ReadonlyMap<string, readonly UsableAddress[]>,
  hop: Hop,
  destination: Address,
): Address | undefined {
  const next = hop.gateway ?? destination;
  const onInterface = usable.get(hop.interface) ?? [];
  const found = onInterface.find(({ isNear }) => isNear(next)) ?? onInterface[0];
  if (found !== undefined) return found.address;
  for (const [any] of usable.values()) if (any !== undefined) return any.address;
  return undefined;
}
