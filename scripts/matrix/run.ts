import { HarnessError, LabError, messageOf, rethrowIfInterrupted } from '../shared/errors.ts';
import { delaysOf } from './pace.ts';
import { parseProbeLine, probeInput } from './probe-protocol.ts';
import type { ProbeSource } from './probe-sources.ts';
import type { Cell, DnsAnswer, DnsQuestion, Observation } from './types.ts';

/** What was seen, by id: exactly one entry per cell and per question that was asked. */
export interface ProbeResults {
  readonly cells: ReadonlyMap<string, Observation>;
  readonly dns: ReadonlyMap<string, DnsAnswer>;
}

/** A cell to be tried, from a source port of our choice where it must be known beforehand, begun after the others. */
export type CellToRun = Cell & {
  readonly sourcePort?: number;
  readonly delayMs?: number | undefined;
  readonly fullSize?: boolean;
};

export interface RunCellsOptions {
  readonly dns?: readonly DnsQuestion[];
  /** Goes on with packets as large as the path takes where an answer is expected and comes. */
  readonly fullSize?: boolean;
  /** One wait of the probe, in milliseconds. */
  readonly timeoutMs?: number;
  /** Called for each cell as its result comes in. */
  readonly onResult?: (id: string, observation: Observation) => void;
}

/**
 * Probes all cells: one call per source, all sources at once, and all cells but those that a machine would refuse too
 * many of at once (pace.ts). What a source fails to answer, for
 * whatever reason, is a harness-error of that cell with the reason in `detail`; a cell is never left out. Throws
 * HarnessError for duplicate ids and Interrupted on abort.
 */
export async function runCells(
  cells: readonly CellToRun[],
  probeSources: ReadonlyMap<string, ProbeSource>,
  options: RunCellsOptions = {},
): Promise<ProbeResults> {
  const { dns = [] } = options;
  refuseDuplicates([...cells, ...dns].map(({ id }) => id));
  const names = [...new Set([...cells, ...dns].map(({ from }) => from))];
  const delays = delaysOf(cells);
  const isFullSize = ({ expected, protocol, talk }: Cell) =>
    options.fullSize === true && protocol !== 'icmp' && expected.outcome === 'ok' && talk === undefined;
  const all = await Promise.all(
    names.map((name) =>
      runSource(
        probeSources.get(name),
        name,
        cells
          .filter(({ from }) => from === name)
          .map((cell) => ({
            ...cell,
            delayMs: delays.get(cell.id) ?? cell.delayMs,
            ...(isFullSize(cell) ? { fullSize: true } : {}),
          })),
        dns.filter(({ from }) => from === name),
        options,
      ),
    ),
  );
  return {
    cells: new Map(all.flatMap((each) => [...each.cells])),
    dns: new Map(all.flatMap((each) => [...each.dns])),
  };
}

function refuseDuplicates(ids: readonly string[]): void {
  const seen = new Set<string>();
  const twice = new Set(ids.filter((id) => seen.size === seen.add(id).size));
  if (twice.size > 0)
    throw new HarnessError('Two cells have the same id, so their results could not be told apart.', {
      details: [...twice],
    });
}

async function runSource(
  probeSource: ProbeSource | undefined,
  name: string,
  cells: readonly CellToRun[],
  dns: readonly DnsQuestion[],
  options: RunCellsOptions,
): Promise<ProbeResults> {
  const collector = new Collector(cells, dns, options.onResult);
  let failure: string | undefined;
  if (probeSource === undefined) {
    failure = `there is no way to run a probe on ${name}`;
  } else {
    try {
      const input = probeInput(cells, dns, options.timeoutMs);
      const lastBegins = Math.max(0, ...cells.map(({ delayMs = 0 }) => delayMs));
      await probeSource.run(input, (line) => collector.take(line), lastBegins);
    } catch (error) {
      rethrowIfInterrupted(error);
      failure = `the probe could not be run: ${reasonOf(error)}`;
    }
  }
  return collector.finish(failure);
}

/** The message, and for a failed command the last line that it printed. */
function reasonOf(error: unknown): string {
  const lastLine = error instanceof LabError ? error.details.at(-1) : undefined;
  return lastLine === undefined ? messageOf(error) : `${messageOf(error)} ${lastLine}`;
}

/** Gathers the lines of one probe run and fills in what is missing. */
class Collector {
  private readonly cells = new Map<string, Observation>();
  private readonly dns = new Map<string, DnsAnswer>();
  private readonly asked: { readonly cells: ReadonlySet<string>; readonly dns: ReadonlySet<string> };
  private readonly onResult: RunCellsOptions['onResult'];
  private complaint: string | undefined;
  private done = false;

  constructor(cells: readonly Cell[], dns: readonly DnsQuestion[], onResult: RunCellsOptions['onResult']) {
    this.asked = { cells: new Set(cells.map(({ id }) => id)), dns: new Set(dns.map(({ id }) => id)) };
    this.onResult = onResult;
  }

  take(line: string): void {
    if (line.trim() === '') return;
    const parsed = parseProbeLine(line, (id) => this.asked.dns.has(id));
    switch (parsed.kind) {
      case 'cell':
        this.takeCell(parsed.id, parsed.observation);
        return;
      case 'dns':
        this.dns.set(parsed.id, this.dns.has(parsed.id) ? noAnswer(TWICE) : parsed.answer);
        return;
      case 'done':
        this.done = true;
        return;
      case 'error':
        this.complaint ??= `the probe refused its input: ${parsed.message}`;
        return;
      case 'garbage':
        this.complaint ??= `the probe printed what is no result: ${JSON.stringify(line.slice(0, 200))}`;
    }
  }

  private takeCell(id: string, observation: Observation): void {
    if (!this.asked.cells.has(id)) {
      this.complaint ??= `the probe answered for a cell it was not asked about: ${id}`;
      return;
    }
    const result = this.cells.has(id) ? notObserved(TWICE) : observation;
    this.cells.set(id, result);
    this.onResult?.(id, result);
  }

  /** `failure` is why the call itself failed, if it did. */
  finish(failure: string | undefined): ProbeResults {
    const said = [failure, this.complaint].filter((each) => each !== undefined).join('; ');
    const silence = this.done
      ? 'the probe gave no result for it'
      : 'the probe ended before it said that it was done';
    const why = said === '' ? silence : said;
    for (const id of this.asked.cells) if (!this.cells.has(id)) this.takeCell(id, notObserved(why));
    for (const id of this.asked.dns) if (!this.dns.has(id)) this.dns.set(id, noAnswer(why));
    return { cells: this.cells, dns: this.dns };
  }
}

const TWICE = 'the probe gave two results for it';

/** What is recorded for a cell that nothing is known about. */
export function notObserved(why: string): Observation {
  return { outcome: 'harness-error', server: null, client: null, attempts: 0, connectMs: null, detail: why };
}

function noAnswer(why: string): DnsAnswer {
  return { outcome: 'harness-error', answers: [], detail: why };
}
