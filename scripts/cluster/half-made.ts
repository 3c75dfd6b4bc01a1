import type { RemoteMachine } from '../exec/ssh.ts';
import type { Emit } from '../shared/events.ts';
import { readAsset } from '../shared/files.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

// Files of which kubeadm writes at least one before it changes anything else, and which its reset removes last.
const TRACES = [
  '/etc/kubernetes/pki/ca.crt',
  '/etc/kubernetes/kubelet.conf',
  '/etc/kubernetes/bootstrap-kubelet.conf',
  '/etc/kubernetes/manifests/kube-apiserver.yaml',
  '/var/lib/kubelet/config.yaml',
];

/**
 * Undoes what a kubeadm that was stopped in the middle has left, which the next one would refuse to touch. `criSocket` is
 * written as that kubeadm wants it.
 */
export async function undoHalfMade(machine: RemoteMachine, criSocket: string, emit: Emit): Promise<void> {
  await endKubeadm(machine);
  const { stdout } = await machine.run(['find', ...TRACES, '-maxdepth', '0'], { okCodes: [0, 1] });
  if (stdout === '') return;
  emit({ type: 'note', text: `${machine.name}: undoing a half-made node` });
  await takeApart(machine, readAsset('manifests', 'kubeadm', 'reset.sh'), criSocket);
}

/** Runs a script that takes a node apart, after the one that an earlier labup may have left running when it was killed. */
export async function takeApart(machine: RemoteMachine, script: string, ...args: string[]): Promise<void> {
  const argv = ['flock', '/run/lab-reset.lock', 'sh', '-c', script, ...args];
  await machine.run(argv, { timeoutMs: TIMEOUTS.provision });
}

// When labup is killed, the kubeadm that it had started goes on without it; two at once undo each other's work.
async function endKubeadm(machine: RemoteMachine): Promise<void> {
  await waitFor({
    what: `an earlier kubeadm on ${machine.name} to end`,
    timeoutMs: TIMEOUTS.command,
    look: async () => {
      const { exitCode } = await machine.run(['pkill', '-KILL', '-x', 'kubeadm'], { okCodes: [0, 1] });
      return exitCode === 1 ? { done: true, value: undefined } : { done: false, why: 'it was still there' };
    },
  });
}
