import type { Answer } from '../bgp/checks/ask.ts';
import { controlFor } from './proof-control.ts';
import { type CountersByNode, commentOf, movedRules } from './proof-counters.ts';
import { type DropPoint, dropPointOf, leastPackets, stoppingRules } from './proof-drops.ts';
import type { ServerLogs } from './proof-logs.ts';
import type { ObservedState } from './state/types.ts';
import type { CellResult } from './types.ts';

/** What was seen beside the probes, in the same window. */
export interface Witness {
  readonly before: CountersByNode;
  readonly after: CountersByNode;
  readonly logs: Answer<ServerLogs>;
  /** How long each attempt waited for an answer, in milliseconds. */
  readonly waitedMs: number;
}

/** One way of proving that a connection failed where it had to. */
type Proof =
  | { readonly kind: 'proven'; readonly text: string }
  /** Nothing is known. `again`: another try may tell. */
  | { readonly kind: 'unproven'; readonly text: string; readonly again?: true }
  /** It did not fail where it had to. */
  | { readonly kind: 'disproven'; readonly text: string };

/**
 * Demands proof of every connection that rightly failed: another one from the same source got through; what it
 * sent is in no server's log, in a search that finds what was answered; and where a node's rule had to drop or reject
 * it, that rule counted it. Without proof the verdict is `harness`; where the log shows that a server got it all the
 * same, or that another server than it says has answered, it is `failed`. Pure.
 */
export function proveResults(
  state: ObservedState,
  results: readonly CellResult[],
  witness: Witness,
): readonly CellResult[] {
  const search = searchOf(results, witness.logs);
  const drops = dropProofs(state, results, witness);
  return results.map((result) => {
    const { cell, verdict } = result;
    if (verdict !== 'passed' && verdict !== 'flaky') return result;
    if (cell.expected.outcome === 'ok') return checkedAnswer(result, witness.logs);
    const proofs = [
      control(result, results),
      ...absence(result, witness.logs, search),
      ...(drops.get(cell.id) ?? []),
    ];
    const disproof = proofs.find(({ kind }) => kind === 'disproven');
    if (disproof !== undefined) return { ...result, verdict: 'failed', detail: disproof.text };
    const gap = proofs.find(({ kind }) => kind === 'unproven');
    if (gap !== undefined)
      return { ...result, verdict: 'harness', detail: `it failed as expected, but ${gap.text}` };
    return { ...result, proof: proofs.map(({ text }) => text) };
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

function control(result: CellResult, results: readonly CellResult[]): Proof {
  const found = controlFor(result.cell, results);
  if (found === undefined)
    return {
      kind: 'unproven',
      text: `nothing got through from ${result.cell.from} in this run, so that proves nothing`,
    };
  const where = found.sameHost ? ', to the same host,' : '';
  return { kind: 'proven', text: `${found.cell.id}${where} got through in the same run` };
}

/** Whether the search for nonces finds those that must be there; undefined where it does. */
function searchOf(results: readonly CellResult[], logs: Answer<ServerLogs>): string | undefined {
  if (!logs.ok) return `the servers' logs could not be read: ${logs.detail}`;
  const answered = results.filter(({ observed }) => observed?.outcome === 'ok');
  const sent = answered.flatMap(({ cell, observed }) =>
    observed?.trace?.nonce === null || observed?.trace === undefined
      ? []
      : [{ id: cell.id, nonce: observed.trace.nonce }],
  );
  if (sent.length === 0) return `nothing was answered that the servers' logs could be tried with`;
  const lost = sent.find(({ nonce }) => !logs.value.has(nonce));
  return lost === undefined
    ? undefined
    : `the servers' logs lack what ${lost.id} sent, though it was answered: they cannot be searched`;
}

function absence({ cell, observed }: CellResult, logs: Answer<ServerLogs>, gap: string | undefined): Proof[] {
  const nonce = observed?.trace?.nonce ?? null;
  if (nonce === null) return [];
  const [found] = logs.ok ? (logs.value.get(nonce) ?? []) : [];
  if (found !== undefined)
    return [
      {
        kind: 'disproven',
        text: `nothing came back, but pod ${found.pod} got what ${cell.from} sent, from ${found.client}`,
      },
    ];
  if (gap !== undefined) return [{ kind: 'unproven', text: gap }];
  return [{ kind: 'proven', text: `what it sent (${nonce}) is in no server's log` }];
}

/** An answer proves itself, unless the log says that another server has given it. */
function checkedAnswer(result: CellResult, logs: Answer<ServerLogs>): CellResult {
  const { observed } = result;
  const nonce = observed?.trace?.nonce ?? null;
  if (nonce === null || observed === null || !logs.ok) return result;
  const entries = logs.value.get(nonce) ?? [];
  const other = entries.find(({ server }) => server !== observed.server);
  if (other === undefined && entries.length <= 1) return result;
  const detail =
    other === undefined
      ? `it was received ${entries.length} times`
      : `the answer says that it comes from ${observed.server}, but what was sent is in the log of ${other.server} (pod ${other.pod})`;
  return { ...result, observed: { ...observed, outcome: 'corrupt' }, verdict: 'failed', detail };
}

/** The proofs of those cells that a node's rule has to stop, by cell id. */
function dropProofs(
  state: ObservedState,
  results: readonly CellResult[],
  { before, after, waitedMs }: Witness,
): ReadonlyMap<string, readonly Proof[]> {
  const stopped = results.flatMap((result) => {
    if (result.verdict !== 'passed' && result.verdict !== 'flaky') return [];
    const point = dropPointOf(state, result.cell);
    return point === undefined ? [] : [{ result, point }];
  });
  const groups = new Map<string, typeof stopped>();
  for (const each of stopped) groups.set(each.point.key, [...(groups.get(each.point.key) ?? []), each]);
  return new Map(
    [...groups.values()].flatMap((members) => {
      const [first] = members;
      if (first === undefined) return [];
      const least = members.reduce((sum, { result }) => sum + leastPackets(result, waitedMs), 0);
      const proof = countedBy(first.point, least, members.length, before, after);
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
): Proof {
  const [old, now] = [before.get(point.node), after.get(point.node)];
  for (const answer of [old, now])
    if (answer === undefined || !answer.ok)
      return {
        kind: 'unproven',
        text: `the rules of ${point.node} could not be read: ${answer === undefined ? 'it was not asked' : answer.detail}`,
      };
  if (!old?.ok || !now?.ok) return { kind: 'unproven', text: `${point.node} was not asked` };
  const rules = stoppingRules(point, now.value);
  if (rules.length === 0)
    return {
      kind: 'unproven',
      text: [`${point.node} has no rule that stops it (${point.text})`, ...(now.unread ?? [])].join(
        '; not understood: ',
      ),
    };
  const moved = movedRules(old.value, now.value).filter((rule) =>
    rules.some(({ table, rule: text }) => table === rule.table && text === rule.rule),
  );
  if (moved.some((rule) => rule.moved === undefined))
    return {
      kind: 'unproven',
      again: true,
      text: `kube-proxy of ${point.node} wrote its rules anew meanwhile, so their counters say nothing`,
    };
  const packets = moved.reduce((sum, rule) => sum + (rule.moved ?? 0), 0);
  const [rule] = rules;
  const text = `${rule?.chain} on ${point.node}, "${rule === undefined ? '' : commentOf(rule)}"`;
  if (packets < least)
    return {
      kind: 'unproven',
      // Also where it matched none: counters that were 0 before may have been set back unseen.
      again: true,
      text: `the rule that had to stop it (${text}) matched ${packets} of at least ${count(least, 'packet')} from ${count(cells, 'cell')}`,
    };
  return {
    kind: 'proven',
    text: `${text}: the rule matched ${count(packets, 'packet')} from ${count(cells, 'cell')}`,
  };
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
