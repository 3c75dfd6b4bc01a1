import { type Action, KUBECTL } from '../selftest/fault.ts';
import type { Scenario } from './scenario.ts';

/**
 * What takes everything of a scenario away. Pods by force: kubelet 1.20 keeps a pod in the API for up to 70 s after its
 * containers have ended, and the namespace with it.
 */
export function undoOf({ namespaces, undo = [] }: Pick<Scenario, 'namespaces' | 'undo'>): readonly Action[] {
  return [
    ...undo,
    ...namespaces.flatMap((name): readonly Action[] => [
      { on: KUBECTL, argv: ['delete', 'namespace', name, '--ignore-not-found', '--wait=false'] },
      {
        on: KUBECTL,
        argv: ['delete', 'pods', '-n', name, '--all', '--force', '--grace-period', '0', '--wait=false'],
      },
    ]),
  ];
}
