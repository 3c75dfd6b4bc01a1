import { z } from 'zod';

/** An IPv4 address of a host or guest, as `ip -j addr` tells it. */
export interface LinkAddress {
  readonly dev: string;
  readonly address: string;
  readonly prefixLength: number;
  readonly scope?: string | undefined;
  /** From DHCP. */
  readonly dynamic: boolean;
}

/** A route as `ip -j route` tells it. */
export type KernelRoute = z.infer<typeof routes>[number];

// A multipath route has "nexthops" and neither dev nor gateway; one through an IPv6 neighbour has "via"; one that
// refuses has a "type" and no dev. All seen in the output of iproute2 6.1.
const routes = z.array(
  z.object({
    dst: z.string(),
    type: z.string().default('unicast'),
    dev: z.string().optional(),
    gateway: z.string().optional(),
    metric: z.number().catch(0),
    via: z.unknown().optional(),
    nexthops: z.array(z.unknown()).optional(),
  }),
);
const address = z.object({
  family: z.string().catch('inet'),
  local: z.string().optional(),
  prefixlen: z.number().catch(32),
  scope: z.string().optional(),
  dynamic: z.boolean().catch(false),
});
const links = z.array(
  z.object({
    ifname: z.string().optional(),
    flags: z.array(z.string()).catch([]),
    link_type: z.string().optional(),
    addr_info: z.array(address).catch([]),
  }),
);

/** Reads the output of `ip -j route`. Throws on text that is not its JSON; no output at all means no routes. */
export function readRoutes(json: string): readonly KernelRoute[] {
  return routes.parse(parseJson(json));
}

/** Reads the links in the output of `ip -j addr` or `ip -j link`. Throws on text that is not its JSON. */
export function readLinks(json: string) {
  // iproute2 prints an empty object for every link that a filter has left out.
  return links.parse(parseJson(json)).flatMap(({ ifname, flags, link_type, addr_info }) => {
    if (ifname === undefined) return [];
    const addresses = addr_info.flatMap(({ family, local, prefixlen, scope, dynamic }): LinkAddress[] =>
      family === 'inet' && local !== undefined
        ? [{ dev: ifname, address: local, prefixLength: prefixlen, scope, dynamic }]
        : [],
    );
    // Up and point to point without Ethernet, as VPNs are.
    const isTunnel = flags.includes('UP') && (link_type === 'none' || link_type === 'ppp');
    return [{ name: ifname, addresses, isTunnel }];
  });
}

function parseJson(json: string): unknown {
  return json.trim() === '' ? [] : JSON.parse(json);
}
