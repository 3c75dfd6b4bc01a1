import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { localExecutor } from '../../scripts/exec/local.ts';

/** An API server that knows endpoint slices in one version. */
const discovery = (version: string): Readonly<Record<string, object>> => {
  const each = { groupVersion: `discovery.k8s.io/${version}`, version };
  const kind = {
    name: 'endpointslices',
    singularName: '',
    namespaced: true,
    kind: 'EndpointSlice',
    verbs: ['list'],
  };
  const apiVersion = each.groupVersion;
  return {
    '/api': { kind: 'APIVersions', versions: ['v1'] },
    '/api/v1': { kind: 'APIResourceList', groupVersion: 'v1', resources: [] },
    '/apis': {
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: [{ name: 'discovery.k8s.io', versions: [each], preferredVersion: each }],
    },
    [`/apis/${apiVersion}`]: {
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: apiVersion,
      resources: [kind],
    },
    [`/apis/${apiVersion}/namespaces/default/endpointslices`]: {
      kind: 'EndpointSliceList',
      apiVersion,
      items: [],
    },
  };
};

it('a lab after another one at one address does not meet what kubectl had learned of that', async (context) => {
  context.skip(spawnSync('kubectl', ['version', '--client']).status !== 0, 'this machine has no kubectl');
  let answers = discovery('v1');
  const server = createServer(({ url }, response) => {
    const body = answers[url?.split('?')[0] ?? ''];
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(body ?? { kind: 'Status', status: 'Failure', reason: 'NotFound', code: 404 }),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const home = mkdtempSync(join(tmpdir(), 'home-'));
  const { HOME } = process.env;
  process.env.HOME = home;
  const lab = join(home, 'work/.lab/bgp-lab');
  const list = async () => {
    mkdirSync(lab, { recursive: true });
    const kubeconfig = join(lab, 'kubeconfig');
    const cluster = { server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'lab' },
        clusters: [{ name: 'lab', cluster }],
        contexts: [{ name: 'lab', context: { cluster: 'lab', user: '' } }],
      }),
    );
    const kubectl = kubectlWith(localExecutor(), { binary: 'kubectl', kubeconfig });
    return (await kubectl.json<{ apiVersion: string }>(['get', 'endpointslices'])).apiVersion;
  };
  try {
    await list();
    expect(existsSync(join(lab, 'kubectl-cache/discovery'))).toBe(true);
    expect(existsSync(join(home, '.kube'))).toBe(false);
    answers = discovery('v1beta1');
    // What kubectl has learned is believed for hours: this is what the second lab must not meet.
    await expect(list()).rejects.toThrow('kubectl failed');
    rmSync(lab, { recursive: true });
    await list();
  } finally {
    process.env.HOME = HOME;
    server.close();
    rmSync(home, { recursive: true });
  }
});
