import { type Check, checkId } from '../../bgp/checks/check.ts';
import {
  type LabPlan,
  type MachinePlan,
  machinesOf,
  type PeeringPlan,
  theMachine,
} from '../../plan/types.ts';
import { countText } from '../causes.ts';
import { describeCheck } from '../check-text.ts';
import type { LabRun } from '../run.ts';
import { CHECK_SIGNS } from '../words.ts';
import { html, type Markup } from './markup.ts';

/** A drawing of the plan, with the BGP sessions as their checks found them. */
export function topologySection({ plan, checks }: LabRun): Markup | undefined {
  if (plan === undefined) return undefined;
  const layout = layOut(plan, checks);
  const { width, height, sessions } = layout;
  const down = sessions.filter(isDown);
  // What is down is drawn last, so that nothing lies over it.
  const drawn = [...sessions.filter((session) => !isDown(session)), ...down];
  return html`<figure class="topology">
<div class="scroll"><svg viewBox="0 0 ${width} ${height}" role="group" aria-label="${summary(layout)}">
${layout.clientRoutes.map(
  ({
    path,
    prefixes,
    client,
  }) => html`<path class="route" d="${path}" marker-end="url(#arrow)"><title>${client.machine.name} routes ${prefixes.join(', ')} through ${layout.router.machine.name}</title></path>
`,
)}<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="arrow" d="M0 0L8 4L0 8Z"/></marker></defs>
<rect class="cluster" x="${layout.cluster.x}" y="${layout.cluster.y}" width="${layout.cluster.width}" height="${layout.cluster.height}" rx="12"/>
<text class="zone" x="${layout.cluster.x + 4}" y="${layout.cluster.y - 26}">Kubernetes · AS ${plan.bgp.clusterAsn}</text>
<text class="quiet" x="${layout.cluster.x + 4}" y="${layout.cluster.y - 9}">pods ${plan.kubernetes.podCidr} · services ${plan.kubernetes.serviceCidr}</text>
${drawn.map((session) => line(session, layout))}
${layout.clients.map((box) => client(box, layout))}
${router(layout.router, plan)}
${layout.nodes.map((box) => node(box, plan, layout.compact))}
</svg></div>
<figcaption>${caption(layout, plan)}</figcaption>
</figure>`;
}

function isDown({ state }: Session): boolean {
  return state !== 'passed' && state !== 'unknown';
}

function line(session: Session, { compact, nodes }: TopologyLayout): Markup {
  const { id, peering, state, observed, path, mark } = session;
  const kind = peering.kind === 'ebgp' ? 'eBGP' : 'iBGP';
  const title = `${kind} ${peering.a.machine} - ${peering.b.machine}: ${observed}`;
  const dense = compact && peering.kind === 'ibgp' && nodes.length > 12 && ' dense';
  const drawing = html`<path class="session ${peering.kind} ${state}${dense}" d="${path}"><title>${title}</title></path>`;
  if (!isDown(session) || state === 'unknown')
    return html`${drawing}
`;
  return html`<a href="#check-${id}" aria-label="${title}">${drawing}<circle class="mark ${state}" cx="${mark.x}" cy="${mark.y}" r="9"/><text class="mark-sign" x="${mark.x}" y="${mark.y + 4.5}">${CHECK_SIGNS[state]}</text></a>
`;
}

function frame({ x, y, width, height, machine }: Box): Markup {
  return html`<rect class="machine ${machine.role}" x="${x}" y="${y}" width="${width}" height="${height}" rx="7"/>`;
}

function client(box: Box, { clientRoutes, router: { machine } }: TopologyLayout): Markup {
  const routes = clientRoutes.find(({ client: each }) => each === box)?.prefixes.length ?? 0;
  const way = routes > 0 ? `${countText(routes, 'route')} through ${machine.name}` : 'no route to the lab';
  return html`<g>${frame(box)}${heading(box)}<text class="quiet" x="${box.x + 12}" y="${box.y + 44}">${clip(way, 30)}</text></g>
`;
}

function router(box: Box, plan: LabPlan): Markup {
  const [first, ...others] = plan.bgp.routerPrefixes;
  const own = first !== undefined && `announces ${first}${others.length > 0 ? ` +${others.length}` : ''}`;
  return html`<g>${frame(box)}${heading(box)}<text x="${box.x + 12}" y="${box.y + 43}">router · AS ${plan.bgp.routerAsn}</text><text class="quiet" x="${box.x + 12}" y="${box.y + 62}">${own}</text></g>
`;
}

function node(box: Box, plan: LabPlan, compact: boolean): Markup {
  const { machine, x, y, width, height } = box;
  const pods = [...plan.echo.servers, plan.echo.clientPod]
    .filter(({ node: name }) => name === machine.name)
    .map(({ pod }) => pod);
  const [pod, ...others] = pods;
  const podText = pod ?? (machine.role === 'control-plane' ? 'control plane' : 'no pod');
  const baseline = y + height / 2 + 4.5;
  if (compact)
    return html`<g>${frame(box)}<text class="name small" x="${x + 10}" y="${baseline}">${clip(machine.name, 13)}</text><text class="address" x="${x + 112}" y="${baseline}">${machine.address}</text><text class="pods" x="${x + width - 10}" y="${baseline}">${clip(podText, others.length > 0 ? 13 : 16)}${others.length > 0 && ` +${others.length}`}</text></g>
`;
  return html`<g>${frame(box)}${heading(box)}<text class="quiet" x="${x + 12}" y="${y + 39}">${machine.podBlock ?? ''}</text><text class="pods" x="${x + width - 12}" y="${y + 39}">${clip(pods.length > 0 ? pods.join(' · ') : podText, 32)}</text></g>
`;
}

function heading({ machine, x, y, width }: Box): Markup {
  // A bold letter takes about 9 units, one of an address 7.3.
  const room = Math.floor((width - 32 - machine.address.length * 7.3) / 9);
  return html`<text class="name" x="${x + 12}" y="${y + 22}">${clip(machine.name, room)}</text><text class="address end" x="${x + width - 12}" y="${y + 22}">${machine.address}</text>`;
}

/** A text of at most `length` characters; a longer one is cut and can be read in full by pointing at it. */
function clip(text: string, length: number): Markup {
  return text.length <= length
    ? html`${text}`
    : html`${text.slice(0, Math.max(1, length - 1))}…<title>${text}</title>`;
}

/** "eBGP: 3 of 3 sessions up", "iBGP mesh: 5 of 6 sessions up". */
function counts({ sessions }: TopologyLayout): readonly string[] {
  const kinds = [
    ['ebgp', 'eBGP'],
    ['ibgp', 'iBGP mesh'],
  ] as const;
  return kinds.flatMap(([kind, name]) => {
    const members = sessions.filter(({ peering }) => peering.kind === kind);
    const checked = members.filter(({ state }) => state !== 'unknown');
    if (members.length === 0) return [];
    if (checked.length === 0) return [`${name}: ${countText(members.length, 'session')}, not checked`];
    const up = members.filter(({ state }) => state === 'passed').length;
    const unchecked = members.length - checked.length;
    return [
      `${name}: ${up} of ${countText(members.length, 'session')} up${unchecked > 0 ? `, ${unchecked} not checked` : ''}`,
    ];
  });
}

function summary(layout: TopologyLayout): string {
  return `Drawing of the lab: ${countText(layout.clients.length, 'client')}, the router ${layout.router.machine.name}, ${countText(layout.nodes.length, 'Kubernetes node')}. ${counts(layout).join('; ')}.`;
}

function caption(layout: TopologyLayout, { network }: LabPlan): Markup {
  const sample = (path: string, text: string) =>
    html`<li><svg class="sample" viewBox="0 0 32 10" aria-hidden="true"><path class="${path}" d="M0 5H32"/></svg> ${text}</li>`;
  return html`<ul class="legend">
${sample('session ebgp passed', 'session up')}
${layout.sessions.some(isDown) && sample('session ebgp failed', 'session not up')}
${layout.clientRoutes.length > 0 && sample('route', "a client's routes")}
<li>${counts(layout).join(' · ')}</li>
<li>All machines share ${network.subnet}, so node addresses are on-link for everyone.</li>
</ul>`;
}

export interface Box {
  readonly machine: MachinePlan;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** `unknown`: the run has no check for this session. */
export type SessionState = Check['verdict'] | 'unknown';

export interface Session {
  readonly id: string;
  readonly peering: PeeringPlan;
  readonly state: SessionState;
  readonly observed: string;
  readonly path: string;
  /** Where a sign for a session that is not up stands. */
  readonly mark: { readonly x: number; readonly y: number };
}

export interface TopologyLayout {
  readonly width: number;
  readonly height: number;
  /** Many nodes: one line of text per node. */
  readonly compact: boolean;
  readonly cluster: Omit<Box, 'machine'>;
  readonly clients: readonly Box[];
  readonly router: Box;
  readonly nodes: readonly Box[];
  readonly sessions: readonly Session[];
  /** From the clients that route to the lab's prefixes through the router. */
  readonly clientRoutes: readonly {
    readonly client: Box;
    readonly path: string;
    readonly prefixes: readonly string[];
  }[];
}

const WIDTH = 1080;
const CLIENT = { x: 4, width: 204, height: 58, gap: 22 } as const;
const ROUTER = { x: 316, width: 204, height: 76 } as const;
const NODE = { x: 620, width: 336 } as const;
const TOP = 64;
const BOTTOM = 18;
/** From this many nodes on, each gets one line. */
const COMPACT_FROM = 8;

/** Clients left, the router in the middle, the nodes in a column: so the sessions fan out without crossing a box. */
export function layOut(plan: LabPlan, checks: readonly Check[]): TopologyLayout {
  const machines = machinesOf(plan, 'control-plane', 'worker');
  const compact = machines.length >= COMPACT_FROM;
  const size = compact ? { height: 26, gap: 8 } : { height: 50, gap: 14 };
  const nodesHeight = stackHeight(machines.length, size);
  const clientMachines = machinesOf(plan, 'client');
  const clientsHeight = stackHeight(clientMachines.length, CLIENT);
  const inner = Math.max(nodesHeight, clientsHeight, ROUTER.height);
  const middle = TOP + inner / 2;
  const nodes = stack(machines, { ...NODE, ...size }, middle - nodesHeight / 2);
  const router: Box = {
    machine: theMachine(plan, 'router'),
    x: ROUTER.x,
    y: middle - ROUTER.height / 2,
    width: ROUTER.width,
    height: ROUTER.height,
  };
  const clients = stack(clientMachines, CLIENT, middle - clientsHeight / 2);
  const boxes = new Map([...nodes, router].map((box) => [box.machine.name, box]));
  return {
    width: WIDTH,
    height: TOP + inner + BOTTOM,
    compact,
    cluster: {
      x: NODE.x - 16,
      y: middle - nodesHeight / 2 - 14,
      width: NODE.width + 32,
      height: nodesHeight + 28,
    },
    clients,
    router,
    nodes,
    sessions: plan.bgp.peerings.map((peering) => sessionOf(peering, boxes, checks)),
    clientRoutes: clients.flatMap((client) => {
      const prefixes = client.machine.routes
        .filter(({ via }) => via === router.machine.address)
        .map(({ to }) => to);
      return prefixes.length === 0 ? [] : [{ client, prefixes, path: curve(right(client), left(router)) }];
    }),
  };
}

function sessionOf(peering: PeeringPlan, boxes: ReadonlyMap<string, Box>, checks: readonly Check[]): Session {
  const [one, other] = [peering.a.machine, peering.b.machine];
  const id = checkId('session', { a: one, b: other, protocol: peering.kind });
  const check = checks.find((each) => each.id === id);
  const a = boxes.get(one);
  const b = boxes.get(other);
  if (a === undefined || b === undefined) throw new Error(`${id}: the plan has no such machine`);
  return {
    id,
    peering,
    state: check?.verdict ?? 'unknown',
    observed: check === undefined ? 'not checked' : describeCheck(check).observed,
    ...(peering.kind === 'ibgp' ? arc(a, b) : fan(a, b)),
  };
}

/** Between the router and a node. The sign stands where the lines are farthest apart: at the node. */
function fan(a: Box, b: Box): Pick<Session, 'path' | 'mark'> {
  const [router, node] = a.machine.role === 'router' ? [a, b] : [b, a];
  const end = left(node);
  return { path: curve(right(router), end), mark: { x: end.x - 30, y: end.y } };
}

/** Between two nodes of the column, as a half ellipse beside it: the farther apart, the wider. */
function arc(a: Box, b: Box): Pick<Session, 'path' | 'mark'> {
  const [upper, lower] = a.y < b.y ? [right(a), right(b)] : [right(b), right(a)];
  const reach = Math.min(118, 16 + (lower.y - upper.y) * 0.36);
  const ends = `${upper.x} ${upper.y}`;
  return {
    path: `M${ends}C${upper.x + reach} ${upper.y} ${lower.x + reach} ${lower.y} ${lower.x} ${lower.y}`,
    // A cubic curve with both control points at the same distance bulges to three quarters of it.
    mark: { x: upper.x + reach * 0.75, y: (upper.y + lower.y) / 2 },
  };
}

interface Point {
  readonly x: number;
  readonly y: number;
}

function curve(from: Point, to: Point): string {
  const middle = (from.x + to.x) / 2;
  return `M${from.x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
}

function left({ x, y, height }: Box): Point {
  return { x, y: y + height / 2 };
}

function right({ x, y, width, height }: Box): Point {
  return { x: x + width, y: y + height / 2 };
}

function stackHeight(
  count: number,
  { height, gap }: { readonly height: number; readonly gap: number },
): number {
  return Math.max(0, count * (height + gap) - gap);
}

function stack(
  machines: readonly MachinePlan[],
  { x, width, height, gap }: { x: number; width: number; height: number; gap: number },
  top: number,
): readonly Box[] {
  return machines.map((machine, index) => ({ machine, x, width, height, y: top + index * (height + gap) }));
}
