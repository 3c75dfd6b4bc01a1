import { z } from 'zod';
import { type RouteTable, routeTable } from './tables.ts';

/** One BGP session as one end sees it. */
export interface SessionState {
  /** The other end's address. */
  readonly neighbor: string;
  readonly remoteAsn: number;
  /** 'Established', or whatever state of RFC 4271 (or the daemon's own) it is in. */
  readonly state: string;
}

/** Asks FRR for its sessions. */
export function showBgpSummary(): readonly string[] {
  return ['vtysh', '-c', 'show bgp summary json'];
}

const summary = z.object({
  ipv4Unicast: z
    .looseObject({
      peers: z.record(z.string(), z.looseObject({ remoteAs: z.number(), state: z.string() })),
    })
    .optional(),
});

/** Reads `show bgp summary json`; without any neighbor FRR leaves the address family out. Throws on anything else. */
export function parseBgpSummary(text: string): readonly SessionState[] {
  const peers = summary.parse(JSON.parse(text)).ipv4Unicast?.peers ?? {};
  return Object.entries(peers).map(([neighbor, { remoteAs, state }]) => ({
    neighbor,
    remoteAsn: remoteAs,
    state,
  }));
}

/** Asks FRR for its BGP table. */
export function showBgpRoutes(): readonly string[] {
  return ['vtysh', '-c', 'show bgp ipv4 unicast json'];
}

const bgpTable = z.looseObject({
  routes: z
    .record(
      z.string(),
      z.array(
        z.looseObject({
          valid: z.boolean().default(false),
          bestpath: z.boolean().default(false),
          multipath: z.boolean().default(false),
          nexthops: z.array(z.looseObject({ ip: z.string() })).default([]),
        }),
      ),
    )
    .default({}),
});

/** Reads `show bgp ipv4 unicast json`: per prefix the next hops of the best path and its multipath siblings. */
export function parseBgpRoutes(text: string): RouteTable {
  const { routes } = bgpTable.parse(JSON.parse(text));
  return routeTable(
    Object.entries(routes).map(([prefix, paths]) => ({
      prefix,
      nextHops: paths
        .filter(({ valid, bestpath, multipath }) => valid && (bestpath || multipath))
        .flatMap(({ nexthops }) => nexthops.map(({ ip }) => (ip === '0.0.0.0' ? 'self' : ip))),
    })),
  );
}

/** Asks zebra for its RIB. */
export function showRib(): readonly string[] {
  return ['vtysh', '-c', 'show ip route json'];
}

const rib = z.record(
  z.string(),
  z.array(
    z.looseObject({
      selected: z.boolean().default(false),
      nexthops: z
        .array(
          z.looseObject({
            ip: z.string().optional(),
            interfaceName: z.string().optional(),
            blackhole: z.boolean().default(false),
            active: z.boolean().default(false),
            fib: z.boolean().default(false),
          }),
        )
        .default([]),
    }),
  ),
);

/** zebra's RIB twice: the next hops it selected, and those of them that it has installed in the kernel. */
export interface Rib {
  readonly selected: RouteTable;
  readonly installed: RouteTable;
}

/** Reads `show ip route json`. */
export function parseRib(text: string): Rib {
  const routes = Object.entries(rib.parse(JSON.parse(text)));
  const tableOf = (flag: 'active' | 'fib') =>
    routeTable(
      routes.map(([prefix, entries]) => ({
        prefix,
        nextHops: entries
          .filter(({ selected }) => selected)
          .flatMap(({ nexthops }) => nexthops.filter((hop) => hop[flag]))
          .map(
            ({ ip, interfaceName, blackhole }) => ip ?? (blackhole ? 'blackhole' : `dev ${interfaceName}`),
          ),
      })),
    );
  return { selected: tableOf('active'), installed: tableOf('fib') };
}
