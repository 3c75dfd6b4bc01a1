import { createHash } from 'node:crypto';

/**
 * The MAC address of a machine's lab NIC where the lab chooses it: always the same for the same lab and machine, so that
 * the guest can tell that NIC from others. Locally administered, in the range that QEMU uses (52:54:00).
 */
export function macOf(lab: string, machine: string): string {
  const hash = createHash('sha256').update(`${lab}/${machine}`).digest();
  return [
    '52',
    '54',
    '00',
    ...[0, 1, 2].map((index) => hash.subarray(index, index + 1).toString('hex')),
  ].join(':');
}
