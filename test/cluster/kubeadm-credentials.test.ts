import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import type { Credentials } from '../../scripts/cluster/distribution.ts';
import { kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import { makeCredentials, makesCredentials } from '../../scripts/cluster/kubeadm-credentials.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { waitForNodeObjects } from '../../scripts/cluster/nodes.ts';
import { silent } from '../../scripts/shared/events.ts';
import { makeCertificates } from '../fakes/certificates.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { currentPlan, labPlan, labSecrets } from '../render/fixture.ts';
import { fakeNode } from './nodes.ts';

const plan = labPlan();
const secrets = labSecrets(plan);
const kubeconfig = (user: string) => stringify({ users: [{ name: user, user: { token: 'x' } }] });

/**
 * A kubeadm that makes files where its configuration says, as the real one does, with a real CA; `seen` is what it found
 * there. openssl is the real one.
 */
function fakeKubeadm(folder: string) {
  const ca = makeCertificates();
  const seen: { mode: number; documents: Record<string, unknown>[] }[] = [];
  const put = async (path: string, content: string, mode: number) => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content, { mode });
  };
  const local = recordingExecutor(async (argv) => {
    const line = argv.join(' ');
    if (line.includes('phase certs all')) {
      const config = argv.at(-1) ?? '';
      const documents = parseAllDocuments(await readFile(config, 'utf8')).map((each) => each.toJS());
      seen.push({ mode: (await stat(folder)).mode & 0o777, documents });
      const pki = String(documents[1].certificatesDir);
      await put(join(pki, 'ca.crt'), ca.ca, 0o644);
      await put(join(pki, 'ca.key'), await readFile(join(ca.folder, 'ca.key'), 'utf8'), 0o600);
      await put(join(pki, 'etcd/ca.crt'), 'etcd CA\n', 0o644);
      return '';
    }
    if (line.includes('phase kubeconfig all')) {
      for (const name of ['admin', 'kubelet', 'scheduler', 'controller-manager'])
        await put(
          join(argv[argv.indexOf('--kubeconfig-dir') + 1] ?? '', `${name}.conf`),
          kubeconfig(name),
          0o600,
        );
      return '';
    }
    const [program, ...args] = argv;
    expect(program).toBe('openssl');
    return (await promisify(execFile)('openssl', args)).stdout;
  });
  return { local, seen, ca: ca.ca };
}

it('are made by kubeadm in a private folder that is gone afterwards, CA key and all', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'pki-')), 'pki');
  const { local, seen, ca: authority } = fakeKubeadm(folder);
  const { ca, files } = await makeCredentials(local, '/bin/kubeadm', folder, plan, secrets);
  expect(ca).toBe(authority);
  expect(seen).toMatchObject([
    {
      mode: 0o700,
      documents: [
        { localAPIEndpoint: { advertiseAddress: '192.168.13.30' } },
        { certificatesDir: join(folder, 'kubernetes/pki') },
        {},
        {},
      ],
    },
  ]);
  expect(existsSync(folder)).toBe(false);
  expect(local.lines().join()).not.toContain(secrets.joinToken);
  expect([...files.keys()]).toEqual(['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3']);
  const modes = (name: string) =>
    files
      .get(name)
      ?.map(({ path, mode }) => `${path} ${mode?.toString(8)}`)
      .sort();
  expect(modes('k8smaster1')).toEqual([
    '/etc/kubernetes/admin.conf 600',
    '/etc/kubernetes/controller-manager.conf 600',
    '/etc/kubernetes/kubelet.conf 600',
    '/etc/kubernetes/pki/ca.crt 644',
    '/etc/kubernetes/pki/ca.key 600',
    '/etc/kubernetes/pki/etcd/ca.crt 644',
    '/etc/kubernetes/scheduler.conf 600',
    expect.stringMatching(/^\/var\/lib\/kubelet\/pki\/kubelet-client-[\d-]{19}\.pem 600$/),
    '/var/lib/kubelet/pki/kubelet.crt 644',
    '/var/lib/kubelet/pki/kubelet.key 600',
  ]);
  expect(modes('k8sworker2')).toEqual([
    '/etc/kubernetes/kubelet.conf 600',
    '/etc/kubernetes/pki/ca.crt 644',
    expect.stringMatching(/kubelet-client-.*pem 600$/),
    '/var/lib/kubelet/pki/kubelet.crt 644',
    '/var/lib/kubelet/pki/kubelet.key 600',
  ]);
});

it.each([
  ['k8smaster1', 'kubelet.crt', 'kubelet.key', /^CN=k8smaster1@\d{10}$/, '1.3.6.1.5.5.7.3.1'],
  ['k8sworker2', 'kubelet.crt', 'kubelet.key', /^CN=k8sworker2@\d{10}$/, '1.3.6.1.5.5.7.3.1'],
  ['k8smaster1', '.pem', '.pem', /^O=system:nodes\nCN=system:node:k8smaster1$/, '1.3.6.1.5.5.7.3.2'],
  ['k8sworker2', '.pem', '.pem', /^O=system:nodes\nCN=system:node:k8sworker2$/, '1.3.6.1.5.5.7.3.2'],
])(
  'hold for the kubelet of %s in %s what kubelet has made otherwise',
  async (node, crt, key, subject, use) => {
    const folder = join(mkdtempSync(join(tmpdir(), 'pki-')), 'pki');
    const { local, ca } = fakeKubeadm(folder);
    const { files } = await makeCredentials(local, '/bin/kubeadm', folder, plan, secrets);
    const content = (end: string) => files.get(node)?.find(({ path }) => path.endsWith(end))?.content ?? '';
    const certificate = new X509Certificate(content(crt));
    expect(certificate).toMatchObject({
      subject: expect.stringMatching(subject),
      keyUsage: [use],
      ca: false,
    });
    expect(certificate.checkPrivateKey(createPrivateKey(content(key)))).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    const isClient = crt === '.pem';
    expect(certificate.verify(new X509Certificate(ca).publicKey)).toBe(isClient);
    expect(certificate.subjectAltName).toBe(isClient ? undefined : `DNS:${node}`);
    const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(365);
  },
);

it('make a kubelet.conf that names the certificate and, on a worker, the CA and the API server', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'pki-')), 'pki');
  const { local, ca } = fakeKubeadm(folder);
  const { files } = await makeCredentials(local, '/bin/kubeadm', folder, plan, secrets);
  const conf = (node: string) =>
    parse(files.get(node)?.find(({ path }) => path.endsWith('/kubelet.conf'))?.content ?? '');
  const pem = '/var/lib/kubelet/pki/kubelet-client-current.pem';
  const user = { 'client-certificate': pem, 'client-key': pem };
  expect(conf('k8smaster1')).toEqual({ users: [{ name: 'kubelet', user }] });
  expect(conf('k8sworker1')).toMatchObject({
    clusters: [
      {
        cluster: {
          server: 'https://192.168.13.30:6443',
          'certificate-authority-data': Buffer.from(ca).toString('base64'),
        },
      },
    ],
    users: [{ name: 'default-auth', user }],
  });
});

it('leave nothing behind either where kubeadm fails', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'pki-')), 'pki');
  const local = recordingExecutor(() => ({ exitCode: 1, stderr: 'no entropy' }));
  await expect(makeCredentials(local, '/bin/kubeadm', folder, plan, secrets)).rejects.toThrow(
    'failed on this host',
  );
  expect(existsSync(folder)).toBe(false);
});

it('are only for the kubeadm whose files are known', () => {
  expect([labPlan(), currentPlan('kubeadm'), currentPlan('k3s')].map(makesCredentials)).toEqual([
    true,
    false,
    false,
  ]);
});

it('start a worker once the API server listens; it is whole only when the API has its node', async () => {
  const history: string[] = [];
  let refusals = 2;
  const node = fakeNode('k8sworker1', {
    reply: (line) => {
      if (/^(kubeadm|touch|ln|rm) /.test(line)) history.push(line);
      return undefined;
    },
  });
  const machine = {
    ...node.machine,
    dial: async () => {
      history.push('dial');
      if (refusals-- > 0) throw new Error('refused');
      return { destroy() {} } as never;
    },
  };
  const pem = {
    path: '/var/lib/kubelet/pki/kubelet-client-2026-01-02-03-04-05.pem',
    content: 'pem',
    mode: 0o600,
  };
  const credentials: Credentials = { ca: 'CA\n', kubeconfig: '', files: new Map([['k8sworker1', [pem]]]) };
  const context = { plan, secrets, emit: silent, credentials };
  const planned = plan.machines.find(({ name }) => name === 'k8sworker1');
  if (planned === undefined) throw new Error('no k8sworker1 in the plan');
  await kubeadmDistribution.startWorker?.(machine, planned, context);
  const config = '/etc/kubernetes/lab-kubelet.yaml';
  expect(history.splice(0)).toEqual([
    `ln --symbolic --force ${pem.path} /var/lib/kubelet/pki/kubelet-client-current.pem`,
    ...['dial', 'dial', 'dial'],
    `kubeadm init phase kubelet-start --config ${config}`,
    `rm ${config}`,
  ]);
  expect(node.machine.files.get(config)?.content).toContain('node-ip: 192.168.13.35');

  const local = recordingExecutor((argv) => {
    history.push(argv.slice(argv.indexOf('annotate')).join(' '));
    return '';
  });
  const kubectl = kubectlWith(local, { binary: 'kubectl', kubeconfig: '/lab/kubeconfig' });
  await kubeadmDistribution.completeWorkers?.(kubectl, [machine], context);
  const annotate =
    'annotate --overwrite node k8sworker1 kubeadm.alpha.kubernetes.io/cri-socket=/run/containerd/containerd.sock';
  expect(history).toEqual([annotate, 'touch /etc/kubernetes/lab-done']);
});

it('are waited for until every kubelet has registered', async () => {
  const { machine } = fakeNode('k8sworker1');
  let looks = 0;
  const local = recordingExecutor(() =>
    JSON.stringify({ items: looks++ > 0 ? [{ metadata: { name: 'k8sworker1' } }] : [] }),
  );
  await waitForNodeObjects(
    kubectlWith(local, { binary: 'kubectl', kubeconfig: '/lab/kubeconfig' }),
    [machine],
    silent,
  );
  expect(looks).toBe(2);
});
