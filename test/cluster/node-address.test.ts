import { describe, expect, it } from 'vitest';
import { ensureNodeAddress, requireSameAddress } from '../../scripts/cluster/node-address.ts';
import { type LabEvent, silent } from '../../scripts/shared/events.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';
import { currentPlan, labPlan } from '../render/fixture.ts';

const plan = labPlan();
const FLAGS = '/var/lib/kubelet/kubeadm-flags.env';
/** As kubeadm 1.20 writes it. */
const file = (address: string) =>
  `KUBELET_KUBEADM_ARGS="--network-plugin=cni --node-ip=${address} --pod-infra-container-image=lab/pause:3.2"\n`;
const running = (address: string) =>
  `/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml --node-ip=${address} `;

/** A machine whose file says `written` and whose kubelet runs with `told`. */
function node(written: string, told: string, done = true) {
  const executor = recordingExecutor((argv): Reply => {
    const line = argv.join(' ');
    if (line.startsWith('test -e')) return { exitCode: done ? 0 : 1 };
    if (line === `cat ${FLAGS}`) return file(written);
    return line.startsWith('sh -c cat "$0"') ? `${file(written)}\n${running(told)}` : '';
  });
  return { executor, machine: fakeMachine('k8smaster1', executor) };
}

describe('a node whose machine has moved', () => {
  it.each([
    ['as a whole', '192.168.13.35', '192.168.13.35'],
    ['where a killed labup has written the file only', '192.168.13.99', '192.168.13.35'],
  ])('follows it: %s', async (_, written, told) => {
    const { executor, machine } = node(written, told);
    const events: LabEvent[] = [];
    expect(await ensureNodeAddress(machine, plan, '192.168.13.99', (event) => events.push(event))).toBe(true);
    if (written !== '192.168.13.99') expect(machine.files.get(FLAGS)?.content).toBe(file('192.168.13.99'));
    expect(executor.lines().at(-1)).toBe('systemctl restart kubelet.service');
    expect(events).toEqual([
      { type: 'note', text: 'k8smaster1: its node moves from 192.168.13.35 to 192.168.13.99' },
    ]);
  });

  it('follows it with k3s too', async () => {
    const config = (address: string) =>
      `node-name: k8sworker1\nnode-ip: ${address}\nserver: https://192.168.13.30:6443\n`;
    const executor = recordingExecutor((argv) => (/cat/.test(argv.join(' ')) ? config('192.168.13.35') : ''));
    const machine = fakeMachine('k8sworker1', executor);
    expect(await ensureNodeAddress(machine, currentPlan('k3s'), '192.168.13.99', silent)).toBe(true);
    expect(machine.files.get('/etc/rancher/k3s/config.yaml')?.content).toBe(config('192.168.13.99'));
    expect(executor.lines().at(-1)).toBe('systemctl restart k3s-agent.service');
  });

  it('is left alone where it is', async () => {
    const { executor, machine } = node('192.168.13.35', '192.168.13.35');
    expect(await ensureNodeAddress(machine, plan, '192.168.13.35', silent)).toBe(false);
    expect(executor.lines()).toHaveLength(1);
    expect(machine.files.size).toBe(0);
  });
});

describe('a control plane', () => {
  it('is refused at another address, and not touched', async () => {
    const { executor, machine } = node('192.168.13.99', '192.168.13.99');
    await expect(requireSameAddress(machine, plan)).rejects.toMatchObject({
      exitCode: 2,
      message: 'k8smaster1 has 192.168.13.30 now, and the cluster on it was made with 192.168.13.99.',
      next: expect.stringContaining('npx labdown --yes && npx labup --yes'),
    });
    expect(executor.lines().every((line) => /^(test -e|sh -c cat)/.test(line))).toBe(true);
    expect(machine.files.size).toBe(0);
  });

  it.each([
    ['at its own', node('192.168.13.30', '192.168.13.30')],
    ['that is half made, at any', node('192.168.13.99', '192.168.13.99', false)],
  ])('is taken %s', async (_, { machine }) => {
    await requireSameAddress(machine, plan);
  });
});
