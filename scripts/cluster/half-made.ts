import type { RemoteMachine } from '../exec/ssh.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

// Files of which kubeadm writes at least one before it changes anything else.
const TRACES = [
  '/etc/kubernetes/pki/ca.crt',
  '/etc/kubernetes/kubelet.conf',
  '/etc/kubernetes/bootstrap-kubelet.conf',
  '/etc/kubernetes/manifests/kube-apiserver.yaml',
  '/var/lib/kubelet/config.yaml',
];

// "kubeadm reset" of 1.20 removes containers with crictl, which Debian 12 lacks, so they are removed here; containerd
// forgets their sandboxes when it restarts.
const REMOVE_CONTAINERS = `
for id in $(ctr -n k8s.io tasks list -q); do ctr -n k8s.io tasks rm --force "$id" >/dev/null || true; done
for id in $(ctr -n k8s.io containers list -q); do ctr -n k8s.io containers rm "$id"; done
systemctl restart containerd
`;

/**
 * Undoes what a kubeadm that was stopped in the middle has left, which the next one would refuse to touch. `criSocket` is
 * written as that kubeadm wants it.
 */
export async function undoHalfMade(machine: RemoteMachine, criSocket: string, emit: Emit): Promise<void> {
  await endKubeadm(machine);
  const { stdout } = await machine.run(['find', ...TRACES, '-maxdepth', '0'], { okCodes: [0, 1] });
  if (stdout === '') return;
  emit({ type: 'note', text: `${machine.name}: undoing a half-made node` });
  await machine.run(['kubeadm', 'reset', '--force', '--cri-socket', criSocket], {
    timeoutMs: TIMEOUTS.provision,
  });
  await machine.run(['sh', '-c', REMOVE_CONTAINERS], { timeoutMs: TIMEOUTS.command });
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
