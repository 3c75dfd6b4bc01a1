import { networkOf } from '../matrix/expect/network-state.ts';
import type { ObservedState } from '../matrix/state/types.ts';
import { type Cell, isTried } from '../matrix/types.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import { type Action, MARK } from './fault.ts';
import type { Picture } from './picture.ts';
import type { PlacedRule } from './placed-rules.ts';

/** A healthy lab, as faults are fitted to it. */
export interface Scene {
  readonly plan: LabPlan;
  readonly state: ObservedState;
  readonly cells: readonly Cell[];
  /** What every machine holds. */
  readonly picture: Picture;
}

/** A connection from a client to a node port that a pod of that node answers, and the pod. */
export interface NodePortWay {
  readonly cell: Cell;
  /** The machine that the connection enters and the pod runs on. */
  readonly node: string;
  readonly nodeAddress: string;
  readonly clientAddress: string;
  readonly podAddress: string;
  readonly podPort: number;
}

/** The ways of one protocol from the clients, one per node, those of one client first. */
export function nodePortWays({ plan, state, cells }: Scene, protocol: 'tcp' | 'udp'): readonly NodePortWay[] {
  const network = networkOf(state);
  // A client without routes to the lab first: it shows that node ports need none.
  const clients = [...machinesOf(plan, 'client')].sort((a, b) => a.routes.length - b.routes.length);
  return clients.flatMap(({ name, address: clientAddress }) =>
    cells.flatMap((cell) => {
      const [podAddress, ...others] = cell.expected.servers;
      const { node } = cell;
      const isWay =
        cell.from === name && cell.kind === 'node-port' && cell.protocol === protocol && node !== undefined;
      if (!isWay || podAddress === undefined || others.length > 0 || network.nodeOf(podAddress) !== node)
        return [];
      const service = state.services.find((each) => each.name === cell.service);
      const endpoint = service?.endpoints.find(({ ip }) => ip === podAddress);
      const [podPort] = Object.values(endpoint?.ports ?? {});
      if (podPort === undefined) return [];
      return [{ cell, node, nodeAddress: cell.address, clientAddress, podAddress, podPort }];
    }),
  );
}

/** The first cell that fits. */
export function pick(cells: readonly Cell[], fits: (cell: Cell) => boolean): Cell | undefined {
  return cells.find((cell) => isTried(cell) && fits(cell));
}

/** A rule of our own at the head of a chain, and how it is removed again, however often it is there. */
export function ownRule(
  { picture }: Scene,
  on: string,
  table: string,
  chain: string,
  rule: readonly string[],
): { readonly add: Action; readonly remove: Action } {
  const program = programOf(picture.get(on)?.rules ?? []);
  const words = ['-m', 'comment', '--comment', MARK, ...rule];
  return {
    add: { on, argv: [program, '-w', '-t', table, '-I', chain, '1', ...words] },
    remove: {
      on,
      argv: ['sh', '-c', REMOVE, program, table, chain, ...words],
    },
  };
}

const REMOVE =
  'table=$1 chain=$2; shift 2; while "$0" -w -t "$table" -C "$chain" "$@" 2>/dev/null; do "$0" -w -t "$table" -D "$chain" "$@" || exit; done';

/** The program that a machine's rules were made with: where it has rules in both places, that of the most. */
function programOf(rules: readonly PlacedRule[]): string {
  const count = (program: string) => rules.filter((rule) => rule.program === program).length;
  const [most] = ['iptables-nft', 'iptables-legacy'].sort((a, b) => count(b) - count(a));
  return most === undefined || count(most) === 0 ? 'iptables' : most;
}

/** Lets stopped processes go on; that there are none is fine. */
export function letGo(on: string, ...which: readonly string[]): Action {
  return { on, argv: ['sh', '-c', 'pkill -CONT "$@" || [ $? = 1 ]', 'sh', ...which] };
}

/** Literal text as a regular expression. */
export function literally(text: string): string {
  return text.replaceAll(/[\\^$.*|?+()[\]{}]/g, '\\$&');
}
