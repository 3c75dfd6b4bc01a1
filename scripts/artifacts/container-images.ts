import { createHash } from 'node:crypto';
import { chmod, copyFile, link, mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assetPath } from '../shared/files.ts';
import {
  CLUSTER_DNS_IMAGE,
  ECHO_IMAGE,
  ETCD_TAG,
  K8S_IMAGE_REPOSITORY,
  K8S_VERSION,
  NGINX_IMAGE,
  PAUSE_TAG,
} from '../shared/versions.ts';
import { sha256File } from './cache.ts';
import { assetFiles, type BuildContext } from './recipe.ts';

/** A container image: layers of Debian packages, then one layer of files. */
export interface ContainerImage {
  /** File name of its archive, without .tar. */
  readonly name: string;
  readonly reference: string;
  /** Lists of images/containers, in order. */
  readonly layers: readonly string[];
  /** Folder in the image that gets the named binary of the Kubernetes build. */
  readonly binary?: { readonly name: string; readonly to: string };
  /** Python files of folders of this package, by the folder that gets them. */
  readonly python?: Readonly<Record<string, string>>;
  readonly entrypoint: readonly string[];
}

// kubeadm's static pods name their command themselves, found in PATH; kube-proxy's DaemonSet names /usr/local/bin.
const kubernetes = (name: string, layers: readonly string[] = []): ContainerImage => ({
  name,
  reference: `${K8S_IMAGE_REPOSITORY}/${name}:${K8S_VERSION}`,
  layers,
  binary: { name, to: '/usr/local/bin' },
  entrypoint: [`/usr/local/bin/${name}`],
});

/** Every image that a lab runs. All are imported into the machine image, so that no machine ever pulls. */
export const CONTAINER_IMAGES: readonly ContainerImage[] = [
  kubernetes('kube-apiserver'),
  kubernetes('kube-controller-manager'),
  kubernetes('kube-scheduler'),
  kubernetes('kube-proxy', ['kube-proxy']),
  {
    name: 'etcd',
    reference: `${K8S_IMAGE_REPOSITORY}/etcd:${ETCD_TAG}`,
    layers: ['etcd'],
    entrypoint: ['/usr/bin/etcd'],
  },
  {
    name: 'pause',
    reference: `${K8S_IMAGE_REPOSITORY}/pause:${PAUSE_TAG}`,
    layers: [],
    binary: { name: 'pause', to: '/' },
    entrypoint: ['/pause'],
  },
  {
    name: 'cluster-dns',
    reference: CLUSTER_DNS_IMAGE,
    layers: ['base', 'cluster-dns'],
    python: { 'images/cluster-dns': '/' },
    entrypoint: ['python3', '/feeder.py'],
  },
  {
    name: 'nginx',
    reference: NGINX_IMAGE,
    layers: ['base', 'nginx'],
    entrypoint: ['/usr/sbin/nginx'],
  },
  {
    name: 'echo',
    reference: ECHO_IMAGE,
    layers: ['base'],
    python: { echo: '/echo', probe: '/probe' },
    entrypoint: ['python3', '/echo/echo_server.py'],
  },
];

/** The one that is the lab's own, whoever made Kubernetes. */
export const ECHO_IMAGES = CONTAINER_IMAGES.filter(({ reference }) => reference === ECHO_IMAGE);

export const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

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

/** Packs container images as docker-archives: layers of packages, then one of files. */
export async function buildContainerImages(
  context: BuildContext,
  images: readonly ContainerImage[] = CONTAINER_IMAGES,
): Promise<void> {
  const { work, out, outputOf, run, parameters } = context;
  for (const image of images) {
    const layers = image.layers.map((name) => join(outputOf('container-layers'), `${name}.tar`));
    const files = filesOf(image, outputOf);
    if (files.length > 0) layers.push(await fileLayer(context, image.name, files));
    const archive = {
      reference: image.reference,
      layers,
      environment: [`PATH=${IMAGE_PATH}`, 'PYTHONUNBUFFERED=1'],
      entrypoint: image.entrypoint,
      architecture: parameters.architecture ?? '',
    };
    await writeDockerArchive(
      archive,
      join(out, `${image.name}.tar`),
      join(work, `${image.name}.staging`),
      (args) => run(['tar', ...args]),
    );
  }
}

interface FileToCopy {
  readonly from: string;
  readonly to: string;
  readonly mode: number;
}

// An image of Python files alone needs no Kubernetes to have been built.
function filesOf({ binary, python = {} }: ContainerImage, outputOf: BuildContext['outputOf']): FileToCopy[] {
  const files: FileToCopy[] = [];
  if (binary !== undefined) {
    files.push({
      from: join(outputOf('kubernetes'), binary.name),
      to: join(binary.to, binary.name),
      mode: 0o755,
    });
  }
  for (const [folder, to] of Object.entries(python)) {
    for (const { name } of assetFiles([folder])) {
      if (name.endsWith('.py'))
        files.push({ from: assetPath(name), to: join(to, basename(name)), mode: 0o644 });
    }
  }
  return files;
}

async function fileLayer(
  { work, run }: BuildContext,
  name: string,
  files: readonly FileToCopy[],
): Promise<string> {
  const root = join(work, `${name}.root`);
  for (const { from, to, mode } of files) {
    await mkdir(dirname(join(root, to)), { recursive: true });
    await copyFile(from, join(root, to));
    await chmod(join(root, to), mode);
  }
  const layer = join(work, `${name}.files.tar`);
  // No clock, user or umask in it: equal files give an equal layer.
  const options = [
    '--sort=name',
    '--mtime=@0',
    '--mode=u=rwX,go=rX',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
  ];
  await run(['tar', ...options, '-C', root, '-cf', layer, '.']);
  return layer;
}
