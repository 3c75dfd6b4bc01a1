import { type Address, sorted } from '../addresses.ts';
import type { Outcome } from '../types.ts';
import type { AnsweredBy, Decision, EndCause, LostAnswer, Match, Outcomes, Trace, Unknown } from './types.ts';

const NONE: readonly never[] = [];
const NOTHING: Outcomes = { servers: NONE, clients: NONE, ends: NONE };

/** The connection ends here. */
export function ended(at: string, outcome: Outcome, cause: EndCause): Trace {
  return { at, decision: { kind: 'end', cause }, next: NONE, outcomes: { ...NOTHING, ends: [outcome] } };
}

/** Nothing can be said from here on. */
export function unknown(at: string, what: Unknown, matches: readonly Match[] = NONE): Trace {
  return { at, decision: { kind: 'unknown', matches }, next: NONE, outcomes: { ...NOTHING, unknown: what } };
}

/** The server gets the packet. */
export function answered(at: string, by: AnsweredBy, server: Address, client: Address): Trace {
  const outcomes = { servers: [server], clients: [client], ends: NONE };
  return { at, decision: { kind: 'answer', by, server, client }, next: NONE, outcomes };
}

/** The same connection, the answer of which is lost: for certain, or as chance decides. */
export function lostAnswer(at: string, cause: LostAnswer, trace: Trace): Trace {
  const { servers, clients } = cause.kind === 'one-sided' && !cause.certain ? trace.outcomes : NOTHING;
  const outcomes: Outcomes = { servers, clients, ends: ['timeout'] };
  return { at, decision: { kind: 'lost-answer', cause }, next: [trace], outcomes };
}

/** A packet that only routes are asked for has arrived. */
export function arrived(at: string, address: Address): Trace {
  return { at, decision: { kind: 'own-address', address }, next: NONE, outcomes: NOTHING };
}

/** A decision after which there is one way, or several of which chance takes one. */
export function decided(at: string, decision: Decision, next: readonly Trace[]): Trace {
  return { at, decision, next, outcomes: together(next) };
}

function together(traces: readonly Trace[]): Outcomes {
  const [first] = traces;
  if (first === undefined) return NOTHING;
  if (traces.length === 1) return first.outcomes;
  const failed = traces.find(({ outcomes }) => outcomes.unknown !== undefined);
  if (failed !== undefined) return failed.outcomes;
  return {
    servers: sorted(traces.flatMap(({ outcomes }) => outcomes.servers)),
    clients: sorted(traces.flatMap(({ outcomes }) => outcomes.clients)),
    ends: [...new Set(traces.flatMap(({ outcomes }) => outcomes.ends))],
  };
}
