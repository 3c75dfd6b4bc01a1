import { createHash } from 'node:crypto';
import { chmod, copyFile, link, mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assetPath } from '../shared/files.ts';
import {
  CLUSTER_DNS_IMAGE,
  ECHO_IMAGE,
  ETCD_TAG,
  INGRESS_IMAGE,
  K8S_IMAGE_REPOSITORY,
  K8S_VERSION,
  NGINX_IMAGE,
  PAUSE_TAG,
  TOOLBOX_IMAGE,
} from '../shared/versions.ts';
import { sha256File } from './cache.ts';
import { assetFiles, type BuildContext } from './recipe.ts';

/** A container image: layers of Debian packages, then one layer of files. */
export interface ContainerImage {
  readonly name: string;
  /** File name of its archive, without .tar; default: its name. The images of one archive share their layers. */
  readonly archive?: string;
  readonly reference: string;
  /** Lists of images/containers, in order. */
  readonly layers: readonly string[];
  /** Folder in the image that gets the named binary of the Kubernetes build. */
  readonly binary?: { readonly name: string; readonly to: string };
  /** Python files, single or of folders of this package, by the folder that gets them. */
  readonly python?: Readonly<Record<string, string>>;
  readonly environment?: readonly string[];
  readonly entrypoint: readonly string[];
}

/**
 * Go's own knobs: fewer garbage collections (the API server's start takes 4.1 s of processor time instead of 5.9), until a
 * process has so much memory that Go's default would be better. https://go.dev/doc/gc-guide#Memory_limit
 */
const CONTROL_PLANE_GO = ['GOGC=400', 'GOMEMLIMIT=400MiB'];

// kubeadm's static pods name their command themselves, found in PATH; kube-proxy's DaemonSet names /usr/local/bin.
const kubernetes = (name: string, more: Partial<ContainerImage> = {}): ContainerImage => ({
  name,
  reference: `${K8S_IMAGE_REPOSITORY}/${name}:${K8S_VERSION}`,
  layers: [],
  binary: { name, to: '/usr/local/bin' },
  entrypoint: [`/usr/local/bin/${name}`],
  ...more,
});

// PID 1 has no default signal actions, so that a mere sleep would only end when it is killed.
const SLEEP_OR_RUN = `[ $# = 0 ] || exec "$@"; trap 'exit 0' TERM INT; sleep infinity & wait`;

/** Every image that a lab runs. All are imported into the machine image, so that no machine ever pulls. */
export const CONTAINER_IMAGES: readonly ContainerImage[] = [
  kubernetes('kube-apiserver', { environment: CONTROL_PLANE_GO }),
  kubernetes('kube-controller-manager', { environment: CONTROL_PLANE_GO }),
  kubernetes('kube-scheduler', { environment: CONTROL_PLANE_GO }),
  kubernetes('kube-proxy', { layers: ['kube-proxy'] }),
  {
    name: 'etcd',
    reference: `${K8S_IMAGE_REPOSITORY}/etcd:${ETCD_TAG}`,
    layers: ['etcd'],
    environment: CONTROL_PLANE_GO,
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
    archive: 'echo',
    reference: NGINX_IMAGE,
    layers: ['base', 'nginx'],
    entrypoint: ['/usr/sbin/nginx'],
  },
  {
    name: 'toolbox',
    archive: 'echo',
    reference: TOOLBOX_IMAGE,
    layers: ['base', 'toolbox'],
    entrypoint: ['/bin/sh', '-c', SLEEP_OR_RUN, 'toolbox'],
  },
  {
    name: 'ingress',
    archive: 'echo',
    reference: INGRESS_IMAGE,
    layers: ['base', 'ingress'],
    python: { 'images/cluster-dns/kube_watch.py': '/', 'images/ingress': '/' },
    entrypoint: ['python3', '/controller.py'],
  },
  {
    name: 'echo',
    reference: ECHO_IMAGE,
    layers: ['base'],
    python: { echo: '/echo', probe: '/probe' },
    entrypoint: ['python3', '/echo/echo_server.py'],
  },
];

/** The archive that an image is in, without .tar. */
export function archiveOf({ name, archive = name }: ContainerImage): string {
  return archive;
}

/** The lab's own ones, whoever made Kubernetes. */
export const ECHO_IMAGES = CONTAINER_IMAGES.filter((image) => archiveOf(image) === 'echo');

export const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** An image in a docker-archive, the format of "docker save" that `ctr images import` reads. */
export interface DockerImage {
  readonly reference: string;
  /** Uncompressed layers as tar files, lowest first. */
  readonly layers: readonly string[];
  readonly environment: readonly string[];
  readonly entrypoint: readonly string[];
  readonly architecture: string;
}

/** An image's configuration, as the OCI image specification has it. The same input gives the same bytes. */
export function imageConfig(image: Omit<DockerImage, 'layers'>, diffIds: readonly string[]): string {
  return JSON.stringify({
    architecture: image.architecture,
    os: 'linux',
    config: { Env: image.environment, Entrypoint: image.entrypoint, WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map(() => ({ created_by: 'k8s-bgp-lab' })),
  });
}

/**
 * Writes the archive. `staging` is a folder to be made on the layers' file system (they are linked, not copied);
 * `tar` runs tar with the given arguments.
 */
export async function writeDockerArchive(
  images: readonly DockerImage[],
  file: string,
  staging: string,
  tar: (args: readonly string[]) => Promise<void>,
): Promise<void> {
  await mkdir(staging);
  const digests = new Map<string, string>();
  for (const layer of new Set(images.flatMap(({ layers }) => layers))) {
    const digest = await sha256File(layer);
    if (![...digests.values()].includes(digest)) await link(layer, join(staging, `${digest}.tar`));
    digests.set(layer, digest);
  }
  const manifest = [];
  for (const image of images) {
    const own = image.layers.map((layer) => digests.get(layer));
    const config = imageConfig(
      image,
      own.map((digest) => `sha256:${digest}`),
    );
    const Config = `${createHash('sha256').update(config).digest('hex')}.json`;
    await writeFile(join(staging, Config), config);
    manifest.push({ Config, RepoTags: [image.reference], Layers: own.map((digest) => `${digest}.tar`) });
  }
  await writeFile(join(staging, 'manifest.json'), JSON.stringify(manifest));
  const names = manifest.flatMap(({ Config, Layers }) => [Config, ...Layers]);
  await tar(['-C', staging, '-cf', file, 'manifest.json', ...new Set(names)]);
  await rm(staging, { recursive: true });
}

/** Packs container images as docker-archives: layers of packages, then one of files. */
export async function buildContainerImages(
  context: BuildContext,
  images: readonly ContainerImage[] = CONTAINER_IMAGES,
): Promise<void> {
  const { work, out, outputOf, run, parameters } = context;
  const archives = new Map<string, DockerImage[]>();
  for (const image of images) {
    const packages = await outputOf('container-layers');
    const layers = image.layers.map((name) => join(packages, `${name}.tar`));
    const files = await filesOf(image, outputOf);
    if (files.length > 0) layers.push(await fileLayer(context, image.name, files));
    const archive = archiveOf(image);
    const packed = {
      reference: image.reference,
      layers,
      environment: [`PATH=${IMAGE_PATH}`, 'PYTHONUNBUFFERED=1', ...(image.environment ?? [])],
      entrypoint: image.entrypoint,
      architecture: parameters.architecture ?? '',
    };
    archives.set(archive, [...(archives.get(archive) ?? []), packed]);
  }
  for (const [name, packed] of archives)
    await writeDockerArchive(packed, join(out, `${name}.tar`), join(work, `${name}.staging`), (args) =>
      run(['tar', ...args]),
    );
}

interface FileToCopy {
  readonly from: string;
  readonly to: string;
  readonly mode: number;
}

// An image of Python files alone needs no Kubernetes to have been built.
async function filesOf(
  { binary, python = {} }: ContainerImage,
  outputOf: BuildContext['outputOf'],
): Promise<FileToCopy[]> {
  const files: FileToCopy[] = [];
  if (binary !== undefined) {
    files.push({
      from: join(await outputOf('kubernetes'), binary.name),
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
