import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { type FileRole, NODE_ROLES, type Software, type SoftwareFile } from '../../plan/software.ts';
import { LabFailure, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { writeAtomic } from '../../shared/files.ts';
import { BUNDLE_FILE, BUNDLE_VERSION, type BundleFile, type BundleManifest } from './bundle.ts';
import { softwareProblems } from './check.ts';
import type { ReadOptions } from './images.ts';

/** Where in a bundle the files of a role lie; they are found by bundle.yaml alone, this is for people. */
const FOLDERS: Readonly<Partial<Record<FileRole, string>>> = {
  'image-archive': 'images',
  'echo-image': 'images',
  'calico-crds': 'calico',
  'calico-operator': 'calico',
  'calico-manifest': 'calico',
  'machine-metadata': 'machine',
  'machine-rootfs': 'machine',
  deb: 'packages',
};

/**
 * The description of a bundle of this software, and where each file of it comes from. `places` says where files belong,
 * by their paths here; the others lie where their roles say. Pure.
 */
export function planBundle(
  software: Software,
  architecture: BundleManifest['architecture'],
  places: ReadonlyMap<string, string> = new Map(),
): { readonly manifest: BundleManifest; readonly sources: ReadonlyMap<string, string> } {
  const sources = new Map<string, string>();
  const files = software.files.map((file): BundleFile => {
    const { path: source, ...rest } = file;
    const path = places.get(source) ?? placeOf(file);
    if (sources.has(path)) throw new Error(`two files of the bundle would be ${path}`);
    sources.set(path, source);
    return { path, ...rest, nodes: [...file.nodes] };
  });
  const { distribution, cni, versions } = software;
  return {
    manifest: { schemaVersion: BUNDLE_VERSION, architecture, distribution, cni, versions, files },
    sources,
  };
}

function placeOf({ role, path, platform }: SoftwareFile): string {
  const folder = FOLDERS[role] ?? 'bin';
  return platform === undefined ? `${folder}/${basename(path)}` : `${folder}/${platform}/${basename(path)}`;
}

/** bundle.yaml as text. */
export function renderBundle(manifest: BundleManifest): string {
  const header =
    '# A bundle of k8s-bgp-lab: everything that a lab is made from. npx labup --artifacts FOLDER (see docs/bundle.md)\n';
  return header + stringify({ ...manifest, files: manifest.files.map(brief) }, { lineWidth: 0 });
}

/** A file as people would write it: the most telling first, and without what goes without saying. */
function brief({ path, role, version, sha256, nodes, inMachineImage, platform }: BundleFile) {
  return {
    path,
    role,
    version,
    sha256,
    ...(nodes.length === NODE_ROLES.length ? {} : { nodes }),
    ...(inMachineImage ? { inMachineImage } : {}),
    ...(platform === undefined ? {} : { platform }),
  };
}

export interface CreateOptions extends ReadOptions {
  readonly emit: Emit;
  /** Where files belong, by their paths here; the others lie where their roles say. */
  readonly places?: ReadonlyMap<string, string> | undefined;
}

/**
 * Writes a bundle into a folder that is empty or absent, or that an earlier, ended try has begun. bundle.yaml comes last:
 * what has one is complete. Throws UserError where the folder holds something else.
 */
export async function createBundle(
  folder: string,
  software: Software,
  architecture: BundleManifest['architecture'],
  { emit, places, ...options }: CreateOptions,
): Promise<BundleManifest> {
  const target = resolve(folder);
  const { manifest, sources } = planBundle(software, architecture, places);
  const problems = await softwareProblems(manifest, sources, options);
  if (problems.length > 0)
    throw new LabFailure('The bundle would lack what its lab needs.', {
      details: problems,
      next: 'npx lab bundle create --from debian DIR   (or --from online), of a release that is not altered',
    });
  await prepare(target);
  for (const [path, source] of sources) {
    emit({ type: 'note', text: path });
    await mkdir(dirname(join(target, path)), { recursive: true });
    // Copy on write where the file system can: never a link, which would let a changed bundle change the cache.
    await copyFile(source, join(target, path), constants.COPYFILE_FICLONE);
  }
  await writeAtomic(join(target, BUNDLE_FILE), renderBundle(manifest));
  await rm(join(target, UNFINISHED));
  return manifest;
}

/** Says of a folder that it is a bundle in the making, so that another try may take it over. */
const UNFINISHED = 'bundle.unfinished';

async function prepare(target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  const there = await readdir(target);
  if (there.includes(UNFINISHED)) {
    // Everything in it is of that try: a bundle is begun in an empty folder only.
    for (const name of there.filter((each) => each !== UNFINISHED))
      await rm(join(target, name), { recursive: true, force: true });
    return;
  }
  if (there.length > 0)
    throw new UserError(`${target} is not empty.`, {
      details: [
        there.includes(BUNDLE_FILE) ? 'It holds a bundle.' : `It holds ${there.slice(0, 3).join(', ')} ...`,
      ],
      next: 'Name an empty folder or a new one.',
    });
  await writeFile(join(target, UNFINISHED), 'lab bundle create is running here, or was stopped.\n');
}
