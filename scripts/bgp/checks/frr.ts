import { z } from 'zod';
import type { CheckOf } from './check.ts';
import { pathsBy, type RouteTable, routeTable } from './tables.ts';

/** What an end of an established session says of it; password and restartSeconds only in FRR. */
export type Agreed = NonNullable<NonNullable<CheckOf<'session'>['seen']>['ends'][number]['agreed']>;

/** One BGP session as one end sees it. */
export interface SessionState {
  /** The other end's address. */
  readonly neighbor: string;
  readonly remoteAsn: number;
  /** 'Established', or whatever state of RFC 4271 (or the daemon's own) it is in. */
  readonly state: string;
  /** The filter for what comes in, by the name that the daemon has for it; null: none. */
  readonly filter: string | null;
  /** Prefixes that came in and that filter keeps out. Calico's BIRD does not remember them. */
  readonly refused: readonly string[];
  /** Prefixes that are sent to the other end; only FRR tells. */
  readonly offered?: readonly string[];
  /** The AS paths of what came in, each once; '' for a route of the own AS. */
  readonly asPaths: readonly string[];
  /** What both ends have agreed on; absent while there is no session. */
  readonly agreed?: Omit<Agreed, 'asPaths'>;
  /** Seconds until it ends where nothing more comes from the other end; only BIRD tells. */
  readonly endsIn?: number;
  /** How often it has ended since the daemon knows it; only FRR tells. */
  readonly drops?: number;
}

/** What routing in the lab leans on, by the names that BIRD has for it. */
export const CAPABILITIES = ['AS4', 'add-path', 'refresh', 'restart'] as const;
type Capability = (typeof CAPABILITIES)[number];

const QUESTION = 'show bgp ipv4 unicast neighbors';

/** Asks FRR for its sessions, and what goes over those with the given neighbors. */
export function showNeighbors(neighbors: readonly string[]): readonly string[] {
  const of = neighbors.flatMap((address) => [
    `${QUESTION} ${address} advertised-routes json`,
    `${QUESTION} ${address} filtered-routes json`,
  ]);
  return ['vtysh', ...['show bgp neighbors json', ...of].flatMap((question) => ['-c', question])];
}

const neighborList = z.record(z.string(), z.unknown());
const agreement = z.looseObject({}).or(z.string()).optional();
const neighborState = z.looseObject({
  remoteAs: z.number(),
  bgpState: z.string(),
  bgpTimerHoldTimeMsecs: z.number().default(0),
  neighborCapabilities: z
    .looseObject({
      '4byteAs': agreement,
      addPath: z.looseObject({ ipv4Unicast: z.looseObject({}).optional() }).optional(),
      routeRefresh: agreement,
      gracefulRestart: agreement,
      gracefulRestartRemoteTimerMsecs: z.number().optional(),
    })
    .default({}),
  authenticationEnabled: z.number().default(0),
  connectionsDropped: z.number().default(0),
  addressFamilyInfo: z
    .looseObject({
      ipv4Unicast: z.looseObject({ routeMapForIncomingAdvertisements: z.string().optional() }).optional(),
    })
    .default({}),
});
const advertised = z.looseObject({
  bgpOriginatingDefaultNetwork: z.string().optional(),
  advertisedRoutes: z.record(z.string(), z.unknown()).default({}),
});
const filtered = z.looseObject({ receivedRoutes: z.record(z.string(), z.unknown()).default({}) });

/** Reads what `showNeighbors` asked: one JSON document per question. Throws on anything else. */
export function parseNeighbors(
  text: string,
  asked: readonly string[],
  paths: ReadonlyMap<string, readonly string[]> = new Map(),
): readonly SessionState[] {
  // Each document begins and ends at the begin of a line, and nothing within it does.
  const [list = '', ...others] = text.split(/(?<=^\}\n)/m);
  const exchanged = new Map(
    asked.map((address, index): [string, Pick<SessionState, 'refused' | 'offered'>] => {
      const sent = advertised.parse(jsonOf(others[index * 2]));
      const refused = filtered.parse(jsonOf(others[index * 2 + 1]));
      return [
        address,
        {
          offered: [sent.bgpOriginatingDefaultNetwork ?? [], Object.keys(sent.advertisedRoutes)].flat(),
          refused: Object.keys(refused.receivedRoutes),
        },
      ];
    }),
  );
  return Object.entries(neighborList.parse(JSON.parse(list))).map(([neighbor, said]) => {
    const of = neighborState.parse(said);
    return {
      neighbor,
      remoteAsn: of.remoteAs,
      state: of.bgpState,
      filter: of.addressFamilyInfo.ipv4Unicast?.routeMapForIncomingAdvertisements ?? null,
      asPaths: paths.get(neighbor) ?? [],
      drops: of.connectionsDropped,
      ...(of.bgpState === 'Established' ? { agreed: agreedWith(of) } : {}),
      ...(exchanged.get(neighbor) ?? { refused: [] }),
    };
  });
}

function agreedWith({
  bgpTimerHoldTimeMsecs,
  neighborCapabilities,
  authenticationEnabled,
}: z.output<typeof neighborState>): NonNullable<SessionState['agreed']> {
  const {
    addPath,
    routeRefresh,
    gracefulRestart,
    gracefulRestartRemoteTimerMsecs: kept,
  } = neighborCapabilities;
  const said: Readonly<Record<Capability, unknown>> = {
    AS4: neighborCapabilities['4byteAs'],
    'add-path': addPath?.ipv4Unicast,
    refresh: routeRefresh,
    restart: gracefulRestart,
  };
  return {
    holdSeconds: bgpTimerHoldTimeMsecs / 1000,
    // "advertised" or "advertisedAndReceived"; of add-path, an object with such keys.
    capabilities: CAPABILITIES.filter((name) => /received/i.test(JSON.stringify(said[name]) ?? '')),
    password: authenticationEnabled === 1,
    ...(kept === undefined ? {} : { restartSeconds: kept / 1000 }),
  };
}

/** A neighbor that is not configured, or with which nothing is exchanged, gets an answer without routes, or none. */
function jsonOf(text = ''): unknown {
  return text.trim() === '' ? {} : JSON.parse(text);
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
          peerId: z.string().default(''),
          path: z.string().default(''),
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

/** Reads `show bgp ipv4 unicast json`: by the address of a neighbor the AS paths of what came from it. */
export function parseAsPaths(text: string): ReadonlyMap<string, readonly string[]> {
  return pathsBy(
    Object.values(bgpTable.parse(JSON.parse(text)).routes)
      .flat()
      .map(({ peerId, path }) => [peerId, path]),
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

/** Reads `show ip route json`: the next hops that zebra selected, and those of them that it has put in the kernel. */
export function parseRib(text: string): Readonly<Record<'selected' | 'installed', RouteTable>> {
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
