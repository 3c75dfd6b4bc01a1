import { createHash } from 'node:crypto';
import { link, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256File } from './cache.ts';

/** What goes into a docker-archive, the format of "docker save" that `ctr images import` reads. */
export interface DockerArchive {
  readonly reference: string;
  /** Uncompressed layers as tar files, lowest first. */
  readonly layers: readonly string[];
  readonly environment: readonly string[];
  readonly entrypoint: readonly string[];
  readonly architecture: string;
}

/** An image's configuration, as the OCI image specification has it. The same input gives the same bytes. */
export function imageConfig(archive: Omit<DockerArchive, 'layers'>, diffIds: readonly string[]): string {
  return JSON.stringify({
    architecture: archive.architecture,
    os: 'linux',
    config: { Env: archive.environment, Entrypoint: archive.entrypoint, WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map(() => ({ created_by: 'k8s-bgp-lab' })),
  });
}

/**
 * Writes the archive. `staging` is a folder to be made on the layers' file system (they are linked, not copied);
 * `tar` runs tar with the given arguments.
 */
export async function writeDockerArchive(
  archive: DockerArchive,
  file: string,
  staging: string,
  tar: (args: readonly string[]) => Promise<void>,
): Promise<void> {
  await mkdir(staging);
  const digests: string[] = [];
  for (const layer of archive.layers) {
    const digest = await sha256File(layer);
    await link(layer, join(staging, `${digest}.tar`));
    digests.push(digest);
  }
  const config = imageConfig(
    archive,
    digests.map((digest) => `sha256:${digest}`),
  );
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`;
  const layerNames = digests.map((digest) => `${digest}.tar`);
  const manifest = [{ Config: configName, RepoTags: [archive.reference], Layers: layerNames }];
  await writeFile(join(staging, configName), config);
  await writeFile(join(staging, 'manifest.json'), JSON.stringify(manifest));
  await tar(['-C', staging, '-cf', file, 'manifest.json', configName, ...layerNames]);
  await rm(staging, { recursive: true });
}
