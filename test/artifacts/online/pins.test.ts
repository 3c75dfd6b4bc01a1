/** versions.yaml against publishers that a local HTTPS server plays. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  addSums,
  COMPONENTS,
  movePin,
  newerReleases,
  newerThan,
  publishedSums,
  UNKNOWN_SUM,
} from '../../../build/pins.ts';
import { type HttpsClient, httpsClient } from '../../../scripts/artifacts/online/https.ts';
import { loadVersions } from '../../../scripts/artifacts/online/versions.ts';
import { EXIT } from '../../../scripts/shared/errors.ts';
import { makeCertificates, missingPrograms } from '../../fakes/certificates.ts';
import { type FileServer, startFileServer } from '../../fakes/file-server.ts';

const TEXT = readFileSync('versions.yaml', 'utf8');
const missing = missingPrograms('openssl');
const sum = (content: string) => createHash('sha256').update(content).digest('hex');
const { signal } = new AbortController();

it.each([
  ['v1.36.3', ['v1.37.0-rc.1', 'v1.36.10', 'v1.36.4', 'v1.35.9', 'v1.37.1'], ['v1.36.10', 'v1.37.1']],
  ['v1.36.3+k3s1', ['v1.36.3+k3s2', 'v1.36.3-rc1+k3s2', 'v1.36.3+k3s1'], ['v1.36.3+k3s2']],
  ['v2.3.4', ['v2.3.4', 'api/v1.10.0', 'v1.7.30'], []],
])('newer than %s, of %j, are %j', (version, tags, newer) => {
  expect(newerThan(version, tags)).toEqual(newer);
});

describe.skipIf(missing.length > 0)(
  `pins and their publishers (needs ${missing.join(', ') || 'openssl'})`,
  () => {
    let server: FileServer;
    let client: HttpsClient;
    const real = new Map<string, string>();

    beforeAll(async () => {
      const certificates = makeCertificates();
      server = await startFileServer(certificates);
      const local = httpsClient({ env: {}, ca: certificates.ca });
      client = {
        get: (url, ...rest) => local.get(server.url(url.replace('https://', '/')), ...rest),
        close: () => local.close(),
      };
    });
    afterAll(async () => {
      await client.close();
      await server.close();
    });
    beforeEach(() => real.clear());

    const serve = (url: string, content: string) => server.file(url.replace('https://', '/'), content);
    const problemOf = ({ problem }: { readonly problem?: string }) => problem;

    it('ends with one error where none of them answers', async () => {
      await expect(newerReleases(TEXT, client, signal)).rejects.toMatchObject({
        exitCode: EXIT.userMustAct,
        details: [expect.stringContaining('status 404')],
        next: expect.stringMatching(/^npm run pins .*HTTPS_PROXY/),
      });
    });

    it('tells which releases are newer, and which publisher did not answer', async () => {
      const release = (tag_name: string, more = {}) => ({
        tag_name,
        prerelease: false,
        draft: false,
        ...more,
      });
      const page = 'https://api.github.com/repos/projectcalico/calico/releases?per_page=100';
      serve(page, JSON.stringify([release('v3.33.0', { prerelease: true }), release('v3.32.2')]));
      const found = await newerReleases(TEXT, client, signal);
      expect(found.map(({ name }) => name)).toEqual(COMPONENTS);
      expect(found.find(({ name }) => name === 'calico')).toEqual({
        name: 'calico',
        version: loadVersions(TEXT).calico.version,
        newer: ['v3.32.2'],
      });
      expect(found.filter((each) => problemOf(each)?.includes('status 404'))).toHaveLength(
        COMPONENTS.length - 1,
      );
    });

    it('takes the sum of a file from its list or from itself, and of an image from its registry', async () => {
      const { kubernetes, calico } = loadVersions(TEXT);
      const kubelet = kubernetes.files[0]?.downloads['linux/amd64'];
      serve(kubelet?.checksums?.url ?? '', kubelet?.sha256 ?? '');
      serve(kubernetes.files[0]?.downloads['linux/arm64']?.checksums?.url ?? '', sum('altered'));
      serve(calico.methods.manifest.files[0]?.downloads.any?.url ?? '', 'kind: DaemonSet');
      serve('https://registry.k8s.io/v2/kube-proxy/manifests/v1.36.3', 'a list of platforms');
      const found = await publishedSums(TEXT, client, signal);
      const of = (what: string) => found.find((each) => each.what === what);
      expect(of('kubernetes/kubelet linux/amd64')?.published).toBe(kubelet?.sha256);
      expect(of('kubernetes/kubelet linux/arm64')?.published).toBe(sum('altered'));
      expect(of('calico/calico-v3-crds.yaml any')?.published).toBe(sum('kind: DaemonSet'));
      expect(of('registry.k8s.io/kube-proxy:v1.36.3')).toMatchObject({
        pinned: undefined,
        published: `sha256:${sum('a list of platforms')}`,
      });
      expect(of('registry.k8s.io/pause:3.10.2')).toMatchObject({ problem: expect.stringContaining('404') });
      // What is pinned stays, whatever its publisher says; what is missing comes in.
      const written = addSums(TEXT, found);
      expect(written.split('\n').length - TEXT.split('\n').length).toBe(1);
      expect(loadVersions(written).kubernetes.files).toEqual(kubernetes.files);
      expect(written).toContain(`digest: sha256:${sum('a list of platforms')} # [publisher]`);
    });

    it('asks for the files of another version, and forgets the sums of the old one', async () => {
      const moved = movePin(TEXT, 'k3s', 'v1.36.9+k3s2');
      expect(moved).not.toContain('v1.36.3%2Bk3s1');
      const { k3s } = loadVersions(moved);
      expect(k3s.files[0]?.downloads['linux/amd64']).toMatchObject({
        url: 'https://github.com/k3s-io/k3s/releases/download/v1.36.9%2Bk3s2/k3s',
        sha256: UNKNOWN_SUM,
      });
      const list = 'https://github.com/k3s-io/k3s/releases/download/v1.36.9%2Bk3s2/sha256sum-amd64.txt';
      serve(list, `${sum('k3s')}  k3s\n${sum('images')}  k3s-airgap-images-amd64.tar.zst\n`);
      const sums = await publishedSums(moved, client, signal);
      const written = loadVersions(addSums(moved, sums)).k3s;
      expect(written.files[0]?.downloads['linux/amd64']?.sha256).toBe(sum('k3s'));
      expect(written.files[1]?.downloads['linux/amd64']?.sha256).toBe(sum('images'));
      expect(written.files[0]?.downloads['linux/arm64']?.sha256).toBe(UNKNOWN_SUM);
      expect(server.asked.filter(({ path }) => path.endsWith('k3s2/sha256sum-amd64.txt'))).toHaveLength(1);
    });
  },
);

it('a version that moves away and back changes nothing but sums, comments included', () => {
  const back = movePin(movePin(TEXT, 'calico', 'v3.33.1'), 'calico', 'v3.32.1');
  const withoutSums = (text: string) => text.replaceAll(/["']?[0-9a-f]{64}["']?/g, 'SUM');
  expect(withoutSums(back)).toBe(withoutSums(TEXT));
  expect(back).not.toBe(TEXT);
});
