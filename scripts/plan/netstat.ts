import { isIPv4 } from '../shared/ip.ts';
import type { HostRoute } from './host-facts.ts';

/**
 * Parses `netstat -rn -f inet` of macOS and the BSDs (netstat(1)): columns Destination, Gateway, Flags, Netif. Zeros at
 * the end of a network are left out ("192.168.1" is 192.168.1.0/24, "10.8/16" is 10.8.0.0/16), and what the link layer
 * has learned stands between the routes.
 */
export function parseNetstatRoutes(text: string): HostRoute[] {
  return text.split('\n').flatMap((line): HostRoute[] => {
    const [destination = '', gateway, flags = '', dev] = line.trim().split(/\s+/);
    const dst = destination === 'default' ? destination : prefixOf(destination);
    if (dst === undefined || gateway === undefined || !flags.startsWith('U')) return [];
    // L: a neighbour. W: cloned from another route.
    if (/[LW]/.test(flags)) return [];
    const kind = /[RB]/.test(flags) ? 'blocked' : flags.includes('G') ? 'via' : 'connected';
    return [{ dst, kind, ...(dev === undefined || kind === 'blocked' ? {} : { dev }) }];
  });
}

/** "10.8/16" as 10.8.0.0/16, "127" as 127.0.0.0/8, "192.0.2.1" as itself; undefined for a title or an IPv6 route. */
function prefixOf(destination: string): string | undefined {
  const [, network = '', length] = /^(\d+(?:\.\d+){0,3})(?:\/(\d+))?$/.exec(destination) ?? [];
  const parts = network.split('.');
  const address = [...parts, '0', '0', '0'].slice(0, 4).join('.');
  if (network === '' || !isIPv4(address)) return undefined;
  if (length === undefined && parts.length === 4) return address;
  return `${address}/${length ?? parts.length * 8}`;
}
