import { readFile } from 'node:fs/promises';
import type { Executor } from '../../exec/executor.ts';
import { NODE_ROLES, type NodeRole } from '../../plan/software.ts';
import { imagesOfManifest } from '../../render/calico.ts';
import { kubeadmApi } from '../../render/kubeadm.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import {
  CLUSTER_DNS_IMAGE,
  ECHO_IMAGE,
  ETCD_TAG,
  K8S_IMAGE_REPOSITORY,
  PAUSE_TAG,
  UPSTREAM_IMAGE_REPOSITORY,
} from '../../shared/versions.ts';
import { runnableProgram } from '../cache.ts';
import { debianArchitecture } from '../debian.ts';
import type { Versions } from '../online/versions.ts';
import { type ArchivedImage, fullImageName, readImageArchive } from './archive.ts';
import type { BundleFile, BundleManifest } from './bundle.ts';

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

/** A container image that a lab runs. */
export interface NeededImage {
  /** In full; without its tag where only the release itself knows that. */
  readonly name: string;
  /** The nodes that may run it. */
  readonly nodes: readonly NodeRole[];
}

/** What the files of a bundle say, by their paths in it. */
export type ContentsByPath = ReadonlyMap<string, Contents>;

/** Every container image that the lab of a bundle runs. Pure. */
export function neededImages(
  manifest: BundleManifest,
  contents: ContentsByPath,
  lock: Versions,
): readonly NeededImage[] {
  const { distribution, cni, files } = manifest;
  const names = distribution === 'k3s' ? k3sImages(manifest, lock) : kubeadmImages(manifest, contents, lock);
  return [
    // With the bird CNI cluster DNS is the lab's own.
    ...names.filter((name) => cni === 'calico' || !isCoreDns(name)).map((name) => need(name, nodesOf(name))),
    ...(cni === 'calico' ? calicoImages(manifest, contents, lock) : []).map((name) => need(name)),
    ...(cni === 'bird' ? [need(CLUSTER_DNS_IMAGE, ['control-plane'])] : []),
    ...(files.some(({ role }) => role === 'echo-image') ? [need(ECHO_IMAGE, ['worker'])] : []),
  ];
}

/** The images that a lab needs and its archives lack, for each node that needs it; one line each. Pure. */
export function missingImages(
  manifest: BundleManifest,
  contents: ContentsByPath,
  lock: Versions,
): readonly string[] {
  return neededImages(manifest, contents, lock).flatMap((image) => complaint(image, manifest, contents));
}

function need(name: string, nodes: readonly NodeRole[] = NODE_ROLES): NeededImage {
  return { name: fullName(name), nodes };
}

// A tag must not be made up where it is not known.
function fullName(name: string): string {
  return hasTag(name) ? fullImageName(name) : name;
}

const hasTag = (name: string) => /:[^/]+$/.test(name);
const isCoreDns = (name: string) => /coredns(:|$)/.test(name);
const nodesOf = (name: string): readonly NodeRole[] =>
  /\/(kube-apiserver|kube-controller-manager|kube-scheduler|etcd)(:|$)/.test(name)
    ? ['control-plane']
    : NODE_ROLES;

function k3sImages({ versions }: BundleManifest, { k3s }: Versions): readonly string[] {
  if (versions.kubernetes === k3s.version) return k3s.runs;
  // Of another release only the names are known: a release runs whatever tags it was built with.
  return k3s.runs.map((name) => name.replace(/:[^/]*$/, ''));
}

function kubeadmImages(
  { versions, files }: BundleManifest,
  contents: ContentsByPath,
  { kubernetes: pinned }: Versions,
): readonly string[] {
  const { kubernetes } = versions;
  const repository = imageRepository(kubernetes);
  const isOurs = repository === K8S_IMAGE_REPOSITORY;
  const asked = asksFor(files, contents, 'kubeadm');
  // The lab's own Kubernetes runs Debian's etcd.
  if (asked.length > 0)
    return asked.map((name) => (isOurs ? name.replace(/(?<=\/etcd:).*/, ETCD_TAG) : name));
  if (kubernetes === pinned.version) return pinned.images.map(({ name, tag }) => `${name}:${tag}`);
  const components = ['apiserver', 'controller-manager', 'scheduler', 'proxy'];
  const others = isOurs ? [`etcd:${ETCD_TAG}`, `pause:${PAUSE_TAG}`] : ['etcd', 'pause', 'coredns/coredns'];
  return [...components.map((name) => `kube-${name}:${kubernetes}`), ...others].map(
    (name) => `${repository}/${name}`,
  );
}

function calicoImages(
  { versions, files }: BundleManifest,
  contents: ContentsByPath,
  { calico }: Versions,
): readonly string[] {
  const operator = asksFor(files, contents, 'calico-operator');
  if (operator.length === 0) return asksFor(files, contents, 'calico-manifest');
  // What the operator starts it knows itself; the images are tagged with Calico's version.
  const started = calico.methods.operator.images.filter(({ tag }) => tag === calico.version);
  return [...operator, ...started.map(({ name }) => `${name}:${versions.calico}`)];
}

function asksFor(
  files: readonly BundleFile[],
  contents: ContentsByPath,
  role: BundleFile['role'],
): readonly string[] {
  return files.filter((file) => file.role === role).flatMap(({ path }) => contents.get(path)?.asksFor ?? []);
}

function complaint(
  { name, nodes }: NeededImage,
  { architecture, files }: BundleManifest,
  contents: ContentsByPath,
): readonly string[] {
  const repository = name.replace(/:[^/]*$/, '');
  const archives = files.flatMap((file) =>
    (contents.get(file.path)?.holds ?? []).map((image) => ({ ...file, ...image })),
  );
  const related = archives.filter((image) => image.name.startsWith(`${repository}:`));
  const same = hasTag(name) ? related.filter((image) => image.name === name) : related;
  const usable = same.filter(({ architectures }) => architectures.includes(architecture));
  const says = (text: string) => [`container image ${name}: ${text}`];
  if (same.length === 0) {
    const others = related.map((image) => `${image.path} has ${image.name.slice(repository.length + 1)}`);
    return says(['in no image archive', ...others].join('; '));
  }
  if (usable.length === 0) {
    const others = same.map(
      ({ path, architectures }) => `${path} has it for ${architectures.join(' and ') || 'no platform'}`,
    );
    return says([...others, `this bundle is for ${architecture}`].join('; '));
  }
  const without = nodes.filter((role) => !usable.some((archive) => archive.nodes.includes(role)));
  if (without.length === 0) return [];
  const where = usable.map((archive) => `${archive.path} is for nodes: [${archive.nodes.join(', ')}]`);
  return says(`not for ${without.join(' and ')} nodes; ${where.join('; ')}`);
}
