import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { parse, parseDocument } from 'yaml';
import type { Executor } from '../exec/executor.ts';
import type { RemoteMachine } from '../exec/ssh.ts';
import { type LabPlan, machinesOf, theMachine } from '../plan/types.ts';
import { kubeadmApi, renderKubeadmInit } from '../render/kubeadm.ts';
import { type RenderedFile, writeAtomic } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import type { Credentials } from './distribution.ts';

const KUBERNETES = '/etc/kubernetes';
const CLIENT_PEM = '/var/lib/kubelet/pki/kubelet-client-current.pem';

interface Kubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string } },
  ];
  readonly users: readonly [
    { readonly user: { readonly 'client-certificate-data': string; readonly 'client-key-data': string } },
  ];
}

/** Whether a plan's nodes can be given their credentials beforehand; where not they get them by `kubeadm join`. */
export function makesCredentials({ choices, kubernetes }: LabPlan): boolean {
  return choices.distribution.value === 'kubeadm' && kubeadmApi(kubernetes.version) === 'v1beta2';
}

/**
 * Makes on this host, with kubeadm itself, every certificate and kubeconfig that `kubeadm init` makes, and a client
 * certificate for each worker's kubelet, which otherwise a bootstrap token gets from the control plane. The folder holds
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
    await writeAtomic(
      config,
      renderKubeadmInit(plan, secrets, { certificatesDir: join(folder, 'pki') }),
      0o600,
    );
    const run = async (...args: string[]) =>
      (await local.run([kubeadm, ...args, '--config', config], { timeoutMs: TIMEOUTS.command })).stdout;
    await run('init', 'phase', 'certs', 'all');
    const user = (name: string) =>
      run('alpha', 'kubeconfig', 'user', '--client-name', `system:node:${name}`, '--org', 'system:nodes');
    const [, ...workers] = await Promise.all([
      run('init', 'phase', 'kubeconfig', 'all', '--kubeconfig-dir', folder),
      ...machinesOf(plan, 'worker').map(async ({ name }) => [name, workerFiles(await user(name))] as const),
    ]);
    const first = await controlPlaneFiles(folder);
    return {
      ca: await readFile(join(folder, 'pki/ca.crt'), 'utf8'),
      kubeconfig: await readFile(join(folder, 'admin.conf'), 'utf8'),
      files: new Map([[theMachine(plan, 'control-plane').name, first], ...workers]),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Gives a node its credentials, as kubeadm and kubelet would leave them. */
export async function putCredentials(machine: RemoteMachine, credentials: Credentials): Promise<void> {
  const files = credentials.files.get(machine.name) ?? [];
  const pem = files.find(({ path }) => path.startsWith(dirname(CLIENT_PEM)))?.path ?? '';
  await machine.writeFiles(files);
  await machine.run(['ln', '--symbolic', '--force', pem, CLIENT_PEM]);
}

async function controlPlaneFiles(folder: string): Promise<readonly RenderedFile[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const made = names.filter((entry) => entry.isFile() && !entry.name.endsWith('.yaml'));
  const files = await Promise.all(
    made.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      const [content, { mode }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
      return { path: join(KUBERNETES, relative(folder, path)), content, mode: mode & 0o777 };
    }),
  );
  return files.flatMap((file) => (file.path === `${KUBERNETES}/kubelet.conf` ? rotatable(file) : [file]));
}

/** As the phase kubelet-finalize leaves kubelet.conf once kubelet has a certificate of its own. */
function rotatable(file: RenderedFile): readonly RenderedFile[] {
  const document = parseDocument(file.content);
  document.setIn(['users', 0, 'user'], { 'client-certificate': CLIENT_PEM, 'client-key': CLIENT_PEM });
  return [{ ...file, content: document.toString({ lineWidth: 0 }) }, clientPem(file.content)];
}

/** As kubelet itself leaves kubelet.conf and its certificate after `kubeadm join` has had it bootstrap. */
function workerFiles(kubeconfig: string): readonly RenderedFile[] {
  const { clusters } = parse(kubeconfig) as Kubeconfig;
  const { server, 'certificate-authority-data': ca } = clusters[0].cluster;
  const content = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${ca}
    server: ${server}
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
    { path: `${KUBERNETES}/pki/ca.crt`, content: decoded(ca), mode: 0o644 },
    clientPem(kubeconfig),
  ];
}

/** Certificate and key in one file, as kubelet keeps them; putCredentials links it to the name that kubelet reads. */
function clientPem(kubeconfig: string): RenderedFile {
  const { user } = (parse(kubeconfig) as Kubeconfig).users[0];
  const content = decoded(user['client-certificate-data']) + decoded(user['client-key-data']);
  const time = new Date().toISOString().slice(0, 19).replace(/[T:]/g, '-');
  return { path: CLIENT_PEM.replace('current', time), content, mode: 0o600 };
}

const decoded = (base64: string) => Buffer.from(base64, 'base64').toString();
