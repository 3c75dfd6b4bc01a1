import { expect, it } from 'vitest';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { applyManifests } from '../../scripts/workloads/apply.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';

/** What a real API server says before its controller manager runs. */
const NO_ACCOUNT =
  'Error from server (Forbidden): error when creating "STDIN": pods "echo-server1" is forbidden: error looking up service account echo-server/default: serviceaccount "default" not found\n';

it('manifests are applied again once the controller manager has made the service account, and not before', async () => {
  const replies: Reply[] = [
    { exitCode: 1, stdout: 'namespace/echo-server created\n', stderr: NO_ACCOUNT },
    { exitCode: 1, stderr: 'Error from server (NotFound): serviceaccounts "default" not found\n' },
    'default   0   1s\n',
    'namespace/echo-server unchanged\npod/echo-server1 created\n',
  ];
  const local = recordingExecutor(() => replies.shift());
  const kubectl = kubectlWith(local, { binary: 'kubectl', kubeconfig: 'kubeconfig' });
  expect(await applyManifests(kubectl, 'kind: Pod\n')).toBe(true);
  const asked = local.calls.map(
    ({ argv }) => /(apply|get serviceaccount default -n \S+)/.exec(argv.join(' '))?.[0],
  );
  const account = 'get serviceaccount default -n echo-server';
  expect(asked).toEqual(['apply', account, account, 'apply']);
});
