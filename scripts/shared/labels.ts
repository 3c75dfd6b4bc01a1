import { createHash } from 'node:crypto';

/** The key under which everything outside the state folder carries the name of the lab that owns it. */
export const OWNER_KEY = 'user.k8s-bgp-lab.owner';

/** The key that tells which plan an instance was made from. */
export const RECIPE_KEY = 'user.k8s-bgp-lab.recipe';

/** Where the lab notes what it started on the host itself, so that labdown finds it without the state folder. */
export const RUN_DIR = '/run/k8s-bgp-lab';

/**
 * The MAC address of a machine's lab NIC where the lab chooses it: always the same for the same lab and machine, so that
 * the guest can tell that NIC from others. Locally administered, in the range that QEMU uses (52:54:00). Never of decimal
 * digits only, which a reader of YAML 1.1 takes for a number in base 60 where nobody quotes it: the guest has no network then.
 */
export function macOf(lab: string, machine: string): string {
  const digest = createHash('sha256').update(`${lab}/${machine}`).digest('hex');
  const [own = 'aaaaaa'] = digest.match(/.{6}/g)?.filter((six) => /[a-f]/.test(six)) ?? [];
  return ['52', '54', '00', own.slice(0, 2), own.slice(2, 4), own.slice(4)].join(':');
}
