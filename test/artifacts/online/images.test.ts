import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  fetchImages,
  type ImageOptions,
  type ImageWanted,
} from '../../../scripts/artifacts/online/images.ts';
import { CommandError, type Executor } from '../../../scripts/exec/executor.ts';
import { localExecutor } from '../../../scripts/exec/local.ts';
import type { LabError } from '../../../scripts/shared/errors.ts';
import { makeCertificates, missingPrograms } from '../../fakes/certificates.ts';
import { recordingExecutor } from '../../fakes/recording-executor.ts';
import { type Registry, startRegistry, untar } from '../../fakes/registry.ts';

const missing = missingPrograms('skopeo', 'docker-registry', 'openssl');

describe.skipIf(missing.length > 0)(
  `images of a real registry (needs: ${missing.join(', ') || 'nothing'})`,
  () => {
    let registry: Registry;
    let cache: string;
    let ran: string[];

    beforeAll(async () => {
      registry = await startRegistry(makeCertificates());
    });
    afterAll(() => registry.stop());
    beforeEach(() => {
      cache = mkdtempSync(join(tmpdir(), 'images-'));
      ran = [];
    });

    const local = localExecutor();
    const host: Executor = {
      where: 'this host',
      run(argv, options) {
        ran.push(argv.slice(0, 2).join(' '));
        return local.run(argv, options);
      },
    };
    const image = (name: string, more: Partial<ImageWanted> = {}): ImageWanted => ({
      name: `${registry.host}/${name}`,
      tag: 'v1.2.3',
      architecture: 'amd64',
      ...more,
    });
    const get = (images: readonly ImageWanted[], more: Partial<ImageOptions> = {}) =>
      fetchImages(images, {
        host,
        cache,
        emit: () => {},
        certificates: registry.certificates,
        backoffMs: 1,
        ...more,
      });
    const failure = async (work: Promise<unknown>): Promise<LabError> => {
      const error = await work.then(
        () => undefined,
        (thrown: LabError) => thrown,
      );
      if (error === undefined) throw new Error('it did not fail');
      return error;
    };
    const said = (error: LabError) => [error.message, ...error.details, error.next].join('\n');

    it('become docker-archives of the wanted architecture, under their names, and are copied once', async () => {
      registry.push('lab/two', 'v1.2.3', 'two', ['amd64', 'arm64']);
      const wanted = [image('lab/two'), image('lab/two', { architecture: 'arm64' })];
      const files = await get(wanted);
      for (const [index, architecture] of ['amd64', 'arm64'].entries()) {
        const archive = untar(files[index]?.path ?? '');
        const [manifest] = JSON.parse(archive['manifest.json'] ?? '[]');
        expect(manifest.RepoTags).toEqual([`${registry.host}/lab/two:v1.2.3`]);
        expect(JSON.parse(archive[manifest.Config] ?? '{}').architecture).toBe(architecture);
        expect(archive[manifest.Layers[0]]).toContain(`two for ${architecture}`);
        expect(files[index]?.path).toContain(`${files[index]?.sha256}-localhost_`);
      }
      // Not in /var/lib/containers.
      expect(readdirSync(join(cache, 'skopeo/containers/cache'))).toHaveLength(1);
      const before = ran.length;
      expect((await get(wanted)).map(({ fresh, path }) => ({ fresh, path }))).toEqual(
        files.map(({ path }) => ({ fresh: false, path })),
      );
      expect(ran.length).toBe(before);
    });

    it('keep the digest that they had, and a tag that moves is an error', async () => {
      const first = registry.push('lab/moved', 'v1.2.3', 'before', ['amd64', 'arm64']);
      const [file] = await get([image('lab/moved')]);
      rmSync(file?.path ?? '');
      const second = registry.push('lab/moved', 'v1.2.3', 'after', ['amd64', 'arm64']);
      const error = await failure(get([image('lab/moved')]));
      expect(error.message).toContain('lab/moved:v1.2.3 has changed in its registry');
      expect(said(error)).toContain(first);
      expect(said(error)).toContain(second);
    });

    it('are the ones of their digest, wherever the tag is', async () => {
      const digest = registry.push('lab/pinned', 'v1.2.3', 'pinned', ['amd64', 'arm64']);
      registry.push('lab/pinned', 'v1.2.3', 'moved', ['amd64', 'arm64']);
      const [file] = await get([image('lab/pinned', { digest })]);
      const archive = untar(file?.path ?? '');
      const [manifest] = JSON.parse(archive['manifest.json'] ?? '[]');
      expect(archive[manifest.Layers[0]]).toContain('pinned for amd64');
      // Another digest in the lock is another image, whatever was recorded.
      const error = await failure(get([image('lab/pinned', { digest: `sha256:${'0'.repeat(64)}` })]));
      expect(error.message).toContain('lab/pinned:v1.2.3 does not exist in its registry.');
    });

    it('are refused where they are for another architecture', async () => {
      registry.push('lab/one', 'v1.2.3', 'one', ['amd64']);
      const error = await failure(get([image('lab/one', { architecture: 'arm64' })]));
      expect(error.message).toContain('is one for linux/amd64, and the lab needs linux/arm64');
      registry.push('lab/list', 'v1.2.3', 'list', ['amd64', 'arm64']);
      const list = await failure(get([image('lab/list', { architecture: 's390x' })]));
      expect(said(list)).toContain('It is not made for this architecture');
      expect(readdirSync(join(cache, 'downloads')).filter((name) => name.endsWith('.tar'))).toEqual([]);
    });

    it('that do not exist are asked for once, and named', async () => {
      const error = await failure(get([image('lab/absent')]));
      expect(error.exitCode).toBe(2);
      expect(error.message).toBe(`Image ${registry.host}/lab/absent:v1.2.3 does not exist in its registry.`);
      expect(said(error)).toContain('versions.yaml');
      expect(ran).toEqual(['skopeo inspect']);
    });

    it('are tried three times where nobody answers', async () => {
      const error = await failure(get([image('x', { name: '127.0.0.1:1/lab/two' })]));
      expect(error.message).toBe('Copying image 127.0.0.1:1/lab/two:v1.2.3 failed 3 times.');
      expect(said(error)).toContain('connection refused');
      expect(said(error)).toContain('labup --artifacts debian');
    });

    it('are copied by the second try where the first broke off', async () => {
      registry.push('lab/again', 'v1.2.3', 'again', ['amd64', 'arm64']);
      let broken = 0;
      const flaky: Executor = {
        where: 'this host',
        async run(argv, options) {
          if (argv[1] !== 'copy' || broken > 0) return local.run(argv, options);
          broken += 1;
          const stderr = 'read tcp: connection reset by peer';
          throw new CommandError('this host', argv, { exitCode: 1, stdout: '', stderr });
        },
      };
      expect((await get([image('lab/again')], { host: flaky }))[0]?.fresh).toBe(true);
      expect(broken).toBe(1);
    });

    it('come from nobody who cannot prove who they are', async () => {
      const nobody = mkdtempSync(join(tmpdir(), 'nobody-'));
      const error = await failure(get([image('lab/two')], { certificates: nobody }));
      expect(said(error)).toContain('x509');
      expect(said(error)).toContain('update-ca-certificates');
      expect(ran).toEqual(['skopeo inspect']);
    });

    it('are copied by one of two labups, and the other waits for it', async () => {
      registry.push('lab/shared', 'v1.2.3', 'shared', ['amd64', 'arm64']);
      const files = await Promise.all([get([image('lab/shared')]), get([image('lab/shared')])]);
      expect(
        files
          .flat()
          .map(({ fresh }) => fresh)
          .sort(),
      ).toEqual([false, true]);
      expect(ran.filter((line) => line === 'skopeo copy')).toHaveLength(1);
    });
  },
);

describe('images without skopeo', () => {
  it('are an error that names the package', async () => {
    const wanted = { name: 'registry.k8s.io/pause', tag: '3.10.2', architecture: 'amd64' };
    const cache = mkdtempSync(join(tmpdir(), 'images-'));
    const work = fetchImages([wanted], { host: recordingExecutor(() => undefined), cache, emit: () => {} });
    await expect(work).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('skopeo is not installed'),
      next: expect.stringContaining('apt-get install skopeo'),
    });
  });
});
