import { createHash, X509Certificate } from 'node:crypto';
import type { RemoteMachine } from '../exec/ssh.ts';
import { lookAtNode } from '../machines/deliver.ts';
import type { LabPlan } from '../plan/types.ts';
import { criSocket, kubeadmApi, renderKubeadmInit, renderKubeadmJoin } from '../render/kubeadm.ts';
import { renderResolvConf } from '../render/runtime.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import type { Distribution } from './distribution.ts';
import { undoHalfMade } from './half-made.ts';
import { ensureJoinToken } from './join-token.ts';
import { installKubeadm } from './kubeadm-install.ts';
import { withNodeReasons } from './node-reasons.ts';

/** Written when kubeadm has ended well, so that a half-made node is told from a whole one. */
const DONE = '/etc/kubernetes/lab-done';
const CA = '/etc/kubernetes/pki/ca.crt';

/** Kubernetes as `kubeadm init` and `kubeadm join` make it: Debian's 1.20 and what is current, by one way. */
export const kubeadmDistribution: Distribution = {
  name: 'kubeadm',
  install: installKubeadm,
  // Started here, so that no join waits for it.
  prepareWorker: startContainerd,

  async ensureControlPlane(machine, { plan, secrets, emit }) {
    await startContainerd(machine);
    if (await isDone(machine)) return false;
    await undoHalfMade(machine, criSocket(plan.kubernetes.version), emit);
    const config = {
      path: '/etc/kubernetes/lab-init.yaml',
      content: renderKubeadmInit(plan, secrets, await cgroupDriverOf(machine, plan)),
      mode: 0o600,
    };
    await machine.writeFiles([config, ...resolvConfOf(plan)]);
    const args = ['init', '--config', config.path, '--skip-phases', skipped(plan), '--skip-token-print'];
    const onLine = (line: string) => noteOf(line, emit);
    const run = machine.run(['kubeadm', ...args], { timeoutMs: TIMEOUTS.provision, onLine });
    await withNodeReasons(machine, run);
    await finish(machine, config.path);
    return true;
  },

  async readAdminAccess(machine) {
    const [kubeconfig, ca] = await Promise.all([
      machine.run(['cat', '/etc/kubernetes/admin.conf']),
      machine.run(['cat', CA]),
    ]);
    return { kubeconfig: kubeconfig.stdout, ca: ca.stdout };
  },

  async isJoined(machine, ca) {
    if (!(await isDone(machine))) return false;
    return ca === undefined || (await machine.run(['cat', CA], { okCodes: [0, 1] })).stdout === ca;
  },

  async clearWorker(machine, _ca, { plan, emit }) {
    await undoHalfMade(machine, criSocket(plan.kubernetes.version), emit);
    return true;
  },

  prepareJoin: (kubectl, { secrets, emit, signal }) => ensureJoinToken(kubectl, secrets, emit, signal),

  async join(machine, node, ca, { plan, secrets, emit }) {
    const content = renderKubeadmJoin(plan, node, secrets, caCertHash(ca));
    const config = { path: '/etc/kubernetes/lab-join.yaml', content, mode: 0o600 };
    await machine.writeFiles([config, ...resolvConfOf(plan)]);
    const args = ['join', '--config', config.path, '--skip-phases', 'preflight'];
    const onLine = (line: string) => noteOf(`${node.name}: ${line}`, emit);
    const run = machine.run(['kubeadm', ...args], { timeoutMs: TIMEOUTS.provision, onLine });
    await withNodeReasons(machine, run);
    await finish(machine, config.path);
  },
};

/** kubeadm's discovery hash: "sha256:" and the SHA-256 of the CA's public key in DER (SubjectPublicKeyInfo). */
export function caCertHash(pem: string): string {
  const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

// Preflight asks for what the lab has checked of the host already, and for what no container has: kernel modules to load,
// the kernel's configuration, no swap; of 1.20 also for crictl, which Debian 12 lacks.
function skipped({ kubernetes }: LabPlan): string {
  return kubernetes.dns === 'coredns' ? 'preflight' : 'preflight,addon/coredns';
}

// kubelet is enabled for reboots; it is kubeadm that starts it the first time. To enable a unit again has systemd read all
// of them again, which takes ten times as long as asking.
const START_CONTAINERD = `
for unit; do systemctl is-enabled --quiet "$unit" || systemctl enable --quiet "$unit"; done
systemctl start containerd`;

async function startContainerd(machine: RemoteMachine): Promise<void> {
  await machine.run(['sh', '-ec', START_CONTAINERD, 'sh', 'containerd', 'kubelet'], {
    timeoutMs: TIMEOUTS.containerd,
  });
}

// Asked only where there is a choice; see installKubeadm, which decides the same for containerd.
async function cgroupDriverOf(machine: RemoteMachine, { kubernetes }: LabPlan) {
  if (kubeadmApi(kubernetes.version) === 'v1beta2') return undefined;
  return (await lookAtNode(machine)).cgroupDriver;
}

function resolvConfOf(plan: LabPlan) {
  const isOwn = kubeadmApi(plan.kubernetes.version) !== 'v1beta2';
  return isOwn ? [renderResolvConf(plan)] : [];
}

async function finish(machine: RemoteMachine, config: string): Promise<void> {
  await machine.run(['rm', config]);
  await machine.run(['touch', DONE]);
}

async function isDone(machine: RemoteMachine): Promise<boolean> {
  return (await machine.run(['test', '-e', DONE], { okCodes: [0, 1] })).exitCode === 0;
}

function noteOf(line: string, emit: Emit): void {
  const phase = /\[([a-z-]+)\] (.+)/.exec(line);
  if (phase) emit({ type: 'note', text: line.slice(0, 100) });
}
