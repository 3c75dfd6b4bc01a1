import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assetPath } from '../shared/assets.ts';
import type { BuildContext } from './recipe.ts';

/** LXD's and Incus' names of the architectures that Debian calls so. */
const KERNEL_ARCHITECTURE: Readonly<Record<string, string>> = { amd64: 'x86_64', arm64: 'aarch64' };

/** Assembles root file system, binaries, configuration and container images into the one machine image. */
export async function buildMachineImage(context: BuildContext): Promise<void> {
  await assemble(context, context.outputOf('kubernetes'), context.outputOf('container-images'));
}

/** The same machine without Kubernetes and its images, which come to it later from a bundle. */
export async function buildMachineBase(context: BuildContext): Promise<void> {
  await assemble(context, '', '');
}

async function assemble(
  { work, out, outputOf, script, parameters }: BuildContext,
  binaries: string,
  images: string,
): Promise<void> {
  const files = join(work, 'files');
  await cp(assetPath('images', 'machine', 'files'), files, { recursive: true });
  await fillIn(join(files, 'etc', 'containerd', 'config.toml'), {
    REGISTRY: parameters.registry ?? '',
    PAUSE_TAG: parameters.pause ?? '',
  });
  const metadata = join(work, 'metadata');
  await mkdir(metadata);
  await cp(assetPath('images', 'machine', 'templates'), join(metadata, 'templates'), { recursive: true });
  await cp(assetPath('images', 'machine', 'metadata.yaml'), join(metadata, 'metadata.yaml'));
  await fillIn(join(metadata, 'metadata.yaml'), {
    ARCHITECTURE: KERNEL_ARCHITECTURE[parameters.architecture ?? ''] ?? '',
    CREATION_DATE: String(Math.floor(Date.now() / 1000)),
  });
  await script(
    'machine/build.sh',
    work,
    out,
    join(outputOf('machine-root'), 'root.squashfs'),
    files,
    binaries,
    images,
    metadata,
  );
}

/** Replaces every @NAME@ in a file; a name without a value is a bug here. */
async function fillIn(path: string, values: Readonly<Record<string, string>>): Promise<void> {
  const text = await readFile(path, 'utf8');
  const filled = text.replaceAll(/@([A-Z_]+)@/g, (placeholder, name: string) => {
    const value = values[name];
    if (value === undefined || value === '') throw new Error(`${path}: nothing to put for ${placeholder}`);
    return value;
  });
  await writeFile(path, filled);
}
