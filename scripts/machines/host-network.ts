import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import type { Executor } from '../exec/executor.ts';
import {
  type HostAddress,
  type HostFacts,
  parseIpAddresses,
  parseIpRoutes,
  parseLinkNames,
  parseTunnels,
} from '../plan/host-facts.ts';
import { parseNetstatRoutes } from '../plan/netstat.ts';

/** The networks of a host. */
export type NetworkFacts = Pick<HostFacts, 'routes' | 'addresses' | 'links' | 'tunnels'>;
/** As os.networkInterfaces() tells them. */
export type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

/** Names that macOS gives to VPNs; Apple's own services make utun devices too, but without an IPv4 address. */
const MAC_TUNNEL = /^(utun|ppp|ipsec|tun|tap)\d+$/;

/** Looks at the networks of this host, on Linux with ip(8), elsewhere with netstat(1) and what Node.js knows. */
export async function lookAtNetworks(
  local: Executor,
  platform: NodeJS.Platform,
  interfaces: () => Interfaces = networkInterfaces,
): Promise<NetworkFacts> {
  if (platform !== 'linux')
    return fromInterfaces(await local.run(['netstat', '-rn', '-f', 'inet']), interfaces());
  const [routes, addresses] = await Promise.all([
    local.run(['ip', '-j', '-4', 'route']),
    local.run(['ip', '-j', 'addr']),
  ]);
  return {
    routes: parseIpRoutes(routes.stdout),
    addresses: parseIpAddresses(addresses.stdout),
    links: parseLinkNames(addresses.stdout),
    tunnels: parseTunnels(addresses.stdout),
  };
}

function fromInterfaces({ stdout }: { readonly stdout: string }, interfaces: Interfaces): NetworkFacts {
  const addresses = Object.entries(interfaces).flatMap(([dev, infos = []]) =>
    infos.flatMap(({ family, address, cidr }): HostAddress[] =>
      family === 'IPv4' ? [{ dev, address, prefixLength: Number(cidr?.split('/')[1] ?? 32) }] : [],
    ),
  );
  const names = [...new Set(addresses.map(({ dev }) => dev))];
  return {
    routes: parseNetstatRoutes(stdout),
    addresses,
    links: Object.keys(interfaces),
    tunnels: names.filter((name) => MAC_TUNNEL.test(name)),
  };
}
