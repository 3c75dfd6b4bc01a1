import { expect, it } from 'vitest';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { applyManifests, waitForAddresses } from '../../scripts/workloads/apply.ts';
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

it('waits for the addresses of LoadBalancer services, and of those only that have none of their own', async () => {
  const ip = { loadBalancer: { ingress: [{ ip: '2.2.2.2' }] } };
  const list = (status: object) => ({
    items: [
      { metadata: { name: 'lb' }, spec: { type: 'LoadBalancer' }, status },
      { metadata: { name: 'own' }, spec: { type: 'LoadBalancer', externalIPs: ['2.2.2.3'] }, status: {} },
      { metadata: { name: 'np' }, spec: { type: 'NodePort' }, status: { loadBalancer: {} } },
    ],
  });
  const replies = [list({ loadBalancer: {} }), list({}), list(ip)].map((each) => JSON.stringify(each));
  const local = recordingExecutor(() => replies.shift());
  const kubectl = kubectlWith(local, { binary: 'kubectl', kubeconfig: 'kubeconfig' });
  const notes: string[] = [];
  await waitForAddresses(kubectl, 'n', (event) => event.type === 'note' && notes.push(event.text));
  expect(replies).toEqual([]);
  expect(notes.join()).toContain('lb pending');
});
