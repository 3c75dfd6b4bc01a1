import type { Check } from '../../bgp/checks/check.ts';
import type { ObservedState } from './types.ts';

/** The check that the cells depend on whose way leads over the machine. */
export function stateCheckId(machine: string): string {
  return `state.${machine}`;
}

/** Whether all that expectations follow from could be read, and whether kube-proxy is one that is modelled. */
export function checkState({ machines, proxy }: ObservedState): readonly Check[] {
  return [
    ...[...machines.values()].map(
      ({ name, problem, routes, unread = [] }): Check => ({
        id: stateCheckId(name),
        title: `${name} says what its routes and rules are`,
        verdict: problem !== undefined ? 'harness' : unread.length > 0 ? 'skipped' : 'passed',
        expected: 'an answer',
        observed:
          problem ??
          (unread.length > 0
            ? `not understood, so left out: ${unread.join('; ')}`
            : `${routes.length} routes`),
        why: 'What must happen follows from what is there, so it has to be looked at first.',
      }),
    ),
    {
      id: 'state.kube-proxy',
      title: 'kube-proxy is set up in a way that is modelled',
      verdict: proxy.mode === 'iptables' ? 'passed' : 'skipped',
      expected: 'iptables mode',
      observed: proxy.problem ?? `${proxy.mode} mode`,
      why: 'Which backend and which source address a connection gets is decided by its rules.',
    },
  ];
}
