import { type Check, checkId, makeCheck, unseenCheck } from '../../bgp/checks/check.ts';
import { MODELLED_MODES, type ObservedState } from './types.ts';

/** The check that the cells depend on whose way leads over the machine. */
export function stateCheckId(machine: string): string {
  return checkId('state', { machine });
}

/** Whether all that expectations follow from could be read, and whether kube-proxy is one that is modelled. */
export function checkState({ machines, ...state }: ObservedState): readonly Check[] {
  const all = [state.proxy, ...state.nodes.flatMap((node) => node.proxy ?? [])];
  const other = all.find(({ mode, problem }) => !MODELLED_MODES.includes(mode) || problem !== undefined);
  const isModelled = other === undefined;
  const proxy = other ?? state.proxy;
  return [
    ...[...machines.values()].map(({ name, problem, routes, unread = [] }) =>
      problem === undefined
        ? makeCheck(
            'state',
            { machine: name },
            {
              ...(unread.length > 0 ? { verdict: 'skipped' } : {}),
              reason: unread.length > 0 ? 'partly-read' : 'as-wanted',
              wanted: {},
              seen: { routes: routes.length, unread },
            },
          )
        : unseenCheck('state', { machine: name }, {}, { fault: 'harness', detail: problem }),
    ),
    makeCheck(
      'proxy-mode',
      {},
      {
        ...(isModelled ? {} : { verdict: 'skipped' }),
        reason: isModelled ? 'as-wanted' : proxy.problem === undefined ? 'not-modelled' : 'not-read',
        wanted: { mode: 'iptables' },
        seen: { mode: proxy.mode },
        ...(proxy.problem === undefined ? {} : { problem: proxy.problem }),
      },
    ),
  ];
}
