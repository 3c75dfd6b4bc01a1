import { localExecutor } from '../../../../scripts/exec/local.ts';
import type { Network } from './backend.ts';

/** The bridges and network cards of this host, as the QEMU driver lists them. */
export async function hostNetworks(): Promise<readonly Network[]> {
  const local = localExecutor();
  const { stdout } = await local.run(['ip', '-j', '-d', 'link', 'show']);
  const links = JSON.parse(stdout) as readonly {
    readonly ifname: string;
    readonly link_type: string;
    readonly linkinfo?: { readonly info_kind?: string };
  }[];
  return links.flatMap(({ ifname, link_type, linkinfo }): readonly Network[] => {
    if (linkinfo?.info_kind === 'bridge')
      return [{ name: ifname, type: 'bridge', description: 'Network bridge' }];
    const real = link_type === 'ether' && linkinfo?.info_kind === undefined;
    return real ? [{ name: ifname, type: 'ethernet', description: 'Ethernet device' }] : [];
  });
}
