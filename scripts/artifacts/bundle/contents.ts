import { readFile } from 'node:fs/promises';
import type { Executor } from '../../exec/executor.ts';
import { imagesOfManifest } from '../../render/calico-manifest.ts';
import { kubeadmApi } from '../../render/kubeadm.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { K8S_IMAGE_REPOSITORY, UPSTREAM_IMAGE_REPOSITORY } from '../../shared/versions.ts';
import { debianArchitecture } from '../debian.ts';
import { runnableProgram } from '../programs.ts';
import { type ArchivedImage, readImageArchive } from './archive.ts';
import type { BundleFile, BundleManifest } from './manifest.ts';

/** What one file of a bundle says of container images. */
export interface Contents {
  /** Those that are in it. */
  readonly holds?: readonly ArchivedImage[] | undefined;
  /** Those that it will ask for, in full. */
  readonly asksFor?: readonly string[] | undefined;
}

export interface ReadOptions {
  readonly local: Executor;
  /** Where a program is put that cannot be run where it lies. */
  readonly cache: string;
}

/**
 * Reads what a file says of container images: an archive by its manifests, a manifest of Calico's by its workloads, and
 * kubeadm by asking it, where this host can run it. `path` is where the file lies here; its sum was checked. Throws an
 * Error with what is wrong where it is not what its role says.
 */
export async function readContents(
  file: BundleFile,
  path: string,
  manifest: BundleManifest,
  options: ReadOptions,
): Promise<Contents> {
  switch (file.role) {
    case 'image-archive':
    case 'echo-image':
      return { holds: await readImageArchive(path) };
    case 'calico-manifest':
    case 'calico-operator':
      return { asksFor: imagesOfManifest(await readFile(path, 'utf8')) };
    case 'kubeadm':
      return { asksFor: await askKubeadm({ ...file, path }, manifest, options) };
    default:
      return {};
  }
}

async function askKubeadm(
  file: BundleFile,
  { architecture, versions }: BundleManifest,
  { local, cache }: ReadOptions,
): Promise<readonly string[] | undefined> {
  if (process.platform !== 'linux' || architecture !== debianArchitecture()) return undefined;
  const argv = [
    await runnableProgram(file, cache, 'kubeadm'),
    'config',
    'images',
    'list',
    // With a version it asks nobody for the newest one.
    ['--kubernetes-version', versions.kubernetes],
    ['--image-repository', imageRepository(versions.kubernetes)],
  ].flat();
  const { stdout } = await local.run(argv, { timeoutMs: TIMEOUTS.command });
  return stdout.split('\n').filter((line) => /^\S+\/\S+:\S+$/.test(line));
}

/** Where the cluster of a version looks for its images. */
export function imageRepository(kubernetes: string): string {
  return kubeadmApi(kubernetes) === 'v1beta2' ? K8S_IMAGE_REPOSITORY : UPSTREAM_IMAGE_REPOSITORY;
}
