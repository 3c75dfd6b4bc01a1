import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseDocument } from 'yaml';
import type { Executor } from '../exec/executor.ts';
import type { RemoteMachine } from '../exec/ssh.ts';
import { type LabPlan, machinesOf, theMachine } from '../plan/types.ts';
import { kubeadmApi, renderKubeadmInit } from '../render/kubeadm.ts';
import { type RenderedFile, writeAtomic } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import type { Credentials } from './distribution.ts';
import { type KubeletCertificates, makeKubeletCertificates } from './kubelet-certificates.ts';

const KUBERNETES = '/etc/kubernetes';
const KUBELET_PKI = '/var/lib/kubelet/pki';
const CLIENT_PEM = `${KUBELET_PKI}/kubelet-client-current.pem`;

/** Whether a plan's nodes can be given their credentials beforehand; where not they get them by `kubeadm join`. */
export function makesCredentials({ choices, kubernetes }: LabPlan): boolean {
  return choices.distribution.value === 'kubeadm' && kubeadmApi(kubernetes.version) === 'v1beta2';
}

/**
 * Makes on this host, with kubeadm itself, every certificate and kubeconfig that `kubeadm init` makes, and the certificates
 * of each kubelet, whose client certificate a bootstrap token otherwise gets from the control plane. The folder holds
 * the CA's key only meanwhile: afterwards it is on the control plane alone, where kubeadm has it.
 * https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init-phase/
 */
export async function makeCredentials(
  local: Executor,
  kubeadm: string,
  folder: string,
  plan: LabPlan,
  secrets: Secrets,
): Promise<Credentials> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const config = join(folder, 'kubeadm.yaml');
    const made = join(folder, 'kubernetes');
    const pki = join(made, 'pki');
    await writeAtomic(config, renderKubeadmInit(plan, secrets, { certificatesDir: pki }), 0o600);
    const run = (...args: string[]) =>
      local.run([kubeadm, ...args, '--config', config], { timeoutMs: TIMEOUTS.command });
    await run('init', 'phase', 'certs', 'all');
    const [, ...kubelets] = await Promise.all([
      run('init', 'phase', 'kubeconfig', 'all', '--kubeconfig-dir', made),
      ...machinesOf(plan, 'control-plane', 'worker').map(async ({ name }) => {
        return [name, kubeletFiles(await makeKubeletCertificates(local, folder, name, pki))] as const;
      }),
    ]);
    const ca = await readFile(join(pki, 'ca.crt'), 'utf8');
    const first = theMachine(plan, 'control-plane').name;
    const others = await Promise.all([controlPlaneFiles(made), workerFiles(plan, ca)]);
    return {
      ca,
      kubeconfig: await readFile(join(made, 'admin.conf'), 'utf8'),
      files: new Map(
        kubelets.map(([name, files]) => [name, [...files, ...others[name === first ? 0 : 1]]] as const),
      ),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Gives a node its credentials, as kubeadm and kubelet would leave them. */
export async function putCredentials(machine: RemoteMachine, credentials: Credentials): Promise<void> {
  const files = credentials.files.get(machine.name) ?? [];
  const pem = files.find(({ path }) => path.startsWith(`${KUBELET_PKI}/kubelet-client-`))?.path ?? '';
  await machine.writeFiles(files);
  await machine.run(['ln', '--symbolic', '--force', pem, CLIENT_PEM]);
}

/** Everything that kubeadm has made in a folder, which stands for that of Kubernetes on the control plane. */
async function controlPlaneFiles(folder: string): Promise<readonly RenderedFile[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  return Promise.all(
    names
      .filter((entry) => entry.isFile())
      .map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        const [content, { mode }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
        const file = { path: join(KUBERNETES, relative(folder, path)), content, mode: mode & 0o777 };
        return name === 'kubelet.conf' ? rotatable(file) : file;
      }),
  );
}

/** As the phase kubelet-finalize leaves kubelet.conf once kubelet has a certificate of its own. */
function rotatable(file: RenderedFile): RenderedFile {
  const document = parseDocument(file.content);
  document.setIn(['users', 0, 'user'], { 'client-certificate': CLIENT_PEM, 'client-key': CLIENT_PEM });
  return { ...file, content: document.toString({ lineWidth: 0 }) };
}

/** As kubelet itself leaves kubelet.conf after `kubeadm join` has had it bootstrap. */
function workerFiles({ kubernetes }: LabPlan, ca: string): readonly RenderedFile[] {
  const content = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${Buffer.from(ca).toString('base64')}
    server: https://${kubernetes.apiServer}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {}
users:
- name: default-auth
  user:
    client-certificate: ${CLIENT_PEM}
    client-key: ${CLIENT_PEM}
`;
  return [
    { path: `${KUBERNETES}/kubelet.conf`, content, mode: 0o600 },
    { path: `${KUBERNETES}/pki/ca.crt`, content: ca, mode: 0o644 },
  ];
}

/**
 * The certificates where kubelet keeps them: that of the client with its key in one file, which putCredentials links to the
 * name that kubelet reads.
 */
function kubeletFiles({ client, serving }: KubeletCertificates): readonly RenderedFile[] {
  const time = new Date().toISOString().slice(0, 19).replace(/[T:]/g, '-');
  const pem = CLIENT_PEM.replace('current', time);
  return [
    { path: pem, content: client.certificate + client.key, mode: 0o600 },
    { path: `${KUBELET_PKI}/kubelet.crt`, content: serving.certificate, mode: 0o644 },
    { path: `${KUBELET_PKI}/kubelet.key`, content: serving.key, mode: 0o600 },
  ];
}
