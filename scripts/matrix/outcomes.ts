import { toNumber } from '../shared/ip.ts';
import type { ChainStep, Expectation, Outcome, VantagePoint } from './types.ts';

/** A connection that must succeed. */
export function works(
  servers: readonly string[],
  clients: readonly string[],
  why: string,
  chain: readonly ChainStep[] = [],
): Expectation {
  return { outcome: 'ok', servers: sortAddresses(servers), clients: sortAddresses(clients), why, chain };
}

/** IPv4 addresses in numeric order, each once. */
export function sortAddresses(addresses: readonly string[]): readonly string[] {
  return [...new Set(addresses)].sort((a, b) => toNumber(a) - toNumber(b));
}

/** A connection that must fail, in exactly this way. */
export function fails(outcome: Outcome, why: string, chain: readonly ChainStep[] = []): Expectation {
  return { outcome, servers: [], clients: [], why, chain };
}

/** From a machine without a route and without a default route: the kernel refuses at once. */
export function noRoute(from: VantagePoint): Expectation {
  return fails('no-route', `${from.name} has no route to this address and no default route.`);
}

/** The address that a server sees when nothing translates the connection; none while the pod does not run. */
export function ownAddress(from: VantagePoint): readonly string[] {
  return from.address === undefined ? [] : [from.address];
}
