import type { CniName } from '../../spec/types.ts';
import { CAPABILITIES, type SessionState } from './frr.ts';
import { pathsBy, type RouteTable, routeTable, withLength } from './tables.ts';

/**
 * The client of the BIRD in calico-node, run in that container's mount namespace from the node itself: no API server and
 * no kubelet are in the way, and no container runtime's own command line. Calico's BIRD is a fork of 1.6.8.
 */
const IN_CALICO_NODE = `
pid=$(pgrep --oldest --exact bird) || { echo "no BIRD runs here: calico-node is not up" >&2; exit 1; }
exec nsenter --target "$pid" --mount birdcl -s /var/run/calico/bird.ctl "$@"
`;

/** Asks the BIRD of a node for its protocols with all details. */
export function showProtocols(cni: CniName): readonly string[] {
  return [...client(cni), 'show', 'protocols', 'all'];
}

/** A command line of the client, without what is asked. */
function client(cni: CniName): readonly string[] {
  return cni === 'calico' ? ['sh', '-c', IN_CALICO_NODE, 'birdcl'] : ['birdc'];
}

const PROTOCOL_LINE = /^(\S+)\s+BGP\s+\S+\s+\S+/;
const DETAIL_LINE =
  /^\s+(BGP state|Neighbor address|Neighbor AS|Input filter|Neighbor caps|Hold timer):\s+(.*\S)/;

/** Reads `birdc show protocols all` of BIRD 1.6: its BGP sessions. Throws where it is no BIRD that speaks. */
export function parseProtocols(
  text: string,
  routes: Partial<Record<'refused' | 'asPaths', ReadonlyMap<string, readonly string[]>>> = {},
): readonly SessionState[] {
  const sessions: Map<string, string>[] = [];
  for (const line of linesOf(text)) {
    if (/^\S/.test(line)) {
      const name = PROTOCOL_LINE.exec(line)?.[1];
      sessions.push(new Map(name === undefined ? [] : [['protocol', name]]));
      continue;
    }
    const [, key, value] = DETAIL_LINE.exec(line) ?? [];
    if (key !== undefined && value !== undefined) sessions.at(-1)?.set(key, value);
  }
  return sessions
    .filter((session) => session.has('protocol'))
    .map((session) => {
      const name = session.get('protocol') ?? '';
      return {
        neighbor: session.get('Neighbor address') ?? '',
        remoteAsn: Number(session.get('Neighbor AS')),
        state: session.get('BGP state') ?? '',
        filter: filterOf(session.get('Input filter')),
        refused: routes.refused?.get(name) ?? [],
        asPaths: routes.asPaths?.get(name) ?? [],
        ...agreedWith(session.get('Hold timer'), session.get('Neighbor caps')),
      };
    });
}

/** "5/9" are the seconds that are left and those that were agreed on. */
function agreedWith(
  hold: string | undefined,
  caps: string | undefined,
): Pick<SessionState, 'agreed' | 'endsIn'> {
  if (hold === undefined || caps === undefined) return {};
  const [endsIn = 0, holdSeconds = 0] = hold.split('/').map(Number);
  const words = caps.split(' ').map((word) => word.replace(/-(rx|tx|able|aware)$/, ''));
  return {
    agreed: {
      holdSeconds,
      capabilities: CAPABILITIES.filter((name) => words.includes(name)),
    },
    endsIn,
  };
}

function filterOf(name = 'ACCEPT'): string | null {
  return name === 'ACCEPT' ? null : name;
}

/** Asks the BIRD of a node for its table. */
export function showRoutes(cni: CniName): readonly string[] {
  return [...client(cni), 'show', 'route', 'all'];
}

/** Asks the BIRD of a node for the routes that it remembers to have refused ("import keep filtered"). */
export function showRefused(cni: CniName): readonly string[] {
  return [...client(cni), 'show', 'route', 'filtered'];
}

/** Reads `birdc show route filtered` of BIRD 1.6: prefixes by the name of the session that they came over. */
export function parseRefused(text: string): ReadonlyMap<string, readonly string[]> {
  const refused = new Map<string, string[]>();
  for (const { prefix, protocol } of routesOf(text))
    refused.set(protocol, [...(refused.get(protocol) ?? []), prefix]);
  return refused;
}

/** prefix (blank where it is that of the line before), destination, [protocol ...], '*' for the best, (preference/metric) */
const ROUTE_LINE = /^(\S*)\s+(.+?)\s+\[(\S+)[^\]]*\]\s+(\*\s+)?\(([^)]*)\)/;
/** A further next hop of a multipath route. */
const HOP_LINE = /^\t(via \S+ on \S+)/;
/** What `all` adds to a route. */
const ATTRIBUTE_LINE = /^\t([A-Za-z][\w.]*):\s*(.*)$/;

interface RouteLine {
  readonly prefix: string;
  readonly hops: string[];
  readonly best: boolean;
  readonly rank: string;
  readonly protocol: string;
  /** Of a route that came by BGP. */
  asPath?: string;
}

function routesOf(text: string): readonly RouteLine[] {
  const routes: RouteLine[] = [];
  for (const line of linesOf(text)) {
    const further = HOP_LINE.exec(line)?.[1];
    if (further !== undefined) {
      routes.at(-1)?.hops.push(hopName(further));
      continue;
    }
    const [, attribute, value = ''] = ATTRIBUTE_LINE.exec(line) ?? [];
    const last = routes.at(-1);
    if (attribute !== undefined && last !== undefined) {
      if (attribute === 'BGP.as_path') last.asPath = value.trim();
      continue;
    }
    const [, prefix, destination, protocol = '', best, rank] = ROUTE_LINE.exec(line) ?? [];
    if (destination === undefined || rank === undefined)
      throw new Error(`not a line of BIRD's "show route": ${line}`);
    routes.push({
      prefix: prefix ? withLength(prefix) : (routes.at(-1)?.prefix ?? ''),
      hops: destination === 'multipath' ? [] : [hopName(destination)],
      best: best !== undefined,
      rank,
      protocol,
    });
  }
  return routes;
}

/** Reads `birdc show route all`: by the name of a session the AS paths of what came over it. */
export function parseAsPaths(text: string): ReadonlyMap<string, readonly string[]> {
  return pathsBy(
    routesOf(text).flatMap(({ protocol, asPath }) => (asPath === undefined ? [] : [[protocol, asPath]])),
  );
}

/**
 * Reads `birdc show route all` of BIRD 1.6: per prefix the next hops of the best route and of those that are as good, which
 * `merge paths on` gives to the kernel together.
 */
export function parseRoutes(text: string): RouteTable {
  const routes = routesOf(text);
  const bestRank = new Map(routes.filter(({ best }) => best).map(({ prefix, rank }) => [prefix, rank]));
  return routeTable(
    routes
      .filter(({ prefix, rank }) => bestRank.get(prefix) === rank)
      .map(({ prefix, hops }) => ({ prefix, nextHops: hops })),
  );
}

function hopName(destination: string): string {
  return /^via (\S+) on/.exec(destination)?.[1] ?? destination;
}

/** The lines behind BIRD's greeting, blank ones and the table's heading left out. */
function linesOf(text: string): readonly string[] {
  const [greeting, ...lines] = text.split('\n');
  if (greeting === undefined || !/^BIRD \S+ ready\.$/.test(greeting.trim()))
    throw new Error(`BIRD did not answer: ${greeting?.trim() || 'nothing'}`);
  return lines.filter((line) => line.trim() !== '' && !line.startsWith('name     proto'));
}
