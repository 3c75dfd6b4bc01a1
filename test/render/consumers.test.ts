/** Feeds the goldens to the programs that will read them, where this machine has these programs. */
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { renderBirdConf } from '../../scripts/render/bird.ts';
import { renderFrrConf } from '../../scripts/render/frr.ts';
import { renderClusterDns, renderEcho } from '../../scripts/render/manifests.ts';
import { labPlan, labSecrets, machine } from './fixture.ts';
import { GOLDENS, goldenFiles } from './golden.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lab-consumers-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Skips the test, and says why in the report, where the program is missing. */
function needs(context: TestContext, program: string): void {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  context.skip(!found, `this machine has no ${program}`);
}

/** What the program says and its exit code, as one text, so that a failure shows the reason. */
function run(argv: readonly [string, ...string[]]): string {
  const [program, ...args] = argv;
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 15_000 });
  return `exit ${status}\n${stdout}${stderr}`;
}

describe('bird -p', () => {
  const confOf = (plan: LabPlan, name: string) => renderBirdConf(plan, machine(plan, name), labSecrets(plan));
  const check = (text: string, services: string): string => {
    const list = join(folder, 'services.conf');
    const config = join(folder, 'bird.conf');
    writeFileSync(list, services);
    expect(text).toContain('"/etc/bird/services.conf"');
    writeFileSync(config, text.replace('/etc/bird/services.conf', list));
    return run(['bird', '-p', '-c', config]);
  };

  it.for([
    ['k8smaster1', 1],
    ['k8smaster1', 20],
    ['k8sworker2', 3],
  ] as const)('takes that of %s among %i workers', ([name, workers], context) => {
    needs(context, 'bird');
    const text = confOf(labPlan(workers), name);
    expect(check(text, '')).toBe('exit 0\n');
    expect(check(text, 'route 2.2.2.2/32 blackhole;\n')).toBe('exit 0\n');
  });

  it('refuses nonsense, so that its silence means something', (context) => {
    needs(context, 'bird');
    expect(check(confOf(labPlan(), 'k8sworker2'), 'route nonsense;\n')).toMatch(/^exit 1\n/);
  });
});

describe('vtysh -C', () => {
  it.for([1, 3, 20])('takes that of a router of %i workers', (workers, context) => {
    needs(context, 'vtysh');
    const file = join(folder, 'right.conf');
    writeFileSync(file, renderFrrConf(labPlan(workers), labSecrets(labPlan(workers))));
    expect(run(['vtysh', '-C', '-f', file])).toBe('exit 0\n');
  });

  it('refuses nonsense, so that its silence means something', (context) => {
    needs(context, 'vtysh');
    const wrong = join(folder, 'frr.conf');
    writeFileSync(wrong, 'router bgp 65000\n neighbour 192.168.13.35 remote-as 65001\n');
    expect(run(['vtysh', '-C', '-f', wrong])).not.toMatch(/^exit 0\n/);
  });
});

describe('cloud-init', () => {
  it.for(goldenFiles('user-data'))('schema takes %s', (name, context) => {
    needs(context, 'cloud-init');
    expect(run(['cloud-init', 'schema', '--config-file', join(GOLDENS, name)])).toMatch(
      /^exit 0\nValid cloud-config/,
    );
  });

  it('renders network-config for ifupdown: the address and no gateway', (context) => {
    needs(context, 'cloud-init');
    const config = join(GOLDENS, 'cloud-init', 'k8sworker1', 'network-config');
    const target = join(folder, 'eni');
    const convert = [
      'devel',
      'net-convert',
      '-p',
      config,
      '-k',
      'yaml',
      '-d',
      target,
      '-D',
      'debian',
      '-O',
      'eni',
    ];
    expect(run(['cloud-init', ...convert])).toMatch(/^exit 0\n/);
    const written = readFileSync(join(target, 'etc', 'network', 'interfaces.d', '50-cloud-init'), 'utf8');
    expect(written).toContain('iface eth0 inet static\n    address 192.168.13.35/24\n');
    expect(written).not.toMatch(/gateway|route/);
  });
});

describe('kubeadm', () => {
  it.for(goldenFiles('.yaml').filter((name) => name.startsWith('kubeadm/')))('takes %s', (name, context) => {
    needs(context, 'kubeadm');
    const migrated = join(folder, 'migrated.yaml');
    const answer = run([
      'kubeadm',
      'config',
      'migrate',
      '--old-config',
      join(GOLDENS, name),
      '--new-config',
      migrated,
    ]);
    expect(answer).toMatch(/^exit 0\n/);
    expect(answer).not.toMatch(/unknown field/);
  });
});

describe('kubectl create --dry-run=client', () => {
  it.for([
    ['echo, in full', renderEcho(labPlan())],
    ['echo, simple', renderEcho(labPlan(3, 'simple'))],
    ['cluster DNS', renderClusterDns(labPlan())],
  ] as const)('takes %s', async ([, text], context) => {
    needs(context, 'kubectl');
    const server = createServer(({ url }, response) => {
      const body = DISCOVERY[url?.split('?')[0] ?? ''];
      response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body ?? {}));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const file = join(folder, 'manifest.yaml');
    writeFileSync(file, text);
    const argv = ['--server', `http://127.0.0.1:${port}`, '--cache-dir', join(folder, 'cache'), 'create'];
    const options = ['--dry-run=client', '--validate=false', '-o', 'name', '-f', file];
    try {
      const { stdout } = await promisify(execFile)('kubectl', [...argv, ...options]);
      expect(stdout.trim().split('\n')).toHaveLength(text.split(/^---$/m).length);
    } finally {
      server.close();
    }
  });
});

// kubectl asks the API server which kinds there are, even for a dry run on the client. This is all that it needs.
const kind = (name: string, plural: string, namespaced = true) => ({
  name: plural,
  singularName: '',
  namespaced,
  kind: name,
  verbs: ['create'],
});
const list = (groupVersion: string, resources: readonly unknown[]) => ({
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion,
  resources,
});
const group = (name: string) => {
  const version = { groupVersion: `${name}/v1`, version: 'v1' };
  return { name, versions: [version], preferredVersion: version };
};
const DISCOVERY: Readonly<Record<string, unknown>> = {
  '/api': { kind: 'APIVersions', versions: ['v1'] },
  '/apis': {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: [group('apps'), group('rbac.authorization.k8s.io')],
  },
  '/api/v1': list('v1', [
    kind('Namespace', 'namespaces', false),
    kind('Pod', 'pods'),
    kind('Service', 'services'),
    kind('ServiceAccount', 'serviceaccounts'),
  ]),
  '/apis/apps/v1': list('apps/v1', [kind('Deployment', 'deployments')]),
  '/apis/rbac.authorization.k8s.io/v1': list('rbac.authorization.k8s.io/v1', [
    kind('ClusterRole', 'clusterroles', false),
    kind('ClusterRoleBinding', 'clusterrolebindings', false),
  ]),
};
