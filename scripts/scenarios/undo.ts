import type { LabPlan } from '../plan/types.ts';
import { type Action, KUBECTL } from '../selftest/fault.ts';
import type { Facts } from './facts.ts';
import type { Scenario, Typed } from './scenario.ts';
import { resolved } from './words.ts';

/** What is typed, with what is known on this lab. Throws NotThere. */
export function actionOf({ on, argv, input }: Typed, facts: Facts): Action {
  return {
    on: resolved(on, facts),
    argv: argv.map((each) => resolved(each, facts)),
    ...(input === undefined ? {} : { input: resolved(input, facts) }),
  };
}

/**
 * What takes everything of a scenario away. Pods by force: kubelet 1.20 keeps a pod in the API for up to 70 s after its
 * containers have ended, and the namespace with it.
 */
export function undoOf(
  plan: LabPlan,
  { namespaces, undo = [] }: Pick<Scenario, 'namespaces' | 'undo'>,
): readonly Action[] {
  const facts: Facts = {
    plan,
    pods: [],
    services: [],
    after: (step) => {
      throw new Error(`what undoes a scenario must not depend on its step ${step}`);
    },
  };
  return [
    ...undo.map((each) => actionOf(each, facts)),
    ...namespaces.flatMap((name): readonly Action[] => [
      { on: KUBECTL, argv: ['delete', 'namespace', name, '--ignore-not-found', '--wait=false'] },
      {
        on: KUBECTL,
        argv: ['delete', 'pods', '-n', name, '--all', '--force', '--grace-period', '0', '--wait=false'],
      },
    ]),
  ];
}
