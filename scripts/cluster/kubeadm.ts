import { createHash, X509Certificate } from 'node:crypto';
import type { RemoteMachine } from '../exec/ssh.ts';
import { lookAtNode } from '../machines/deliver.ts';
import type { LabPlan } from '../plan/types.ts';
import { criSocket, kubeadmApi, renderKubeadmInit, renderKubeadmJoin } from '../render/kubeadm.ts';
import { renderResolvConf } from '../render/runtime.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';
import type { ClusterContext, Distribution } from './distribution.ts';
import { undoHalfMade } from './half-made.ts';
import { ensureJoinToken } from './join-token.ts';
import { putCredentials } from './kubeadm-credentials.ts';
import { installKubeadm } from './kubeadm-install.ts';
import { withNodeReasons } from './node-reasons.ts';

/** Written when kubeadm has ended well, so that a half-made node is told from a whole one. */
const DONE = '/etc/kubernetes/lab-done';
const CA = '/etc/kubernetes/pki/ca.crt';

/** Kubernetes as `kubeadm init` and `kubeadm join` make it: Debian's 1.20 and what is current, by one way. */
export const kubeadmDistribution: Distribution = {
  name: 'kubeadm',
  install: installKubeadm,
  prepareNode: startContainerd,

  async ensureControlPlane(machine, context, prepared) {
    const { plan, secrets, emit, credentials } = context;
    if (await isDone(machine)) {
      await prepared;
      return false;
    }
    await undoHalfMade(machine, criSocket(plan.kubernetes.version), emit);
    if (credentials !== undefined) await putCredentials(machine, credentials);
    const cgroupDriver = await cgroupDriverOf(machine, plan);
    const config = configOf('init', renderKubeadmInit(plan, secrets, { cgroupDriver }));
    await machine.writeFiles([config, ...resolvConfOf(plan)]);
    await prepared;
    const skip = skipped(plan, credentials !== undefined);
    await runKubeadm(
      machine,
      ['init', '--config', config.path, '--skip-phases', skip, '--skip-token-print'],
      (line) => noteOf(line, emit),
    );
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
    const config = configOf('join', renderKubeadmJoin(plan, node, secrets, caCertHash(ca)));
    await machine.writeFiles([config, ...resolvConfOf(plan)]);
    await runKubeadm(machine, ['join', '--config', config.path, '--skip-phases', 'preflight'], (line) =>
      noteOf(`${node.name}: ${line}`, emit),
    );
    await finish(machine, config.path);
  },

  async startWorker(machine, node, context) {
    const { plan, secrets, credentials, emit } = context;
    if (credentials === undefined) throw new Error(`no credentials for ${node.name}`);
    await putCredentials(machine, credentials);
    // A CA certificate without its key would be an external CA, of whose certificates kubeadm wants those of a control plane.
    const options = { node, certificatesDir: '/etc/kubernetes/none' };
    const config = configOf('kubelet', renderKubeadmInit(plan, secrets, options));
    await machine.writeFiles([config]);
    // kubelet tries to register at once and then after 0.1, 0.2, 0.4 ... 7 s: one that starts much too early is late.
    await waitForApiPort(machine, context);
    await runKubeadm(machine, ['init', 'phase', 'kubelet-start', '--config', config.path], (line) =>
      noteOf(`${node.name}: ${line}`, emit),
    );
    await machine.run(['rm', config.path]);
  },

  async completeWorkers(kubectl, machines, { plan }) {
    const socket = `kubeadm.alpha.kubernetes.io/cri-socket=${criSocket(plan.kubernetes.version)}`;
    await kubectl.run(['annotate', '--overwrite', 'node', ...machines.map(({ name }) => name), socket]);
    await Promise.all(machines.map((machine) => machine.run(['touch', DONE])));
  },
};

const configOf = (name: string, content: string) => ({
  path: `/etc/kubernetes/lab-${name}.yaml`,
  content,
  mode: 0o600,
});

async function runKubeadm(
  machine: RemoteMachine,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<void> {
  const run = machine.run(['kubeadm', ...args], { timeoutMs: TIMEOUTS.provision, onLine });
  await withNodeReasons(machine, run);
}

/** Waits until the API server listens, as a machine sees it: it takes seconds more until it is ready. */
export async function waitForApiPort(
  machine: RemoteMachine,
  { plan, signal }: ClusterContext,
): Promise<void> {
  const { hostname, port } = new URL(`https://${plan.kubernetes.apiServer}`);
  await waitFor({
    what: `the API server to listen for ${machine.name}`,
    timeoutMs: TIMEOUTS.provision,
    look: async () => {
      (await machine.dial(hostname, Number(port))).destroy();
      return { done: true, value: undefined };
    },
    next: 'npx lab status',
    signal,
  });
}

/** kubeadm's discovery hash: "sha256:" and the SHA-256 of the CA's public key in DER (SubjectPublicKeyInfo). */
export function caCertHash(pem: string): string {
  const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

// Preflight asks for what the lab has checked of the host already, and for what no container has: kernel modules to load,
// the kernel's configuration, no swap; of 1.20 also for crictl, which Debian 12 lacks.
function skipped({ kubernetes }: LabPlan, hasCredentials: boolean): string {
  return [
    'preflight',
    ...(kubernetes.dns === 'coredns' ? [] : ['addon/coredns']),
    // It would restart kubelet to make it use the certificate that it has used from the beginning.
    ...(hasCredentials ? ['kubelet-finalize'] : []),
  ].join(',');
}

// kubelet is enabled for reboots; it is kubeadm that starts it the first time. systemd need not read
// all units again for that.
const START_CONTAINERD = `
for unit; do systemctl is-enabled --quiet "$unit" || systemctl enable --quiet --no-reload "$unit"; done
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
