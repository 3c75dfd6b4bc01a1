import type { Executor } from '../exec/executor.ts';
import type { HostFacts, HostRoute } from '../plan/host-facts.ts';
import { type KernelRoute, readLinks, readRoutes } from '../shared/ip-json.ts';

/** The networks of a host. */
export type NetworkFacts = Pick<HostFacts, 'routes' | 'addresses' | 'links' | 'tunnels'>;

/** Looks at the networks of this host. */
export async function lookAtNetworks(local: Executor): Promise<NetworkFacts> {
  const [routes, addresses] = await Promise.all([
    local.run(['ip', '-j', '-4', 'route']),
    local.run(['ip', '-j', 'addr']),
  ]);
  const links = readLinks(addresses.stdout);
  return {
    routes: readRoutes(routes.stdout).map(hostRoute),
    addresses: links.flatMap((link) => link.addresses),
    links: links.map(({ name }) => name),
    tunnels: links.filter(({ isTunnel }) => isTunnel).map(({ name }) => name),
  };
}

/** What a route of the kernel means for the host. */
export function hostRoute({ dst, type, dev, gateway, via, nexthops }: KernelRoute): HostRoute {
  if (type !== 'unicast') return { dst, kind: 'blocked' };
  const isVia = gateway !== undefined || via !== undefined || nexthops !== undefined;
  return { dst, kind: isVia ? 'via' : 'connected', ...(dev && { dev }) };
}
