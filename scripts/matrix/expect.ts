import { listed, reasonFor, stepsOf } from './expect/describe.ts';
import type { NetworkState, Unknown } from './expect/types.ts';
import { walk } from './expect/walk.ts';
import { stateCheckId } from './state/checks.ts';
import type { Cell, ChainStep, Expectation, FlowSource, Target } from './types.ts';

/** Why the address of a service is to a ping what any other address is. */
const UNTRANSLATED = 'kube-proxy translates TCP and UDP, no pings';

function isUntranslated({ protocol, kind }: Target): boolean {
  return protocol === 'icmp' && (kind === 'cluster-ip' || kind === 'external-ip');
}

/** An expectation, or why there is none: then its outcome is harness-error. */
export type Prediction = Pick<Cell, 'expected' | 'skipped' | 'chance' | 'blockedBy'>;

/** Predicts one connection from observed state: what its trace (expect/walk.ts) can end in, and why, in words. Pure. */
export function predict(network: NetworkState, from: FlowSource, target: Target): Prediction {
  const trace = walk(network, from, target);
  const { servers, clients, ends, unknown } = trace.outcomes;
  if (unknown !== undefined) return nothingKnown(network, unknown);
  const chain = stepsOf(network, trace);
  const reason = isUntranslated(target)
    ? `${UNTRANSLATED}; ${reasonFor(network, trace)}`
    : reasonFor(network, trace);
  const isAnswered = servers.length > 0;
  const [end, other] = ends;
  if (end !== undefined && (isAnswered || other !== undefined)) {
    const chance = `chance decides between ${listed([...(isAnswered ? ['ok'] : []), ...ends])}`;
    const why = `${chance}: ${reason}`;
    if (!isAnswered) return nothingKnown(network, { kind: 'not-modelled', reason: why }, chain);
    return { expected: { outcome: 'ok', servers, clients, why: asSentence(network, why), chain }, chance };
  }
  const why = asSentence(network, reason);
  return { expected: { outcome: end ?? 'ok', servers, clients: isAnswered ? clients : [], why, chain } };
}

function nothingKnown(
  network: NetworkState,
  { kind, reason, machine }: Unknown,
  chain: readonly ChainStep[] = [],
): Prediction {
  const why = asSentence(network, reason);
  const expected: Expectation = { outcome: 'harness-error', servers: [], clients: [], why, chain };
  return kind === 'not-observed' && machine !== undefined
    ? { expected, blockedBy: stateCheckId(machine) }
    : { expected, skipped: why };
}

/** A name stays as it is written, also at the start. */
function asSentence(network: NetworkState, text: string): string {
  const [first = ''] = /^[^ ,']*/.exec(text) ?? [];
  const isName = network.machine(first) !== undefined || first.startsWith('pod/');
  const start = isName ? text.charAt(0) : text.charAt(0).toUpperCase();
  return `${start}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}
