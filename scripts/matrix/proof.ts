import type { Answer } from '../bgp/checks/ask.ts';
import { groupBy } from '../shared/group.ts';
import type { Finding, Gap, Proof } from './findings.ts';
import { controlFor, isItsOwnControl } from './proof-control.ts';
import {
  type CountersByNode,
  commentOf,
  type MovedRule,
  movedRules,
  type RuleCounter,
} from './proof-counters.ts';
import { type DropPoint, dropPointOf, leastPackets, stoppingRules } from './proof-drops.ts';
import type { ServerLogs } from './proof-logs.ts';
import type { ObservedState } from './state/types.ts';
import type { Cell, CellResult } from './types.ts';

/** What was seen beside the probes, in the same window. */
export interface Witness {
  readonly before: CountersByNode;
  readonly after: CountersByNode;
  readonly logs: Answer<ServerLogs>;
  /** How long each attempt waited for an answer, in milliseconds. */
  readonly waitedMs: number;
}

/** What became of one way of proving that a connection failed where it had to. */
type Attempt =
  | { readonly kind: 'proven'; readonly proof: Proof }
  /** Nothing is known. `again`: another try may tell. */
  | { readonly kind: 'unproven'; readonly gap: Gap; readonly again?: true }
  /** It did not fail where it had to. */
  | { readonly kind: 'disproven'; readonly finding: Finding };

/**
 * Demands proof of every connection that rightly failed: another one from the same source got through; what it
 * sent is in no server's log, in a search that finds what was answered; and where a node's rule had to drop or reject
 * it, that rule counted it. Without proof the verdict is `harness`; where the log shows that a server got it all the
 * same, or that another server than it says has answered, it is `failed`. `controls` are all results of the run. Pure.
 */
export function proveResults(
  state: ObservedState,
  results: readonly CellResult[],
  witness: Witness,
  controls = results,
): readonly CellResult[] {
  const search = searchOf(results, witness.logs);
  const drops = dropProofs(state, results, witness);
  // Only cells of the same source can be a control: to go through all for each took seconds with twenty workers.
  const ofSource = groupBy(controls, ({ cell }) => cell.from);
  const isCounted = ({ id }: Cell) => drops.get(id)?.some(({ kind }) => kind === 'proven') === true;
  const stopped = results.flatMap(({ cell }) => (isCounted(cell) ? [cell] : []));
  return results.map((result) => {
    const { cell, verdict } = result;
    if (verdict !== 'passed' && verdict !== 'flaky') return result;
    if (cell.expected.outcome === 'ok') return checkedAnswer(result, witness.logs);
    const counted = drops.get(cell.id) ?? [];
    const own = ofSource.get(cell.from) ?? [];
    const isAlone = isCounted(cell) && isItsOwnControl(cell, cellsOf(own));
    const proofs = [
      ...(isAlone ? [] : [control(result, own, stopped)]),
      ...absence(result, witness.logs, search),
      ...counted,
    ];
    const disproof = proofs.find((each) => each.kind === 'disproven');
    if (disproof !== undefined) return { ...result, verdict: 'failed', finding: disproof.finding };
    const open = proofs.find((each) => each.kind === 'unproven');
    if (open !== undefined)
      return { ...result, verdict: 'harness', finding: { reason: 'unproven', gap: open.gap } };
    return { ...result, proof: proofs.flatMap((each) => (each.kind === 'proven' ? [each.proof] : [])) };
  });
}

/**
 * The cells that another try can prove, because their counters say too little: they were set back meanwhile, or not all
 * of the packets that several cells sent came there.
 */
export function cellsToProve(
  state: ObservedState,
  results: readonly CellResult[],
  witness: Witness,
): readonly CellResult['cell'][] {
  const drops = dropProofs(state, results, witness);
  return results
    .filter(({ cell }) => drops.get(cell.id)?.some((proof) => proof.kind === 'unproven' && proof.again))
    .map(({ cell }) => cell);
}

const cellsOf = (results: readonly CellResult[]) => results.map(({ cell }) => cell);

/** `own`: the results of the same source; `stopped`: the cells that a rule has stopped and counted. */
function control({ cell }: CellResult, own: readonly CellResult[], stopped: readonly Cell[]): Attempt {
  const found = controlFor(cell, own);
  if (found === undefined) {
    const counted = stopped.find((each) => each.from === cell.from && isItsOwnControl(each, cellsOf(own)));
    return counted === undefined
      ? { kind: 'unproven', gap: { reason: 'no-control', from: cell.from } }
      : { kind: 'proven', proof: { reason: 'control', cell: counted.id, sameHost: false, counted: true } };
  }
  const { cell: other, sameHost } = found;
  const refused = other.expected.outcome === 'refused';
  return {
    kind: 'proven',
    proof: { reason: 'control', cell: other.id, sameHost, ...(refused ? { refused } : {}) },
  };
}

/** Whether the search for nonces finds those that must be there; undefined where it does. */
function searchOf(results: readonly CellResult[], logs: Answer<ServerLogs>): Gap | undefined {
  if (!logs.ok) return { reason: 'logs-not-read', said: logs.detail };
  const answered = results.filter(({ observed }) => observed?.outcome === 'ok');
  const sent = answered.flatMap(({ cell, observed }) =>
    observed?.trace?.nonce == null ? [] : [{ id: cell.id, nonce: observed.trace.nonce }],
  );
  // Where no server is ready there is nothing that the search could be tried with.
  if (results.every(({ cell }) => cell.expected.outcome !== 'ok')) return undefined;
  if (sent.length === 0) return { reason: 'nothing-answered' };
  const lost = sent.find(({ nonce }) => !logs.value.has(nonce));
  return lost === undefined ? undefined : { reason: 'logs-incomplete', cell: lost.id };
}

function absence({ cell, observed }: CellResult, logs: Answer<ServerLogs>, gap: Gap | undefined): Attempt[] {
  const nonce = observed?.trace?.nonce ?? null;
  // What has to be answered from another address has to be received, too.
  if (nonce === null || cell.expected.outcome === 'corrupt') return [];
  const [found] = logs.ok ? (logs.value.get(nonce) ?? []) : [];
  if (found !== undefined) {
    const { pod, client } = found;
    return [{ kind: 'disproven', finding: { reason: 'received', pod, client, from: cell.from } }];
  }
  if (gap !== undefined) return [{ kind: 'unproven', gap }];
  return [{ kind: 'proven', proof: { reason: 'not-in-logs', nonce } }];
}

/** An answer proves itself, unless the log says that another server has given it. */
function checkedAnswer(result: CellResult, logs: Answer<ServerLogs>): CellResult {
  const { observed } = result;
  const nonce = observed?.trace?.nonce ?? null;
  if (nonce === null || observed === null || !logs.ok) return result;
  const { server } = observed;
  const entries = logs.value.get(nonce) ?? [];
  const other = entries.find((entry) => entry.server !== server);
  if (other === undefined && entries.length <= 1) return result;
  const finding: Finding =
    other === undefined
      ? { reason: 'received-often', times: entries.length }
      : { reason: 'other-server', server, logged: other.server, pod: other.pod };
  return { ...result, observed: { ...observed, outcome: 'corrupt' }, verdict: 'failed', finding };
}

/** The proofs of those cells that a node's rule has to stop, by cell id. */
function dropProofs(
  state: ObservedState,
  results: readonly CellResult[],
  { before, after, waitedMs }: Witness,
): ReadonlyMap<string, readonly Attempt[]> {
  const stopped = results.flatMap((result) => {
    if (result.verdict !== 'passed' && result.verdict !== 'flaky') return [];
    const point = dropPointOf(state, result.cell);
    return point === undefined ? [] : [{ result, point }];
  });
  // Cells that may have been stopped by the same rule of the same node are counted together.
  let groups: { readonly point: DropPoint; readonly members: typeof stopped }[] = [];
  for (const each of stopped) {
    const isSame = ({ point }: { readonly point: DropPoint }) =>
      point.key === each.point.key && point.nodes.some((node) => each.point.nodes.includes(node));
    const same = groups.filter(isSame);
    const nodes = [...new Set([...same, each].flatMap(({ point }) => point.nodes))];
    const members = [...same.flatMap((group) => group.members), each];
    groups = [
      ...groups.filter((group) => !same.includes(group)),
      { point: { ...each.point, nodes }, members },
    ];
  }
  return new Map(
    groups.flatMap(({ point, members }) => {
      const least = members.reduce((sum, { result }) => sum + leastPackets(result, waitedMs), 0);
      const proof = countedBy(point, least, members.length, before, after);
      return members.map(({ result }) => [result.cell.id, [proof]] as const);
    }),
  );
}

function countedBy(
  point: DropPoint,
  least: number,
  cells: number,
  before: CountersByNode,
  after: CountersByNode,
): Attempt {
  const node = point.nodes.join(', ');
  const moved: MovedRule[] = [];
  let rule: RuleCounter | undefined;
  for (const name of point.nodes) {
    const [old, now] = [before.get(name), after.get(name)];
    if (!old?.ok || !now?.ok) {
      const silent = old?.ok === true ? now : old;
      const said = silent === undefined || silent.ok ? 'it was not asked' : silent.detail;
      return { kind: 'unproven', gap: { reason: 'rules-not-read', node: name, said } };
    }
    const rules = stoppingRules(point, now.value);
    if (rules.length === 0)
      return { kind: 'unproven', gap: { reason: 'no-rule', node: name, predicted: point.text } };
    rule ??= rules[0];
    moved.push(
      ...movedRules(old.value, now.value).filter((each) =>
        rules.some(({ table, rule: text }) => table === each.table && text === each.rule),
      ),
    );
  }
  if (moved.some((each) => each.moved === undefined))
    return { kind: 'unproven', again: true, gap: { reason: 'rules-rewritten', node } };
  const packets = moved.reduce((sum, each) => sum + (each.moved ?? 0), 0);
  const comment = rule === undefined ? '' : commentOf(rule);
  const counted = { node, chain: rule?.chain ?? '', comment, packets, cells };
  // Also where it matched none: counters that were 0 before may have been set back unseen.
  if (packets < least)
    return { kind: 'unproven', again: true, gap: { reason: 'counted-too-few', ...counted, least } };
  return { kind: 'proven', proof: { reason: 'counted', ...counted } };
}
