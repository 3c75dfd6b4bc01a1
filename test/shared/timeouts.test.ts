import { afterEach, expect, it } from 'vitest';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { differences } from '../../scripts/plan/differences.ts';
import { scaleTimeouts, TIMEOUTS } from '../../scripts/shared/timeouts.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { planOf } from '../matrix/fixtures.ts';

const usual = { ...TIMEOUTS };
afterEach(() => scaleTimeouts());

it('every wait is as many times as long as lab.yaml says, that of kubectl too', async () => {
  const plan = planOf('version: 1\ntimeouts: { scale: 10 }\n');
  scaleTimeouts(plan.timeouts?.scale);
  for (const [name, ms] of Object.entries(usual))
    expect([name, { ...TIMEOUTS }]).toEqual([name, expect.objectContaining({ [name]: ms * 10 })]);
  const executor = recordingExecutor(() => '');
  await kubectlWith(executor, { binary: 'kubectl', kubeconfig: 'k' }).run(['get', 'nodes']);
  expect(executor.lines()[0]).toContain('--request-timeout 200s');
  scaleTimeouts(planOf().timeouts?.scale);
  expect(TIMEOUTS).toEqual(usual);
});

it('how long is waited may change while the lab is up', () => {
  expect(differences(planOf(), planOf('version: 1\ntimeouts: { scale: 10 }\n'))).toEqual([]);
});
