import { existsSync, mkdtempSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import type { Credentials } from '../../scripts/cluster/distribution.ts';
import { kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import { makeCredentials, makesCredentials } from '../../scripts/cluster/kubeadm-credentials.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { waitForNodeObjects } from '../../scripts/cluster/nodes.ts';
import { silent } from '../../scripts/shared/events.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { currentPlan, labPlan, labSecrets } from '../render/fixture.ts';
import { fakeNode } from './nodes.ts';

const plan = labPlan();
const secrets = labSecrets(plan);
const base64 = (text: string) => Buffer.from(text).toString('base64');

const kubeconfig = (user: string) =>
  stringify({
    clusters: [
      {
        name: 'bgp-lab',
        cluster: { server: 'https://192.168.13.30:6443', 'certificate-authority-data': base64('CA\n') },
      },
    ],
    users: [
      {
        name: user,
        user: {
          'client-certificate-data': base64(`crt ${user}\n`),
          'client-key-data': base64(`key ${user}\n`),
        },
      },
    ],
  });

/** A kubeadm that makes files where its configuration says, as the real one does; `seen` is what it found there. */
function fakeKubeadm(folder: string) {
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
      await put(join(pki, 'ca.crt'), 'CA\n', 0o644);
      await put(join(pki, 'ca.key'), 'CA key\n', 0o600);
      await put(join(pki, 'etcd/ca.crt'), 'etcd CA\n', 0o644);
      return '';
    }
    if (line.includes('phase kubeconfig all')) {
      for (const name of ['admin', 'kubelet', 'scheduler', 'controller-manager'])
        await put(join(folder, `${name}.conf`), kubeconfig(name), 0o600);
      return '';
    }
    const name = argv[argv.indexOf('--client-name') + 1] ?? '';
    return kubeconfig(name);
  });
  return { local, seen };
}

it('are made by kubeadm in a private folder that is gone afterwards, CA key and all', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'pki-')), 'pki');
  const { local, seen } = fakeKubeadm(folder);
  const { ca, files } = await makeCredentials(local, '/bin/kubeadm', folder, plan, secrets);
  expect(ca).toBe('CA\n');
  expect(seen).toMatchObject([
    {
      mode: 0o700,
      documents: [
        { localAPIEndpoint: { advertiseAddress: '192.168.13.30' } },
        { certificatesDir: join(folder, 'pki') },
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
  ]);
  expect(modes('k8sworker2')).toEqual([
    '/etc/kubernetes/kubelet.conf 600',
    '/etc/kubernetes/pki/ca.crt 644',
    expect.stringMatching(/kubelet-client-.*pem 600$/),
  ]);
  const pem = files.get('k8sworker2')?.find(({ path }) => path.endsWith('.pem'))?.content;
  expect(pem).toBe('crt system:node:k8sworker2\nkey system:node:k8sworker2\n');
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
