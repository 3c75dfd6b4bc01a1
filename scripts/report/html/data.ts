import type { CellResult, Evidence } from '../../matrix/types.ts';
import { describeEvidence, describeFinding, describeProof } from '../cell-text.ts';
import type { LabRun } from '../run.ts';
import { describeControl, KIND_TEXTS, type Kind, kindOf } from '../words.ts';

/** What the page's script needs to show a cell in full. Texts that many cells share are written once. */
export interface PageData {
  readonly texts: readonly string[];
  /** Steps of the predicted path: the machine, the layer, and the index of a text. */
  readonly steps: readonly (readonly [at: string, layer: string, text: number])[];
  readonly kinds: Readonly<Record<Kind, { readonly sign: string; readonly text: string }>>;
  readonly cells: readonly PageCell[];
}

export interface PageCell {
  readonly id: string;
  readonly kind: Kind;
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly port: string;
  /** How it is spoken to, where it is no echo server. */
  readonly talk?: string;
  readonly expected: Side;
  /** null where nothing was tried. */
  readonly observed: (Side & { readonly attempts: number; readonly connectMs: number | null }) | null;
  /** Why it is there, where nobody asked for it. */
  readonly added?: string;
  readonly detail: string | null;
  readonly why: number;
  /** Indexes of steps. */
  readonly chain: readonly number[];
  /** What proves that it failed where it had to. */
  readonly proof?: readonly string[];
  readonly evidence?: Evidence & { readonly sentence: string };
}

interface Side {
  readonly outcome: string;
  readonly servers: readonly string[];
  readonly clients: readonly string[];
  /** The HTTP status; absent where none is wanted, or none was seen. */
  readonly status?: number | undefined;
}

/** How a target that is no echo server is spoken to. */
const TALKS = {
  http: 'asked GET /; the backend and the client address are from connection tracking',
  none: 'connected, without knowing its protocol; the backend and the client address are from connection tracking',
} as const;

/** The cells of a run as the page's script wants them, in the order of the run. */
export function pageData(run: LabRun): PageData {
  const texts = new Table<string>((text) => text);
  const steps = new Table<PageData['steps'][number]>((step) => step.join('\n'));
  const cells = run.cells.map((result) => pageCell(result, texts, steps));
  return { texts: texts.items, steps: steps.items, kinds: KIND_TEXTS, cells };
}

function pageCell(
  result: CellResult,
  texts: Table<string>,
  steps: Table<PageData['steps'][number]>,
): PageCell {
  const { cell, observed, proof, evidence } = result;
  const { outcome, servers, clients, why, chain } = cell.expected;
  return {
    id: cell.id,
    kind: kindOf(result),
    from: cell.from,
    to: cell.to,
    address: cell.address,
    port: `${cell.port}/${cell.protocol}`,
    ...(cell.talk === undefined ? {} : { talk: TALKS[cell.talk] }),
    expected: { outcome, servers, clients, status: cell.httpStatus },
    observed:
      observed === null
        ? null
        : {
            outcome: observed.outcome,
            servers: observed.server === null ? [] : [observed.server],
            clients: observed.client === null ? [] : [observed.client],
            status: observed.httpStatus,
            attempts: observed.attempts,
            connectMs: observed.connectMs,
          },
    ...(cell.controlOf === undefined ? {} : { added: describeControl(cell.controlOf) }),
    detail: describeFinding(result),
    why: texts.indexOf(why),
    chain: chain.map(({ at, layer, text }) => steps.indexOf([at, layer, texts.indexOf(text)])),
    ...(proof === undefined ? {} : { proof: proof.map(describeProof) }),
    ...(evidence === undefined ? {} : { evidence: { ...evidence, sentence: describeEvidence(evidence) } }),
  };
}

/** Values without duplicates, addressed by index. */
class Table<T> {
  readonly items: T[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #keyOf: (item: T) => string;

  constructor(keyOf: (item: T) => string) {
    this.#keyOf = keyOf;
  }

  indexOf(item: T): number {
    const key = this.#keyOf(item);
    const known = this.#indexes.get(key);
    if (known !== undefined) return known;
    this.#indexes.set(key, this.items.length);
    return this.items.push(item) - 1;
  }
}
