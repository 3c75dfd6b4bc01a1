import type { RemoteMachine } from '../exec/ssh.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/**
 * kubeadm runs in a systemd unit of this name. When labup is killed, the kubeadm that it had started goes on without
 * it; by the name the next labup finds and ends it, where two at once would undo each other's work.
 */
const UNIT = 'lab-kubeadm.service';

/** Runs kubeadm on a machine, each line of its output handed to `onLine`. */
export async function runKubeadm(
  machine: RemoteMachine,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<void> {
  const transient = ['systemd-run', '--quiet', '--pipe', '--wait', '--collect', '--unit', UNIT];
  await machine.run([...transient, 'kubeadm', ...args], { timeoutMs: TIMEOUTS.provision, onLine });
}

// Files of which kubeadm writes at least one before it changes anything else.
const TRACES = [
  '/etc/kubernetes/pki/ca.crt',
  '/etc/kubernetes/kubelet.conf',
  '/etc/kubernetes/bootstrap-kubelet.conf',
  '/etc/kubernetes/manifests/kube-apiserver.yaml',
  '/var/lib/kubelet/config.yaml',
];

// "kubeadm reset" removes containers with crictl, which Debian 12 lacks, so they are removed here; containerd forgets
// their sandboxes when it restarts.
const REMOVE_CONTAINERS = `
for id in $(ctr -n k8s.io tasks list -q); do ctr -n k8s.io tasks rm --force "$id" >/dev/null || true; done
for id in $(ctr -n k8s.io containers list -q); do ctr -n k8s.io containers rm "$id"; done
systemctl restart containerd
`;

/** Undoes what a kubeadm that was stopped in the middle has left, which the next one would refuse to touch. */
export async function undoHalfMade(machine: RemoteMachine, emit: Emit): Promise<void> {
  await machine.run(['systemctl', 'stop', UNIT], { okCodes: [0, 5], timeoutMs: TIMEOUTS.command });
  const { stdout } = await machine.run(['find', ...TRACES, '-maxdepth', '0'], { okCodes: [0, 1] });
  if (stdout === '') return;
  emit({ type: 'note', text: `${machine.name}: undoing a half-made node` });
  const socket = '/run/containerd/containerd.sock';
  await machine.run(['kubeadm', 'reset', '--force', '--cri-socket', socket], {
    timeoutMs: TIMEOUTS.provision,
  });
  await machine.run(['sh', '-c', REMOVE_CONTAINERS], { timeoutMs: TIMEOUTS.command });
}
