import { z } from 'zod';
import { isIPv4 } from '../shared/ip.ts';

/** An IPv4 route of the host. */
export interface HostRoute {
  /** "default", an address or a prefix. */
  readonly dst: string;
  /** connected: on a link itself; via: through a gateway; blocked: blackhole, unreachable, prohibit. */
  readonly kind: 'connected' | 'via' | 'blocked';
  /** Absent for blocked routes and for those with several next hops. */
  readonly dev?: string | undefined;
}

/** An IPv4 address of the host. */
export interface HostAddress {
  readonly dev: string;
  readonly address: string;
  readonly prefixLength: number;
}

/** What the host looks like, as far as the lab can collide with it. Gathered elsewhere; judged by checkHost. */
export interface HostFacts {
  readonly uid: number;
  readonly routes: readonly HostRoute[];
  readonly addresses: readonly HostAddress[];
  /** Names of all links. */
  readonly links: readonly string[];
  /** True where the link with the lab bridge's name belongs to this lab already. */
  readonly bridgeIsOurs: boolean;
  /** IPv4 name servers. */
  readonly resolvers: readonly string[];
  /** The folder that `freeDiskBytes` was measured for. */
  readonly diskPath: string;
  readonly freeDiskBytes: number;
  /** What programs can still get (MemAvailable), not what is unused. */
  readonly freeMemoryBytes: number;
  /** Machines of this lab that exist already: their disk and memory are taken, not needed. */
  readonly existingMachines: readonly string[];
  /** Whether the package mirror answers. */
  readonly networkReachable: boolean;
  /** Names of the artifacts that the cache lacks, so that they must be built. */
  readonly missingArtifacts: readonly string[];
}

// A multipath route has "nexthops" and neither dev nor gateway; one through an IPv6 neighbour has "via"; one that
// refuses has a "type" and no dev. All seen in the output of iproute2 6.1.
const routeSchema = z.array(
  z.looseObject({
    dst: z.string(),
    type: z.string().optional(),
    dev: z.string().optional(),
    gateway: z.string().optional(),
    via: z.unknown().optional(),
    nexthops: z.array(z.unknown()).optional(),
  }),
);
const addressSchema = z.array(
  z.looseObject({
    ifname: z.string().optional(),
    addr_info: z
      .array(
        z.looseObject({ family: z.string(), local: z.string().optional(), prefixlen: z.number().optional() }),
      )
      .optional(),
  }),
);

/** Parses the output of `ip -j -4 route`. Throws on text that is not its JSON; no output at all means no routes. */
export function parseIpRoutes(json: string): HostRoute[] {
  return routeSchema.parse(parseJson(json)).map(({ dst, type, dev, gateway, via, nexthops }) => {
    if (type !== undefined && type !== 'unicast') return { dst, kind: 'blocked' };
    const isVia = gateway !== undefined || via !== undefined || nexthops !== undefined;
    return { dst, kind: isVia ? 'via' : 'connected', ...(dev === undefined ? {} : { dev }) };
  });
}

/** Parses the output of `ip -j addr`. Throws on text that is not its JSON. */
export function parseIpAddresses(json: string): HostAddress[] {
  return addressSchema
    .parse(parseJson(json))
    .flatMap(({ ifname, addr_info }) =>
      (addr_info ?? []).flatMap(({ family, local, prefixlen }) =>
        ifname === undefined || family !== 'inet' || local === undefined
          ? []
          : [{ dev: ifname, address: local, prefixLength: prefixlen ?? 32 }],
      ),
    );
}

/** The names of all links in the output of `ip -j addr` or `ip -j link`. */
export function parseLinkNames(json: string): string[] {
  return addressSchema.parse(parseJson(json)).flatMap(({ ifname }) => (ifname === undefined ? [] : [ifname]));
}

/** The IPv4 name servers of an /etc/resolv.conf. */
export function parseResolvers(resolvConf: string): string[] {
  return resolvConf
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1])
    .filter((address): address is string => address !== undefined && isIPv4(address));
}

function parseJson(json: string): unknown {
  return json.trim() === '' ? [] : JSON.parse(json);
}
