import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { readBundle, softwareOf } from '../../scripts/artifacts/bundle/bundle.ts';
import { bundleProblems, requireWhole } from '../../scripts/artifacts/bundle/check.ts';
import { incomplete } from '../../scripts/artifacts/bundle/complete.ts';
import { createBundle, renderBundle } from '../../scripts/artifacts/bundle/create.ts';
import { type BundleManifest, parseBundle } from '../../scripts/artifacts/bundle/manifest.ts';
import type { FileRole, Software, SoftwareFile } from '../../scripts/plan/software.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';

let folder: string;
let made: string;
const CONTENT = { k3s: 'a binary', 'images.tar.zst': 'images', 'calico.yaml': 'kind: DaemonSet' } as const;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  made = join(folder, 'bundle');
  for (const [name, content] of Object.entries(CONTENT)) writeFileSync(join(folder, name), content);
  await createBundle(made, software(), 'amd64', silent);
});

function software(): Software {
  return {
    distribution: 'k3s',
    cni: 'calico',
    versions: { kubernetes: 'v1.36.2+k3s1', calico: 'v3.32.1' },
    files: [
      file('k3s', 'k3s'),
      file('image-archive', 'images.tar.zst'),
      file('calico-manifest', 'calico.yaml'),
    ],
  };
}

function file(role: FileRole, name: keyof typeof CONTENT): SoftwareFile {
  const sha256 = createHash('sha256').update(CONTENT[name]).digest('hex');
  return { role, path: join(folder, name), version: 'v1', sha256, nodes: ['worker'], inMachineImage: false };
}

async function refusal(work: () => unknown): Promise<UserError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a bundle', () => {
  it('comes back as the software that it was made from', async () => {
    const bundle = readBundle(made);
    expect(bundle.manifest.architecture).toBe('amd64');
    const back = softwareOf(bundle);
    expect(back).toEqual({
      ...software(),
      files: software().files.map(({ path, ...rest }) => expect.objectContaining(rest)),
    });
    expect(back.files.map(({ path }) => readFileSync(path, 'utf8'))).toEqual(Object.values(CONTENT));
    expect(await bundleProblems(bundle)).toEqual([]);
  });

  it('is whole wherever it is carried', async () => {
    const carried = join(folder, 'carried');
    cpSync(made, carried, { recursive: true });
    rmSync(made, { recursive: true });
    expect(await bundleProblems(readBundle(carried))).toEqual([]);
  });

  it('names what is missing, altered and too many, each with its path', async () => {
    rmSync(join(made, 'bin/k3s'));
    appendFileSync(join(made, 'calico/calico.yaml'), ' ');
    writeFileSync(join(made, 'images/other.tar'), '');
    expect(await bundleProblems(readBundle(made))).toEqual([
      'bin/k3s: missing',
      expect.stringMatching(/^calico\/calico.yaml: altered: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}$/),
      'images/other.tar: not listed in bundle.yaml',
    ]);
    const error = await refusal(() => requireWhole(readBundle(made)));
    expect(error.details).toHaveLength(3);
  });

  it('is read once, and again when a file was touched', async () => {
    const cache = join(folder, 'cache');
    const read: string[] = [];
    const check = () => {
      read.length = 0;
      const emit = (event: { readonly type: string; readonly text?: string }) =>
        void read.push(event.text ?? '');
      return bundleProblems(readBundle(made), { cache, emit });
    };
    expect(await check()).toEqual([]);
    expect(read).toHaveLength(3);
    expect(await check()).toEqual([]);
    expect(read).toEqual([]);
    // As long as before, so that only its time tells.
    const path = join(made, 'bin/k3s');
    const { atime } = statSync(path);
    writeFileSync(path, 'A BINARY');
    utimesSync(path, atime, new Date(Date.now() + 5_000));
    expect(await check()).toEqual([expect.stringContaining('bin/k3s: altered')]);
    expect(read).toEqual(['checking bin/k3s']);
  });
});

describe('making a bundle', () => {
  it('takes only a folder of its own', async () => {
    const error = await refusal(() => createBundle(made, software(), 'amd64', silent));
    expect(error.message).toContain('is not empty');
    expect(error.details).toEqual(['It holds a bundle.']);
  });

  it('that was stopped is no bundle, and is taken over by the next try', async () => {
    const begun = join(folder, 'begun');
    mkdirSync(join(begun, 'bin'), { recursive: true });
    writeFileSync(join(begun, 'bundle.unfinished'), '');
    writeFileSync(join(begun, 'bin/left'), '');
    expect((await refusal(() => readBundle(begun))).message).toContain('is no bundle');
    await createBundle(begun, software(), 'amd64', silent);
    expect(await bundleProblems(readBundle(begun))).toEqual([]);
  });
});

describe('bundle.yaml', () => {
  const manifest = (): BundleManifest => readBundle(made).manifest;
  const parse = (changed: object) => parseBundle(stringify({ ...manifest(), ...changed }), 'bundle.yaml');

  it('is written as it is read', () => {
    expect(parseBundle(renderBundle(manifest()), 'bundle.yaml')).toEqual(manifest());
  });

  it.each([
    [{ schemaVersion: 2 }, 'schemaVersion'],
    [{ architecture: 'riscv64' }, 'architecture'],
    [{ versions: { kubernetes: 'latest', calico: 'v3.32.1' } }, 'versions.kubernetes: not a version'],
    [{ versions: { kubernetes: 'v1.36.2' } }, 'versions.calico: given exactly where cni is calico'],
    [{ files: [] }, 'files'],
    [{ extra: 1 }, 'extra'],
  ])('with %j is refused', async (changed, complaint) => {
    const error = await refusal(() => parse(changed));
    expect(error.exitCode).toBe(2);
    expect(error.details.join('\n')).toContain(complaint);
  });

  it.each([
    [{ path: '../outside' }, 'not a path below the bundle'],
    [{ path: '/etc/passwd' }, 'not a path below the bundle'],
    [{ path: 'bundle.yaml' }, 'lists the others'],
    [{ sha256: 'abc' }, 'not 64 lower-case hex digits'],
    [{ role: 'k4s' }, 'role'],
    [{ platform: 'linux/amd64' }, 'only a kubectl has one'],
    [{ path: 'images/images.tar.zst' }, 'is listed twice'],
  ])('with a file of %j is refused', async (changed, complaint) => {
    const [first, ...others] = manifest().files;
    const error = await refusal(() => parse({ files: [{ ...first, ...changed }, ...others] }));
    expect(error.details.join('\n')).toContain(complaint);
  });

  it('that is no YAML is refused, with the place', async () => {
    expect((await refusal(() => parseBundle('files: [', 'bundle.yaml'))).details.join()).toContain('line 1');
  });
});

describe('what a bundle must hold', () => {
  const without = (...roles: readonly FileRole[]) => {
    const { manifest } = readBundle(made);
    return incomplete({ ...manifest, files: manifest.files.filter(({ role }) => !roles.includes(role)) });
  };

  it.each([
    ['k3s', 'the k3s binary: no file with role k3s'],
    ['image-archive', 'container images: no file with role image-archive'],
    [
      'calico-manifest',
      "Calico's manifests: no file with role calico-crds and calico-operator, or calico-manifest",
    ],
  ] as const)('a half one lacks %s', (role, complaint) => {
    expect(without(role)).toEqual([complaint]);
  });

  it('half a machine image is none', () => {
    const { manifest } = readBundle(made);
    const [first] = manifest.files;
    if (first === undefined) throw new Error('no file');
    const files = [...manifest.files, { ...first, role: 'machine-rootfs' as const }];
    expect(incomplete({ ...manifest, files })).toEqual([
      'half a machine image: only machine-rootfs is there',
    ]);
  });
});
