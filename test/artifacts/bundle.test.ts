import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  existsSync,
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
import {
  type BundleManifest,
  parseBundle,
  readBundle,
  softwareOf,
} from '../../scripts/artifacts/bundle/bundle.ts';
import { bundleProblems, incomplete, requireVerified } from '../../scripts/artifacts/bundle/check.ts';
import { createBundle, renderBundle } from '../../scripts/artifacts/bundle/create.ts';
import { debianArchitecture } from '../../scripts/artifacts/debian.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import type { FileRole, Software } from '../../scripts/plan/software.ts';
import { LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';
import { K3S_FILES } from '../fakes/bundle.ts';

let folder: string;
let made: string;
const CONTENT = new Map(K3S_FILES.map(({ path, content }) => [path, content]));
const options = () => ({ local: localExecutor(), cache: join(folder, 'cache') });
const check = () => bundleProblems(readBundle(made), { ...options(), fromNote: false });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  made = join(folder, 'bundle');
  for (const [name, content] of CONTENT) writeFileSync(join(folder, name), content);
  await create(made);
});

function create(target: string, changed: Partial<Software> = {}) {
  return createBundle(target, { ...software(), ...changed }, debianArchitecture(), {
    ...options(),
    emit: silent,
  });
}

function software(): Software {
  return {
    distribution: 'k3s',
    cni: 'calico',
    versions: { kubernetes: 'v1.36.3+k3s1', calico: 'v3.32.1' },
    files: K3S_FILES.map(({ role, path, content }) => ({
      role,
      path: join(folder, path),
      version: 'v1',
      sha256: createHash('sha256').update(content).digest('hex'),
      nodes: ['control-plane', 'worker'],
      inMachineImage: false,
    })),
  };
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
    expect(bundle.manifest.architecture).toBe(debianArchitecture());
    const back = softwareOf(bundle);
    expect(back).toEqual({
      ...software(),
      files: software().files.map(({ path, ...rest }) => expect.objectContaining(rest)),
    });
    expect(back.files.map(({ path }) => readFileSync(path))).toEqual(
      [...CONTENT.values()].map((content) => Buffer.from(content)),
    );
    expect(await check()).toEqual([]);
  });

  it('is whole wherever it is carried', async () => {
    const carried = join(folder, 'carried');
    cpSync(made, carried, { recursive: true });
    rmSync(made, { recursive: true });
    expect(await bundleProblems(readBundle(carried), { ...options(), fromNote: false })).toEqual([]);
  });

  it('names what is missing, altered and too many, each with its path', async () => {
    rmSync(join(made, 'bin/k3s'));
    appendFileSync(join(made, 'images/calico.tar'), ' ');
    writeFileSync(join(made, 'images/other.tar'), '');
    expect(await check()).toEqual([
      'bin/k3s: missing',
      expect.stringMatching(/^images\/calico.tar: altered: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}$/),
      'container image quay.io/calico/cni:v3.32.1: in no image archive',
      'container image quay.io/calico/node:v3.32.1: in no image archive',
      'container image quay.io/calico/kube-controllers:v3.32.1: in no image archive',
      'images/other.tar: not listed in bundle.yaml',
    ]);
    const error = await refusal(() => requireVerified(readBundle(made), { ...options(), fromNote: false }));
    expect(error.details).toHaveLength(6);
    expect(error.next).toContain('npx lab bundle create --from online --distribution k3s DIR');
  });

  it('is read once, and again when a file was touched', async () => {
    const read: string[] = [];
    const again = () => {
      read.length = 0;
      const emit = (event: { readonly type: string; readonly text?: string }) =>
        void read.push(event.text ?? '');
      return bundleProblems(readBundle(made), { ...options(), fromNote: true, emit });
    };
    expect(await again()).toEqual([]);
    expect(read).toHaveLength(K3S_FILES.length);
    expect(await again()).toEqual([]);
    expect(read).toEqual([]);
    // As long as before, so that only its time tells.
    const path = join(made, 'bin/k3s');
    const { atime } = statSync(path);
    writeFileSync(path, readFileSync(path, 'utf8').toUpperCase());
    utimesSync(path, atime, new Date(Date.now() + 5_000));
    expect(await again()).toEqual([expect.stringContaining('bin/k3s: altered')]);
    expect(read).toEqual(['checking bin/k3s']);
  });
});

describe('making a bundle', () => {
  it('takes only a folder of its own', async () => {
    const error = await refusal(() => create(made));
    expect(error.message).toContain('is not empty');
    expect(error.details).toEqual(['It holds a bundle.']);
  });

  it('is refused before anything is written where its lab would lack something', async () => {
    const target = join(folder, 'lacking');
    const files = software().files.filter(({ path }) => !path.endsWith('calico.tar'));
    const error = await create(target, { files }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LabFailure);
    expect((error as LabFailure).details).toContain(
      'container image quay.io/calico/node:v3.32.1: in no image archive',
    );
    expect(existsSync(target)).toBe(false);
  });

  it('that was stopped is no bundle, and is taken over by the next try', async () => {
    const begun = join(folder, 'begun');
    mkdirSync(join(begun, 'bin'), { recursive: true });
    writeFileSync(join(begun, 'bundle.unfinished'), '');
    writeFileSync(join(begun, 'bin/left'), '');
    expect((await refusal(() => readBundle(begun))).message).toContain('is no bundle');
    await create(begun);
    expect(readBundle(begun).manifest).toEqual(readBundle(made).manifest);
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
    [{ path: 'images/calico.tar' }, 'is listed twice'],
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

it('docs/bundle.md has descriptions of bundles that are right, the two last of complete ones', () => {
  const text = readFileSync('docs/bundle.md', 'utf8').replaceAll('SUM', 'a'.repeat(64));
  const examples = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, body = '']) => body);
  const manifests = examples.map((example) => parseBundle(example, 'docs/bundle.md'));
  expect(manifests.map(({ distribution }) => distribution)).toEqual(['k3s', 'k3s', 'kubeadm']);
  expect(manifests.slice(1).map(incomplete)).toEqual([[], []]);
});
