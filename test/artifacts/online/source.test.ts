import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type FetchOptions,
  fetchOnline,
  missingOnline,
  onlineProblem,
} from '../../../scripts/artifacts/online/source.ts';
import {
  loadVersions,
  type OnlineChoice,
  onlineFiles,
  type Versions,
} from '../../../scripts/artifacts/online/versions.ts';
import type { Recipe } from '../../../scripts/artifacts/recipe.ts';
import { localExecutor } from '../../../scripts/exec/local.ts';
import { filesOf } from '../../../scripts/plan/software.ts';
import { type Certificates, makeCertificates, missingPrograms } from '../../fakes/certificates.ts';
import { type FileServer, sha256, startFileServer } from '../../fakes/file-server.ts';
import { type Registry, startRegistry } from '../../fakes/registry.ts';

const missing = missingPrograms('skopeo', 'docker-registry', 'openssl', 'apt-config');
const choice: OnlineChoice = { distribution: 'kubeadm', architecture: 'amd64' };

/** Recipes that make a file of a few bytes in place of a root file system: what is tested is who gets which file. */
function smallRecipes(): readonly Recipe[] {
  const recipe = (id: Recipe['id'], files: readonly string[]): Recipe => ({
    id,
    title: id,
    revision: 1,
    needs: [],
    assets: [],
    parameters: {},
    seconds: 1,
    lines: 1,
    build: async ({ out }) => {
      for (const name of files) writeFileSync(join(out, name), `${id} ${name}`);
    },
  });
  return [recipe('echo-image', ['echo.tar']), recipe('machine-base', ['metadata.tar', 'rootfs.squashfs'])];
}

/** The real lock, with every publisher at the local servers and sums of what these have. */
function atLocalServers(lock: Versions, server: FileServer, registry: Registry): Versions {
  const local = structuredClone(lock);
  const { k3s, kubernetes, containerd, runc, crictl, calico } = local;
  const methods = Object.values(calico.methods);
  for (const { files, images } of [
    k3s,
    kubernetes,
    containerd,
    runc,
    local['cni-plugins'],
    crictl,
    ...methods,
  ]) {
    for (const download of files.flatMap(({ downloads }) => Object.values(downloads))) {
      const { pathname } = new URL(download.url);
      server.file(pathname, `content of ${pathname}`);
      download.url = server.url(pathname);
      const sum = sha256(`content of ${pathname}`);
      if (download.sha256 !== undefined) download.sha256 = sum;
      if (download.checksums === undefined) continue;
      const list = `${new URL(download.checksums.url).pathname}.of${pathname}`;
      server.file(list, `${sum}  ${download.checksums.name ?? 'it'}\n`);
      download.checksums.url = server.url(list);
    }
    for (const image of images) {
      const path = image.name.split('/').slice(1).join('/');
      const digest = registry.push(path, image.tag, path, ['amd64', 'arm64']);
      image.name = `${registry.host}/${path}`;
      if (image.digest !== undefined) image.digest = digest;
    }
  }
  return local;
}

const title = `a lab's software from local publishers (needs: ${missing.join(', ') || 'nothing'})`;
describe.skipIf(missing.length > 0)(title, () => {
  let certificates: Certificates;
  let server: FileServer;
  let registry: Registry;
  let lock: Versions;
  let cache: string;

  beforeAll(async () => {
    certificates = makeCertificates();
    server = await startFileServer(certificates);
    registry = await startRegistry(certificates);
    lock = atLocalServers(loadVersions(), server, registry);
  }, 60_000);
  afterAll(async () => {
    await registry.stop();
    await server.close();
  });
  beforeEach(() => {
    cache = mkdtempSync(join(tmpdir(), 'online-'));
  });

  const get = (more: Partial<FetchOptions> = {}) =>
    fetchOnline({
      lock,
      choice,
      host: localExecutor(),
      cache,
      emit: () => {},
      machines: 'prebuilt',
      all: smallRecipes(),
      certificates: registry.certificates,
      ca: certificates.ca,
      env: {},
      backoffMs: 1,
      ...more,
    });

  it('is in the cache after one run, and nothing is asked for by the second', async () => {
    const files = onlineFiles(lock, choice);
    expect(await missingOnline(cache, files)).toEqual(files);
    const { software, bundlePaths, changed } = await get();
    expect(changed).toBe(true);
    expect(software).toMatchObject({
      distribution: 'kubeadm',
      cni: 'calico',
      versions: { kubernetes: 'v1.36.3', calico: 'v3.32.1' },
    });
    for (const { path, sha256: sum } of software.files) expect(sha256(readFileSync(path)), path).toBe(sum);
    const paths = software.files.map(({ path }) => bundlePaths.get(path));
    expect(paths).toEqual([
      ...files.map(({ path }) => path),
      'images/echo.tar',
      'machine/metadata.tar',
      'machine/rootfs.squashfs',
    ]);
    const [kubelet] = filesOf(software, 'kubelet');
    expect(readFileSync(kubelet?.path ?? '', 'utf8')).toBe(
      'content of /release/v1.36.3/bin/linux/amd64/kubelet',
    );
    expect(filesOf(software, 'kubectl')[0]?.platform).toBe('linux/amd64');
    expect(await missingOnline(cache, files)).toEqual([]);

    const asked = server.asked.length;
    const again = await get({ host: refusing('skopeo') });
    expect(again.changed).toBe(false);
    expect(again.software).toEqual(software);
    expect(server.asked.length).toBe(asked);

    rmSync(kubelet?.path ?? '');
    expect((await missingOnline(cache, files)).map(({ role }) => role)).toEqual(['kubelet']);
  }, 120_000);

  it('is k3s with its images, whose sum is recorded from its publisher', async () => {
    const { software } = await get({ choice: { ...choice, distribution: 'k3s' }, machines: 'plain' });
    expect(software.versions.kubernetes).toBe('v1.36.3+k3s1');
    expect(filesOf(software, 'machine-rootfs', 'machine-metadata')).toEqual([]);
    expect(filesOf(software, 'echo-image')).toHaveLength(1);
    expect(filesOf(software, 'image-archive')).toHaveLength(4);
  }, 60_000);

  it('is an error that names the first file that cannot be had, and ends the rest', async () => {
    const broken = structuredClone(lock);
    const calico = broken.calico.methods.manifest.files[0]?.downloads.any;
    if (calico !== undefined) calico.url = server.url('/gone');
    await expect(get({ lock: broken })).rejects.toMatchObject({
      exitCode: 2,
      message: 'calico-v3-crds.yaml v3.32.1 does not exist at its publisher.',
    });
  }, 60_000);

  it('knows whether its publishers can be reached', async () => {
    expect(await onlineProblem(lock, { ca: certificates.ca, env: {} })).toBeUndefined();
    expect(await onlineProblem(lock, { env: {} })).toContain('did not prove who it is');
  });
});

/** This host without one program: whoever starts it fails the test. */
function refusing(program: string) {
  const local = localExecutor();
  return {
    ...local,
    run: (...[argv, options]: Parameters<typeof local.run>) => {
      if (argv[0] === program) throw new Error(`${argv.join(' ')} was run`);
      return local.run(argv, options);
    },
  };
}
