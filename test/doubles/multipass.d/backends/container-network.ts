import type { IncusApi } from '../../../../scripts/machines/incus/api.ts';
import type { Knobs } from '../knobs.ts';
import { inProject } from './in-project.ts';

interface Lease {
  readonly hwaddr: string;
  readonly address: string;
}

const leases = async (api: IncusApi, { project, bridge }: Knobs): Promise<readonly Lease[]> =>
  (await api.get<readonly Lease[] | null>(inProject(project, `/1.0/networks/${bridge}/leases`))) ?? [];

/** The address that DHCP gave to a hardware address. */
export async function leasedAddress(api: IncusApi, knobs: Knobs, mac: string): Promise<string | undefined> {
  const own = (await leases(api, knobs)).filter(
    ({ hwaddr, address }) => hwaddr === mac && !address.includes(':'),
  );
  return own.at(-1)?.address;
}

/** An address of the bridge's network that nobody has, counted from the end of its first 250. */
export async function freeAddress(api: IncusApi, knobs: Knobs): Promise<string> {
  const taken = new Set((await leases(api, knobs)).map(({ address }) => address));
  const base = knobs.subnet.split('/')[0]?.split('.').slice(0, 3).join('.') ?? '';
  for (let host = 250; host > 200; host--) {
    if (!taken.has(`${base}.${host}`)) return `${base}.${host}`;
  }
  throw new Error(`no address of ${knobs.subnet} is free`);
}
