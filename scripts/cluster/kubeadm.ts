import { createHash, X509Certificate } from 'node:crypto';
import type { RemoteMachine } from '../exec/ssh.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { renderKubeadmInit, renderKubeadmJoin } from '../render/kubeadm.ts';
import type { Emit } from '../shared/events.ts';
import type { Secrets } from '../shared/secrets.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { undoHalfMade } from './half-made.ts';

// kubeadm's preflight asks for crictl, which Debian 12 lacks; the lab has checked the host already. CoreDNS has no
// Debian package: the lab brings its own cluster DNS.
const INIT_SKIP = 'preflight,addon/coredns';

/** Written when kubeadm has ended well, so that a half-made node is told from a whole one. */
const DONE = '/etc/kubernetes/lab-done';

/** Starts containerd on a node and waits for its socket. */
export async function ensureContainerd(machine: RemoteMachine): Promise<void> {
  // kubelet is enabled for reboots; it is kubeadm that starts it the first time.
  await machine.run(['systemctl', 'enable', '--quiet', 'containerd', 'kubelet']);
  await machine.run(['systemctl', 'start', 'containerd'], { timeoutMs: TIMEOUTS.containerd });
}

/** A control plane made by `kubeadm init`. Returns whether it had to be made. */
export async function ensureControlPlane(
  machine: RemoteMachine,
  plan: LabPlan,
  secrets: Secrets,
  emit: Emit,
): Promise<boolean> {
  if (await isDone(machine)) return false;
  await undoHalfMade(machine, emit);
  const config = {
    path: '/etc/kubernetes/lab-init.yaml',
    content: renderKubeadmInit(plan, secrets),
    mode: 0o600,
  };
  await machine.writeFiles([config]);
  const args = ['init', '--config', config.path, '--skip-phases', INIT_SKIP, '--skip-token-print'];
  const onLine = (line: string) => noteOf(line, emit);
  await machine.run(['kubeadm', ...args], { timeoutMs: TIMEOUTS.provision, onLine });
  await machine.run(['rm', config.path]);
  await machine.run(['touch', DONE]);
  return true;
}

/** Whether this machine has joined the cluster with everything that `kubeadm join` does. */
export async function isJoined(machine: RemoteMachine): Promise<boolean> {
  return isDone(machine);
}

/** Joins a worker with `kubeadm join`, after undoing what an earlier try left. The join token must be usable. */
export async function join(
  machine: RemoteMachine,
  node: MachinePlan,
  plan: LabPlan,
  secrets: Secrets,
  caCertificate: string,
  emit: Emit,
): Promise<void> {
  await undoHalfMade(machine, emit);
  const content = renderKubeadmJoin(plan, node, secrets, caCertHash(caCertificate));
  const config = { path: '/etc/kubernetes/lab-join.yaml', content, mode: 0o600 };
  await machine.writeFiles([config]);
  const args = ['join', '--config', config.path, '--skip-phases', 'preflight'];
  const onLine = (line: string) => noteOf(`${node.name}: ${line}`, emit);
  await machine.run(['kubeadm', ...args], { timeoutMs: TIMEOUTS.provision, onLine });
  await machine.run(['rm', config.path]);
  await machine.run(['touch', DONE]);
}

/** The administrator's kubeconfig and the cluster's CA certificate (PEM), read from the control plane. */
export async function readAdminAccess(machine: RemoteMachine): Promise<{ kubeconfig: string; ca: string }> {
  const [kubeconfig, ca] = await Promise.all([
    machine.run(['cat', '/etc/kubernetes/admin.conf']),
    machine.run(['cat', '/etc/kubernetes/pki/ca.crt']),
  ]);
  return { kubeconfig: kubeconfig.stdout, ca: ca.stdout };
}

/** kubeadm's discovery hash: "sha256:" and the SHA-256 of the CA's public key in DER (SubjectPublicKeyInfo). */
export function caCertHash(pem: string): string {
  const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

async function isDone(machine: RemoteMachine): Promise<boolean> {
  return (await machine.run(['test', '-e', DONE], { okCodes: [0, 1] })).exitCode === 0;
}

function noteOf(line: string, emit: Emit): void {
  const phase = /\[([a-z-]+)\] (.+)/.exec(line);
  if (phase) emit({ type: 'note', text: line.slice(0, 100) });
}
