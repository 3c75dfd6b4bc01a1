import type { Expectation, Observation } from '../matrix/types.ts';

/** An expectation in one line: "ok from 10.255.0.70, seen as 192.168.13.40", or just the outcome. */
export function describeExpected({ outcome, servers, clients }: Expectation): string {
  if (outcome !== 'ok') return outcome;
  return `ok from ${oneOf(servers)}, seen as ${oneOf(clients)}`;
}

/** An observation in one line, in the same form. */
export function describeObserved(observed: Observation | null): string {
  if (observed === null) return 'not tried';
  const { outcome, server, client, attempts } = observed;
  const answer = server === null ? outcome : `${outcome} from ${server}, seen as ${client}`;
  return attempts > 1 ? `${answer} (${attempts} attempts)` : answer;
}

function oneOf(addresses: readonly string[]): string {
  return addresses.join(' or ') || 'nobody';
}
