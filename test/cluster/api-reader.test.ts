import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { questionOf } from '../../scripts/cluster/api-question.ts';
import { apiReader } from '../../scripts/cluster/api-reader.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { type Certificates, makeCertificates } from '../fakes/certificates.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';

const ANSWERS: Readonly<Record<string, unknown>> = {
  '/readyz': 'ok',
  '/api/v1/nodes': list('NodeList', 'v1', { name: 'n', managedFields: [1] }),
  '/api/v1/pods': list('PodList', 'v1', { name: 'p', namespace: 'a' }),
  '/api/v1/namespaces/a/pods?labelSelector=k%3Dv': list('PodList', 'v1', { name: 'q' }),
  '/api/v1/namespaces/a/configmaps/c': { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: 'c' } },
  '/apis/discovery.k8s.io': { preferredVersion: { groupVersion: 'discovery.k8s.io/v1beta1' } },
  '/apis/discovery.k8s.io/v1beta1/endpointslices': list('EndpointSliceList', 'discovery.k8s.io/v1beta1', {
    name: 's',
  }),
};

function list(kind: string, apiVersion: string, metadata: object) {
  return { kind, apiVersion, metadata: { resourceVersion: '1' }, items: [{ metadata }] };
}

const certificates: { mine?: Certificates; other?: Certificates } = {};
let server: Server;
let asked: string[] = [];

beforeAll(async () => {
  const mine = makeCertificates();
  Object.assign(certificates, { mine, other: makeCertificates() });
  const { ca, cert, key } = mine;
  server = createServer(
    { ca, cert, key, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      asked.push(request.url ?? '');
      const answer = request.url === '/form' ? request.headers.accept : ANSWERS[request.url ?? ''];
      response.writeHead(request.url === '/waits' ? 400 : answer === undefined ? 404 : 200);
      response.end(typeof answer === 'string' ? answer : JSON.stringify(answer ?? { code: 404 }));
    },
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
beforeEach(() => {
  asked = [];
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  for (const { folder } of Object.values(certificates)) rmSync(folder, { recursive: true });
});

/** A kubectl whose process says "kubectl", with the kubeconfig of the server, changed. */
function client(changed: { ca?: string; cert?: string; key?: string; port?: number; via?: string } = {}) {
  const { mine } = certificates;
  if (mine === undefined) throw new Error('no certificates');
  const { ca = mine.ca, cert = mine.cert, key = mine.key } = changed;
  const { port = (server.address() as AddressInfo).port, via } = changed;
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const cluster = {
    server: `https://${via === undefined ? '127.0.0.1' : '192.0.2.1'}:${port}`,
    'certificate-authority-data': base64(ca),
  };
  const user = { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) };
  const kubeconfig = join(mine.folder, 'kubeconfig');
  writeFileSync(kubeconfig, JSON.stringify({ clusters: [{ cluster }], users: [{ user }] }));
  const local = recordingExecutor(() => '{"said":"kubectl"}');
  const access = {
    binary: 'kubectl',
    kubeconfig,
    ...(via === undefined ? {} : { via: { port, serverName: via } }),
  };
  return { local, kubectl: kubectlWith(local, access, apiReader) };
}

describe('an API server that answers', () => {
  it('is asked without a kubectl, and its lists say what each object is, as those of kubectl do', async () => {
    const { local, kubectl } = client();
    const { stdout } = await kubectl.run(['get', 'nodes,pods,endpointslices', '-A', '-o', 'json']);
    expect(JSON.parse(stdout)).toEqual({
      apiVersion: 'v1',
      kind: 'List',
      items: [
        { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' } },
        { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'a' } },
        { apiVersion: 'discovery.k8s.io/v1beta1', kind: 'EndpointSlice', metadata: { name: 's' } },
      ],
    });
    const pods = await kubectl.json<{ items: readonly object[] }>([
      'get',
      'pods',
      '-n',
      'a',
      '--selector',
      'k=v',
    ]);
    expect(pods.items).toEqual([{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'q' } }]);
    expect(local.lines()).toEqual([]);
  });

  it('is asked for one object, which may be missing', async () => {
    const { local, kubectl } = client();
    const get = (name: string) =>
      kubectl.run(['get', 'configmap', name, '-n', 'a', '--ignore-not-found', '-o', 'json']);
    expect(JSON.parse((await get('c')).stdout)).toMatchObject({ metadata: { name: 'c' } });
    expect((await get('d')).stdout).toBe('');
    expect(local.lines()).toEqual([]);
  });

  it('is asked for a path, which may be missing where that is allowed', async () => {
    const { local, kubectl } = client();
    expect((await kubectl.run(['get', '--raw', '/readyz'])).stdout).toBe('ok');
    for (const path of ['/apis/x', '/waits'])
      expect(await kubectl.run(['get', '--raw', path], { okCodes: [0, 1] })).toMatchObject({ exitCode: 1 });
    expect(local.lines()).toEqual([]);
    await kubectl.run(['get', '--raw', '/apis/x']);
    expect(local.lines()).toHaveLength(1);
  });

  it('is asked in the form that is wanted', async () => {
    const { kubectl } = client();
    expect(await kubectl.ask?.('/form')).toEqual({ status: 200, text: 'application/json' });
    expect(await kubectl.ask?.('/form', 'text/plain')).toEqual({ status: 200, text: 'text/plain' });
  });

  it('is reached by a forward, under the name that its certificate is for', async () => {
    const { local, kubectl } = client({ via: 'localhost' });
    expect((await kubectl.run(['get', '--raw', '/readyz'])).stdout).toBe('ok');
    expect(local.lines()).toEqual([]);
  });
});

describe('kubectl is asked, for it says in its own words what is wrong', () => {
  const viaKubectl = async (changed: Parameters<typeof client>[0]) => {
    const { local, kubectl } = client(changed);
    expect(await kubectl.json(['get', 'nodes'])).toEqual({ said: 'kubectl' });
    expect(local.lines()).toHaveLength(1);
    expect(asked).toEqual([]);
  };

  it('where the server has the certificate of another cluster', () =>
    viaKubectl({ ca: certificates.other?.ca ?? '' }));
  it('where the server is certified for another name', () => viaKubectl({ via: 'elsewhere' }));
  it('where the client has the certificate of another cluster', () =>
    viaKubectl({ cert: certificates.other?.cert ?? '', key: certificates.other?.key ?? '' }));
  it('where nothing answers', () => viaKubectl({ port: 1 }));

  it('where the server refuses, or only kubectl knows what is asked for', async () => {
    const { local, kubectl } = client();
    await kubectl.json(['get', 'services', '-n', 'a']);
    await kubectl.run(['get', 'pods', '-A', '-o', 'wide']);
    await kubectl.run(['apply', '-f', '-'], { input: '' });
    expect(local.lines()).toHaveLength(3);
  });
});

it.each([
  'apply -f -',
  'get pods -A',
  'get pods -o json',
  'get pods -n a -A -o json',
  'get nodes -n a -o json',
  'get nodes,pods -n a -o json',
  'get ingresses -A -o json',
  'get pods p q -n a -o json',
  'get pods --sort-by .x -n a -o json',
  'get --raw /a --v 9',
])('%s is left to kubectl', (line) => {
  expect(questionOf(line.split(' '))).toBeUndefined();
});
