import { sorted } from '../addresses.ts';
import type { ChainStep, Outcome } from '../types.ts';

/** What cannot be said, and whose fault that is. */
export interface Unknown {
  /** `not-observed`: a machine could not be looked at. `not-modelled`: looking again would not help. */
  readonly kind: 'not-modelled' | 'not-observed';
  readonly reason: string;
  /** not-observed only. */
  readonly machine?: string;
}

/** A clause of a reason. `{at}` stands for the machine that it happens at, so that equal clauses of several can be merged. */
export interface Reason {
  readonly text: string;
  readonly at: string;
}

/** All that can become of a connection from some point on: every next hop and every backend that could be chosen. */
export interface Ways {
  readonly servers: readonly string[];
  readonly clients: readonly string[];
  /** How some of the ways end without an answer. */
  readonly ends: readonly Outcome[];
  readonly unknown?: Unknown;
  readonly reason: Reason;
  readonly steps: readonly ChainStep[];
}

/** The connection is answered. */
export function answered(
  servers: readonly string[],
  clients: readonly string[],
  reason: Reason,
  steps: readonly ChainStep[],
): Ways {
  return { servers, clients, ends: [], reason, steps };
}

/** The connection ends here. */
export function ended(outcome: Outcome, reason: Reason, steps: readonly ChainStep[]): Ways {
  return { servers: [], clients: [], ends: [outcome], reason, steps };
}

/** Nothing can be said. */
export function unknown(what: Unknown): Ways {
  return {
    servers: [],
    clients: [],
    ends: [],
    unknown: what,
    reason: { text: what.reason, at: '' },
    steps: [],
  };
}

/** Puts steps in front. */
export function after(steps: readonly ChainStep[], ways: Ways, before?: string): Ways {
  return {
    ...ways,
    steps: [...steps, ...ways.steps],
    reason: before === undefined ? ways.reason : { ...ways.reason, text: `${before}${ways.reason.text}` },
  };
}

/** How many of several equal ways are written out. */
const SHOWN = 3;

/** The ways of several choices together. `choice` is what stands for the machine where all choices end the same way. */
export function merged(choices: readonly Ways[], choice: string): Ways {
  const [first] = choices;
  if (first === undefined) throw new Error('there must be something to choose from');
  if (choices.length === 1) return first;
  const failed = choices.find((ways) => ways.unknown !== undefined);
  if (failed !== undefined) return failed;
  const sameText = choices.every(({ reason }) => reason.text === first.reason.text);
  const left = choices.length - SHOWN;
  const more = choices[SHOWN]?.steps[0];
  return {
    servers: sorted(choices.flatMap(({ servers }) => servers)),
    clients: sorted(choices.flatMap(({ clients }) => clients)),
    ends: [...new Set(choices.flatMap(({ ends }) => ends))],
    reason: sameText
      ? { text: first.reason.text, at: choice }
      : { text: [...new Set(choices.map(({ reason }) => sentence(reason)))].join('; '), at: '' },
    steps: [
      ...choices.slice(0, SHOWN).flatMap(({ steps }) => steps),
      ...(more === undefined ? [] : [{ ...more, text: `and ${left} more in the same way` }]),
    ],
  };
}

/** The clause with its machine's name. */
export function sentence({ text, at }: Reason): string {
  return text.replaceAll('{at}', at);
}

/** "a", "a and b", "a, b and c"; long lists are cut. */
export function listed(names: readonly string[], limit = 4): string {
  const shown =
    names.length > limit ? [...names.slice(0, limit - 1), `${names.length - limit + 1} more`] : names;
  const last = shown.at(-1) ?? '';
  return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} and ${last}`;
}
