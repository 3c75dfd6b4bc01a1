import type { RemoteMachine } from '../exec/ssh.ts';
import { type LabPlan, theMachine } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { isJoined } from './kubeadm.ts';

/** Where kubeadm keeps the kubelet's flags, --node-ip among them. */
const FLAGS = '/var/lib/kubelet/kubeadm-flags.env';
const NODE_IP = /--node-ip=([\d.]+)/g;

// The file, and the kubelet that runs: a labup that was killed may have written the one and not restarted the other.
const LOOK = `cat "$0"; echo; tr '\\0' ' ' < "/proc/$(systemctl show --property MainPID --value kubelet.service)/cmdline"`;

/**
 * Refuses a control plane that has another address than the cluster on it was made with: its certificates, etcd's member
 * and every kubeconfig name that one. Throws UserError; a machine without a cluster may have any address.
 */
export async function requireSameAddress(machine: RemoteMachine, plan: LabPlan): Promise<void> {
  const { name, address } = theMachine(plan, 'control-plane');
  if (!(await isJoined(machine))) return;
  const other = (await nodeAddresses(machine)).find((each) => each !== address);
  if (other === undefined) return;
  throw new UserError(`${name} has ${address} now, and the cluster on it was made with ${other}.`, {
    details: [
      "kubeadm's certificates, etcd and the workers' kubelets name the old address, so this cluster cannot be kept",
      'nothing was changed in the machines; the others could have followed',
    ],
    next: 'npx labdown --yes && npx labup --yes   (multipass.network.mode: static keeps addresses)',
  });
}

/**
 * A node that has joined follows its machine to another address: its kubelet is told, and tells the API server. Returns
 * whether it had to.
 */
export async function ensureNodeAddress(
  machine: RemoteMachine,
  address: string,
  emit: Emit,
): Promise<boolean> {
  const others = (await nodeAddresses(machine)).filter((each) => each !== address);
  if (others.length === 0) return false;
  emit({ type: 'note', text: `${machine.name}: its node moves from ${others[0]} to ${address}` });
  const { stdout } = await machine.run(['cat', FLAGS]);
  const content = stdout.replaceAll(NODE_IP, `--node-ip=${address}`);
  await machine.writeFiles([{ path: FLAGS, content }]);
  await machine.run(['systemctl', 'restart', 'kubelet'], { timeoutMs: TIMEOUTS.command });
  return true;
}

/** The addresses that a node's kubelet has been told, by its flags and by the process; none where there is no node. */
async function nodeAddresses(machine: RemoteMachine): Promise<readonly string[]> {
  // 1: the file or the process is not there.
  const { stdout } = await machine.run(['sh', '-c', LOOK, FLAGS], { okCodes: [0, 1, 2] });
  return [...stdout.matchAll(NODE_IP)].flatMap(([, address]) => address ?? []);
}
