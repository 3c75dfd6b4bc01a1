import { networkOf } from '../matrix/expect/network-state.ts';
import type { NetworkState } from '../matrix/expect/types.ts';
import { walkRoutes } from '../matrix/expect/walk.ts';
import type { ObservedState } from '../matrix/state/types.ts';
import type { Cell, Observation } from '../matrix/types.ts';
import type { FlowSighting, Sightings, Story, Visit } from './flow.ts';
import { blind, type Watched } from './watch.ts';

/** What the comparison needs to know. */
export interface Case {
  readonly cell: Cell;
  readonly state: ObservedState;
  readonly sightings: Sightings;
  /** The ports that the flow can have: its source port, and those that it is addressed to. */
  readonly ports: readonly number[];
  /** How the watched attempt ended. */
  readonly observed: Observation;
  readonly story: Story;
}

/** A pod by name and address, any other address as it is. */
export function nameOf(network: NetworkState, address: string): string {
  const [pod] = network.podsAt(address);
  return pod === undefined ? address : `${pod.name} (${address})`;
}

/** The address that the connection was really made to: a name's, once it is resolved. */
export function targetOf({ cell, observed }: Case): string {
  return observed.trace?.address ?? cell.address;
}

/** What a machine saw. */
export function watchedAt({ sightings }: Case, machine: string): Watched {
  return sightings.get(machine) ?? blind('it was not watched');
}

/** The pod that a packet was handed to; undefined where it was not. */
export function podBehind({ state }: Case, visit: Visit | undefined): string | undefined {
  if (visit === undefined) return undefined;
  const address = visit.left?.destination ?? visit.arrived?.destination ?? '';
  const pod = networkOf(state)
    .podsAt(address)
    .find(({ node }) => node === visit.machine);
  if (pod === undefined) return undefined;
  const isHandedOver = visit.left !== undefined || (pod.hostNetwork && visit.arrived !== undefined);
  return isHandedOver ? `pod/${pod.name}` : undefined;
}

/** The machines that a machine's routes, as they were read, lead a packet to. */
export function nextHops(network: NetworkState, name: string, packet: FlowSighting): readonly string[] {
  const machine = network.machine(name);
  if (machine === undefined) return [];
  const { decision } = walkRoutes(network, machine, packet.destination);
  if (decision.kind !== 'route') return [];
  return decision.hops.flatMap((hop) =>
    hop.kind === 'machine' ? hop.machine : hop.kind === 'pod' ? name : [],
  );
}
