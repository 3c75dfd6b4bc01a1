import type { NetworkState } from '../matrix/expect/types.ts';
import type { Cell, Observation } from '../matrix/types.ts';

/** A pod by name and address, any other address as it is. */
export function nameOf(network: NetworkState, address: string): string {
  const [pod] = network.podsAt(address);
  return pod === undefined ? address : `${pod.name} (${address})`;
}

/** The address that the connection was really made to: a name's, once it is resolved. */
export function targetOf({
  cell,
  observed,
}: {
  readonly cell: Cell;
  readonly observed: Observation;
}): string {
  return observed.trace?.address ?? cell.address;
}
