import type { RemoteMachine } from '../exec/ssh.ts';
import { type LabPlan, theMachine } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import type { DistributionName } from '../spec/types.ts';
import { distributionOf } from './choose-distribution.ts';

/** The file in which a worker's kubelet is told its address, and the unit that it runs in. */
const TOLD: Readonly<Record<DistributionName, { readonly file: string; readonly unit: string }>> = {
  kubeadm: { file: '/var/lib/kubelet/kubeadm-flags.env', unit: 'kubelet.service' },
  k3s: { file: '/etc/rancher/k3s/config.yaml', unit: 'k3s-agent.service' },
};
/** kubeadm's --node-ip=ADDRESS, k3s' node-ip: ADDRESS. */
const NODE_IP = /(node-ip(?:=|: *))([\d.]+)/g;

// The file, and the program that runs: a labup that was killed may have written the one and not restarted the other.
const LOOK = `cat "$0"; echo; tr '\\0' ' ' < "/proc/$(systemctl show --property MainPID --value "$1")/cmdline"`;

/**
 * Refuses a control plane that has another address than the cluster on it was made with: its certificates, etcd's member
 * and every kubeconfig name that one. Throws UserError; a machine without a cluster may have any address.
 */
export async function requireSameAddress(machine: RemoteMachine, plan: LabPlan): Promise<void> {
  const { name, address } = theMachine(plan, 'control-plane');
  if (!(await distributionOf(plan).isJoined(machine))) return;
  const other = (await nodeAddresses(machine, plan)).find((each) => each !== address);
  if (other === undefined) return;
  throw new UserError(`${name} has ${address} now, and the cluster on it was made with ${other}.`, {
    details: [
      "its certificates, its database and the workers' kubelets name the old address, so this cluster cannot be kept",
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
  plan: LabPlan,
  address: string,
  emit: Emit,
): Promise<boolean> {
  const others = (await nodeAddresses(machine, plan)).filter((each) => each !== address);
  if (others.length === 0) return false;
  emit({ type: 'note', text: `${machine.name}: its node moves from ${others[0]} to ${address}` });
  const { file, unit } = TOLD[plan.choices.distribution.value];
  const { stdout } = await machine.run(['cat', file]);
  const content = stdout.replaceAll(NODE_IP, `$1${address}`);
  await machine.writeFiles([{ path: file, content }]);
  await machine.run(['systemctl', 'restart', unit], { timeoutMs: TIMEOUTS.command });
  return true;
}

/** The addresses that a node's kubelet has been told, by its flags and by the process; none where there is no node. */
async function nodeAddresses(machine: RemoteMachine, { choices }: LabPlan): Promise<readonly string[]> {
  // 1: the file or the process is not there.
  const { file, unit } = TOLD[choices.distribution.value];
  const { stdout } = await machine.run(['sh', '-c', LOOK, file, unit], { okCodes: [0, 1, 2] });
  return [...stdout.matchAll(NODE_IP)].flatMap(([, , address]) => address ?? []);
}
