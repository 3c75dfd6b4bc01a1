import type { Answer } from '../bgp/checks/ask.ts';
import { rethrowIfInterrupted } from '../shared/errors.ts';
import { waitFor } from '../shared/wait.ts';
import { type FlowsByMachine, withTracked } from './conntrack.ts';
import { isLost } from './full-size.ts';
import { cellsToRetry, judgeCells } from './judge.ts';
import { PROBE_TIMEOUT_MS } from './probe-protocol.ts';
import type { ProbeSource } from './probe-sources.ts';
import { cellsToProve, proveResults, type Witness } from './proof.ts';
import type { CountersByNode } from './proof-counters.ts';
import type { ServerLogs } from './proof-logs.ts';
import { type CellToRun, type ProbeResults, type RunCellsOptions, runCells } from './run.ts';
import type { ObservedState } from './state/types.ts';
import { type Cell, type CellResult, type DnsAnswer, type FullSize, isTried } from './types.ts';

export interface MatrixResults {
  /** One result per cell, in the order of the cells. */
  readonly results: readonly CellResult[];
  readonly dns: ReadonlyMap<string, DnsAnswer>;
  /** What became of full-size packets, by id of the cells that carried small ones. */
  readonly sizes: ReadonlyMap<string, FullSize>;
}

/** Who was there beside the probes: the nodes' rule counters and the servers' logs. */
export interface WitnessReaders {
  readonly state: ObservedState;
  /** The counters before the first probe. */
  readonly before: CountersByNode;
  readonly counters: () => Promise<CountersByNode>;
  readonly logs: () => Promise<Answer<ServerLogs>>;
}

/** The connections that the machines know, and where a pod is: who answers without echo is known by these alone. */
export interface Tracking {
  readonly flows: () => Promise<FlowsByMachine>;
  readonly nodeOf: (address: string) => string | undefined;
}

export interface TestCellsOptions extends RunCellsOptions {
  /** Without them a failure that was expected is believed with no more than a positive control. */
  readonly witnesses?: WitnessReaders;
  readonly tracking?: Tracking;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Probes the whole matrix and judges it: every cell and DNS question at once, then those that failed once more, by
 * themselves; then demands proof of those that rightly failed. Throws Interrupted on abort.
 */
export async function testCells(
  cells: readonly Cell[],
  probeSources: ReadonlyMap<string, ProbeSource>,
  options: TestCellsOptions = {},
): Promise<MatrixResults> {
  const open = cells.filter(isTried);
  const { dns: questions = [], ...withoutDns } = options;
  const first = await runTracked(open, probeSources, { ...options, fullSize: true });
  const failed = cellsToRetry(open, first.cells);
  const cellsAgain = open.filter(
    (cell) => failed.includes(cell) || isLost(first.cells.get(cell.id)?.fullSize),
  );
  // A resolver asks more than once, too, before it takes silence for an answer.
  const dnsAgain = questions.filter(({ id }) => first.dns.get(id)?.outcome === 'dns-error');
  const retried = await runTracked(cellsAgain, probeSources, {
    ...withoutDns,
    dns: dnsAgain,
    fullSize: true,
  });
  const results = judgeCells(cells, first.cells, retried.cells);
  const dns = new Map([...first.dns, ...retried.dns]);
  const sizes = new Map(
    [...first.cells, ...retried.cells].flatMap(([id, { fullSize }]): [string, FullSize][] =>
      fullSize === undefined ? [] : [[id, fullSize]],
    ),
  );
  if (options.witnesses === undefined) return { results, dns, sizes };
  return {
    results: await prove(results, probeSources, { ...withoutDns, witnesses: options.witnesses }),
    dns,
    sizes,
  };
}

/** Probes, and asks the machines who has answered where the answer does not say so. */
export async function runTracked(
  cells: readonly CellToRun[],
  probeSources: ReadonlyMap<string, ProbeSource>,
  { tracking, ...options }: RunCellsOptions & { readonly tracking?: Tracking | undefined },
): Promise<ProbeResults> {
  const results = await runCells(cells, probeSources, options);
  if (tracking === undefined || cells.every(({ talk }) => talk === undefined)) return results;
  return {
    ...results,
    cells: withTracked(cells, results.cells, await tracking.flows(), tracking.nodeOf),
  };
}

async function prove(
  results: readonly CellResult[],
  probeSources: ReadonlyMap<string, ProbeSource>,
  { witnesses, signal }: TestCellsOptions & { readonly witnesses: WitnessReaders },
): Promise<readonly CellResult[]> {
  const { state, before, counters } = witnesses;
  const [after, logs] = await Promise.all([counters(), completeLogs(results, witnesses, signal)]);
  const witness: Witness = { before, after, logs, waitedMs: PROBE_TIMEOUT_MS };
  const open = cellsToProve(state, results, witness);
  const proven = new Map(proveResults(state, results, witness).map((result) => [result.cell.id, result]));
  // One source after another: what a rule counts meanwhile can come from no other.
  let last = after;
  for (const from of new Set(open.map((cell) => cell.from))) {
    const own = open.filter((cell) => cell.from === from);
    const ids = new Set(own.map(({ id }) => id));
    await runCells(own, probeSources, { timeoutMs: COUNTED_MS });
    const now = await counters();
    const alone = results.filter(({ cell }) => cell.expected.outcome === 'ok' || ids.has(cell.id));
    const counted = { before: last, after: now, logs, waitedMs: COUNTED_MS };
    for (const result of proveResults(state, alone, counted, results))
      if (ids.has(result.cell.id)) proven.set(result.cell.id, result);
    last = now;
  }
  return results.map((result) => proven.get(result.cell.id) ?? result);
}

/** Long enough for a packet to come to a rule and be counted; no answer is waited for. In milliseconds. */
const COUNTED_MS = 250;

/** How long a line may take from a server to the log that kubectl reads, in milliseconds. */
const LOG_DELAY_MS = 2_000;

/** The logs, read until they hold everything that was answered, or for as long as a line can be under way. */
async function completeLogs(
  results: readonly CellResult[],
  { logs: readLogs }: WitnessReaders,
  signal: AbortSignal | undefined,
): Promise<Answer<ServerLogs>> {
  const nonces = results.flatMap(({ observed }) =>
    observed?.outcome === 'ok' ? (observed.trace?.nonce ?? []) : [],
  );
  let last = await readLogs();
  const missing = (logs: Answer<ServerLogs>) =>
    logs.ok ? nonces.filter((nonce) => !logs.value.has(nonce)).length : 0;
  if (missing(last) === 0) return last;
  try {
    return await waitFor({
      what: `the servers' logs`,
      timeoutMs: LOG_DELAY_MS,
      signal,
      look: async () => {
        last = await readLogs();
        const count = missing(last);
        return count === 0
          ? { done: true, value: last }
          : { done: false, why: `${count} answered nonces are missing` };
      },
    });
  } catch (error) {
    rethrowIfInterrupted(error);
    return last;
  }
}
