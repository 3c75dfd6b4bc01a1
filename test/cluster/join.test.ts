import { describe, expect, it } from 'vitest';
import type { Distribution } from '../../scripts/cluster/distribution.ts';
import { clearedWorkers, joinWorkers } from '../../scripts/cluster/join.ts';
import { k3sDistribution } from '../../scripts/cluster/k3s.ts';
import { kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { type LabPlan, machinesOf } from '../../scripts/plan/types.ts';
import { silent } from '../../scripts/shared/events.ts';
import { CA_CERTIFICATE } from '../fakes/ca.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';
import { currentPlan, labPlan, labSecrets } from '../render/fixture.ts';
import { fakeNode } from './nodes.ts';

/**
 * A cluster whose API has these nodes, all Ready, and workers that answer as `reply` says, else like fresh machines.
 * `history` is what changed it, in order.
 */
function cluster(
  distribution: Distribution,
  plan: LabPlan,
  registered: readonly string[],
  reply: (machine: string, line: string) => Reply | undefined,
) {
  const nodes = new Set(registered);
  const history: string[] = [];
  const secrets = labSecrets(plan);
  const local = recordingExecutor((argv) => {
    const line = argv.join(' ');
    if (line.includes(' get nodes'))
      return JSON.stringify({
        items: [...nodes].map((name) => ({ metadata: { name }, spec: {}, status: {} })),
      });
    if (line.includes(' get configmap'))
      return JSON.stringify({ data: { [`jws-kubeconfig-${secrets.joinToken.split('.')[0]}`]: 'signed' } });
    const [, verb] = /(delete .*)/.exec(line) ?? [];
    if (verb !== undefined) history.push(verb);
    const [, gone] = /delete node (\S+)/.exec(line) ?? [];
    if (gone !== undefined) nodes.delete(gone);
    return '';
  });
  const machines = new Map(
    machinesOf(plan, 'worker').map(({ name }) => {
      const node = fakeNode(name, {
        reply: (line) => {
          if (line.startsWith('flock ')) history.push(`reset ${name}`);
          // As kubeadm does, cmd/kubeadm/app/cmd/phases/join/kubelet.go.
          if (line.startsWith('kubeadm join')) {
            const stderr = `a Node with name "${name}" and status "Ready" already exists in the cluster`;
            if (nodes.has(name)) return { exitCode: 1, stderr };
            history.push(`join ${name}`);
          }
          const fresh = /^(test -e|pkill|find)/.test(line) ? { exitCode: 1 } : undefined;
          return reply(name, line) ?? fresh;
        },
      });
      return [name, node.machine];
    }),
  );
  const kubectl = kubectlWith(local, { binary: 'kubectl', kubeconfig: '/lab/kubeconfig' });
  const workers = { distribution, machines, kubectl, ca: CA_CERTIFICATE };
  const context = { plan, secrets, emit: silent };
  const join = async () => joinWorkers(workers, await clearedWorkers(workers, context), context);
  return { join, history, local };
}

describe('a worker that labup was killed over while it joined', () => {
  const removal = [
    'delete pods --all-namespaces --field-selector spec.nodeName=k8sworker1 --force --grace-period 0',
    'delete node k8sworker1 --ignore-not-found',
  ];
  const isHere = (machine: string, line: string) =>
    machine !== 'k8sworker1' && line.startsWith('test -e') ? '' : undefined;

  it('with kubeadm is reset, then its node leaves the cluster, then it joins', async () => {
    const { join, history } = cluster(
      kubeadmDistribution,
      labPlan(),
      ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'],
      (machine, line) => {
        if (line === 'cat /etc/kubernetes/pki/ca.crt') return CA_CERTIFICATE;
        if (machine === 'k8sworker1' && line.startsWith('find ')) return '/etc/kubernetes/kubelet.conf\n';
        return isHere(machine, line);
      },
    );
    expect(await join()).toBe(true);
    expect(history).toEqual(['reset k8sworker1', ...removal, 'join k8sworker1']);
  });

  it('and was made anew since loses its old node too', async () => {
    const { join, history } = cluster(
      kubeadmDistribution,
      labPlan(),
      ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'],
      (machine, line) => (line === 'cat /etc/kubernetes/pki/ca.crt' ? CA_CERTIFICATE : isHere(machine, line)),
    );
    await join();
    expect(history).toEqual([...removal, 'join k8sworker1']);
  });

  it.each([
    ['of this cluster goes on with its node', CA_CERTIFICATE, []],
    ['of another cluster is reset, and its node goes', 'another', ['reset k8sworker1', ...removal]],
    ['that was made anew has its old node removed', '', removal],
  ])('with k3s an agent %s', async (_, trusted, expected) => {
    const { join, history } = cluster(
      k3sDistribution,
      currentPlan('k3s'),
      ['k8smaster1', 'k8sworker1'],
      (machine, line) => {
        if (line !== 'cat /var/lib/rancher/k3s/agent/server-ca.crt') return isHere(machine, line);
        return machine === 'k8sworker1' ? trusted : CA_CERTIFICATE;
      },
    );
    await join();
    expect(history).toEqual(expected);
  });
});

it('where every worker has joined the cluster is not asked', async () => {
  const { join, history, local } = cluster(kubeadmDistribution, labPlan(), [], (_, line) => {
    if (line === 'cat /etc/kubernetes/pki/ca.crt') return CA_CERTIFICATE;
    return line.startsWith('test -e') ? '' : undefined;
  });
  expect(await join()).toBe(false);
  expect([history, local.calls]).toEqual([[], []]);
});
