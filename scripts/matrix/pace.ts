import type { Cell, Outcome } from './types.ts';

/**
 * How many ICMP errors about its routes a machine sends one address at once before it sends one a second: 5, in a limit
 * that no setting of a container lifts (ip_error, net/ipv4/route.c). One is left for whatever else asks.
 */
const AT_ONCE = 4;
/** A little more than the second after which the next one is sent. */
const APART_MS = 1_100;
const ROUTE_FAILURES: readonly Outcome[] = ['no-route', 'host-unreachable', 'denied'];

/**
 * When to begin each cell, in milliseconds after the first, by id: those that one machine has to refuse one source for
 * lack of a route begin after each other, all others at once and are not in the result. Pure.
 */
export function delaysOf(cells: readonly Cell[]): ReadonlyMap<string, number> {
  const before = new Map<string, number>();
  const delays = new Map<string, number>();
  for (const { id, from, expected } of cells) {
    const machines = expected.chain.map(({ at }) => at).filter((at) => !at.startsWith('pod/'));
    const [first, last] = [machines[0], machines.at(-1)];
    // What the source itself refuses takes no ICMP message.
    if (!ROUTE_FAILURES.includes(expected.outcome) || last === from) continue;
    // By the first machine, not by the source: what a node's pods send may carry the node's address.
    const key = `${first} ${last}`;
    const count = before.get(key) ?? 0;
    before.set(key, count + 1);
    if (count >= AT_ONCE) delays.set(id, (count - AT_ONCE + 1) * APART_MS);
  }
  return delays;
}
