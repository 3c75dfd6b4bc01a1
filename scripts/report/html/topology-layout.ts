import { type Check, checkId } from '../../bgp/checks/check.ts';
import {
  type LabPlan,
  type MachinePlan,
  machinesOf,
  type PeeringPlan,
  theMachine,
} from '../../plan/types.ts';
import { describeCheck } from '../check-text.ts';

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
