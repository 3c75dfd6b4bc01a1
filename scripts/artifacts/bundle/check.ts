import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { CommandError } from '../../exec/executor.ts';
import type { FileRole } from '../../plan/software.ts';
import { LabError, messageOf, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { writeAtomic } from '../../shared/files.ts';
import { kubernetesMinor } from '../../shared/versions.ts';
import { sha256File } from '../cache.ts';
import { loadVersions } from '../online/versions.ts';
import { BUNDLE_FILE, type Bundle, type BundleFile, type BundleManifest } from './bundle.ts';
import { type Contents, missingImages, type ReadOptions, readContents } from './images.ts';

/** What a bundle must hold to make a lab. */
interface Need {
  readonly what: string;
  /** One of these sets of roles must be complete. */
  readonly oneOf: readonly (readonly FileRole[])[];
}

const IMAGES: Need = { what: 'container images', oneOf: [['image-archive']] };

const DISTRIBUTION: Readonly<Record<BundleManifest['distribution'], readonly Need[]>> = {
  // k3s has containerd, runc and kubectl in it.
  k3s: [{ what: 'the k3s binary', oneOf: [['k3s']] }, IMAGES],
  kubeadm: [
    { what: 'kubelet and kubeadm', oneOf: [['kubelet', 'kubeadm'], ['deb']] },
    { what: 'kubectl, for the host that runs labup', oneOf: [['kubectl']] },
    IMAGES,
  ],
};

/** From the Kubernetes minor on that speaks to containerd 2 only, which Debian 12 does not have. */
const CONTAINERD_2_MINOR = 36;
const CONTAINERD_2: readonly Need[] = [
  { what: 'containerd 2', oneOf: [['containerd']] },
  { what: 'runc, of the age of containerd 2', oneOf: [['runc']] },
  { what: 'the CNI plugins', oneOf: [['cni-plugins'], ['deb']] },
];

const CNI: Readonly<Record<BundleManifest['cni'], readonly Need[]>> = {
  calico: [{ what: "Calico's manifests", oneOf: [['calico-crds', 'calico-operator'], ['calico-manifest']] }],
  // BIRD itself is a Debian package of the machines.
  bird: [],
};

/** The roles of files that are missing for a lab, one line each. Pure. */
export function incomplete(manifest: BundleManifest): readonly string[] {
  const { distribution, cni, versions, files } = manifest;
  const has = new Set(files.map(({ role }) => role));
  const isNew = distribution === 'kubeadm' && kubernetesMinor(versions.kubernetes) >= CONTAINERD_2_MINOR;
  const needs = [...DISTRIBUTION[distribution], ...(isNew ? CONTAINERD_2 : []), ...CNI[cni]];
  const missing = needs
    .filter(({ oneOf }) => !oneOf.some((roles) => roles.every((role) => has.has(role))))
    .map(
      ({ what, oneOf }) =>
        `${what}: no file with role ${oneOf.map((roles) => roles.join(' and ')).join(', or ')}`,
    );
  const [metadata, rootfs] = [has.has('machine-metadata'), has.has('machine-rootfs')];
  return metadata === rootfs
    ? missing
    : [...missing, `half a machine image: only machine-${metadata ? 'metadata' : 'rootfs'} is there`];
}

/** A file when its content was last checked: a change of the content changes one of the first three. */
interface Seen {
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly inode: number;
  /** What was read from it then. */
  readonly contents: Contents;
}

export interface CheckOptions extends ReadOptions {
  /** Whether to rely on the cache's note of an earlier check of the same files, untouched since. */
  readonly fromNote: boolean;
  readonly emit?: Emit;
}

/**
 * Everything that is wrong with a bundle's folder, one line each: files that are missing, altered or not listed, and what
 * a lab needs and it does not have.
 */
export async function bundleProblems(bundle: Bundle, options: CheckOptions): Promise<readonly string[]> {
  const { folder, manifest } = bundle;
  const note = join(options.cache, 'bundles', `${noteKey(bundle)}.json`);
  const before = options.fromNote ? await readNote(note) : {};
  const listed = new Set<string>([BUNDLE_FILE, ...manifest.files.map(({ path }) => path)]);
  const extra = (await filesBelow(folder)).filter((path) => !listed.has(path));
  const problems = [...incomplete(manifest)];
  const seen: Record<string, Seen> = {};
  const contents = new Map<string, Contents>();
  for (const file of manifest.files) {
    const { path, sha256 } = file;
    const found = await lookAt(join(folder, path));
    if (found === undefined) {
      problems.push(`${path}: missing`);
      continue;
    }
    const earlier = before[path];
    if (isSame(earlier, found)) {
      seen[path] = earlier;
      contents.set(path, earlier.contents);
      continue;
    }
    options.emit?.({ type: 'note', text: `checking ${path}` });
    const actual = await sha256File(join(folder, path));
    if (actual !== sha256) {
      problems.push(`${path}: altered: its SHA-256 is ${actual}, not ${sha256}`);
      continue;
    }
    const read = await tryToRead(file, join(folder, path), manifest, options);
    if (typeof read === 'string') problems.push(read);
    else {
      seen[path] = { ...found, contents: read };
      contents.set(path, read);
    }
  }
  problems.push(...missingImages(manifest, contents, loadVersions()));
  problems.push(...extra.map((path) => `${path}: not listed in ${BUNDLE_FILE}`));
  if (problems.length === 0) await writeAtomic(note, JSON.stringify(seen));
  return problems;
}

/** What a bundle that is still to be made will lack, one line each; `sources` says where its files are now. */
export async function softwareProblems(
  manifest: BundleManifest,
  sources: ReadonlyMap<string, string>,
  options: ReadOptions,
): Promise<readonly string[]> {
  const problems = [...incomplete(manifest)];
  const contents = new Map<string, Contents>();
  for (const file of manifest.files) {
    const read = await tryToRead(file, sources.get(file.path) ?? file.path, manifest, options);
    if (typeof read === 'string') problems.push(read);
    else contents.set(file.path, read);
  }
  return [...problems, ...missingImages(manifest, contents, loadVersions())];
}

/** Checks a bundle as labup does. Throws UserError that names everything that is wrong. */
export async function requireVerified(bundle: Bundle, options: CheckOptions): Promise<void> {
  const problems = await bundleProblems(bundle, options);
  if (problems.length === 0) return;
  throw new UserError(`The bundle ${bundle.folder} failed verification.`, {
    details: problems,
    next: nextAfterProblems(bundle.manifest),
  });
}

/** What to do about a bundle that failed verification. */
export function nextAfterProblems({ distribution, cni }: BundleManifest): string {
  const from = cni === 'bird' ? 'debian' : `online --distribution ${distribution}`;
  return `Add what is missing (docs/bundle.md), copy it again, or make it again: npx lab bundle create --from ${from} DIR`;
}

/** What a file says, or what is wrong with it. */
async function tryToRead(
  file: BundleFile,
  path: string,
  manifest: BundleManifest,
  options: ReadOptions,
): Promise<Contents | string> {
  try {
    return await readContents(file, path, manifest, options);
  } catch (error) {
    const said = error instanceof CommandError ? ` ${error.details.at(-1)}` : '';
    if (error instanceof LabError && said === '') throw error;
    return `${file.path}: is not what role ${file.role} says: ${messageOf(error)}${said}`;
  }
}

// The number is raised when more is read from a file than before.
function noteKey({ folder, manifest }: Bundle): string {
  return createHash('sha256')
    .update(JSON.stringify([2, folder, manifest]))
    .digest('hex')
    .slice(0, 16);
}

function isSame(a: Seen | undefined, b: Omit<Seen, 'contents'>): a is Seen {
  return a !== undefined && a.bytes === b.bytes && a.modifiedMs === b.modifiedMs && a.inode === b.inode;
}

async function lookAt(path: string): Promise<Omit<Seen, 'contents'> | undefined> {
  // A link could lead out of the folder that is carried; stat follows it, so content is checked either way.
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? { bytes: found.size, modifiedMs: found.mtimeMs, inode: found.ino } : undefined;
}

// A note that cannot be read means no more than that the files are read once more.
async function readNote(path: string): Promise<Readonly<Record<string, Seen>>> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Readonly<Record<string, Seen>>;
  } catch {
    return {};
  }
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}
