import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bundle, readBundle, softwareOf } from '../artifacts/bundle/bundle.ts';
import { requireVerified } from '../artifacts/bundle/check.ts';
import { placeProgram, runnableProgram } from '../artifacts/cache.ts';
import { debianArchitecture, findDebianSource, mirrorProblem } from '../artifacts/debian.ts';
import { cachedFiles, debianSoftware } from '../artifacts/debian-software.ts';
import { ensureArtifacts, missingArtifacts } from '../artifacts/ensure.ts';
import { withNodeImage } from '../artifacts/node-image.ts';
import { loadVersions, type OnlineChoice, onlineFiles, PLATFORMS } from '../artifacts/online/versions.ts';
import type { Recipe } from '../artifacts/recipe.ts';
import { recipes } from '../artifacts/recipes.ts';
import { type Executor, quoteWord } from '../exec/executor.ts';
import type { MachineDriver, MachineImage } from '../machines/driver.ts';
import { filesOf, type Software, type SoftwareFile } from '../plan/software.ts';
import { UserError } from '../shared/errors.ts';
import { silent } from '../shared/events.ts';
import type { DistributionName } from '../spec/types.ts';
import type { ArtifactChoice, ArtifactSource } from './deps.ts';

/** The source of a choice; `cache` is what all labs share. */
export function artifactSource(choice: ArtifactChoice, local: Executor, cache: string): ArtifactSource {
  switch (choice.from) {
    case 'debian':
      return debianArtifacts(local, cache);
    case 'bundle':
      return bundleArtifacts(choice.folder, local, cache);
    case 'online':
      return onlineArtifacts(choice.distribution, local, cache);
  }
}

/** Images and binaries made from Debian packages in the given cache folder. */
export function debianArtifacts(local: Executor, cache: string): ArtifactSource {
  return {
    async missing(machines) {
      const missing = await missingArtifacts({ cache, all: recipesFor(machines) });
      return missing.map(({ title, seconds }) => ({ name: title, minutes: Math.ceil(seconds / 60) }));
    },
    async reachable() {
      return mirrorAnswers(local);
    },
    async ensure(machines, emit, signal) {
      const all = recipesFor(machines);
      const missing = await missingArtifacts({ cache, all });
      const made = await ensureArtifacts({ host: local, emit, signal, cache, all });
      const { machineImage: image, kubectl } = made;
      const software = await debianSoftware(made);
      return { artifacts: { image, software, kubectl }, changed: missing.length > 0 };
    },
  };
}

/** Plain machines boot from an image of their own: the lab's is not needed, nor what only it is made from. */
function recipesFor(machines: MachineDriver['machines']): readonly Recipe[] {
  const all = recipes();
  return machines === 'prebuilt'
    ? all
    : all.filter(({ id }) => id !== 'machine-image' && id !== 'machine-root');
}

/** A lab's software from a bundle: nothing is built, and nothing touches the network. */
export function bundleArtifacts(folder: string, local: Executor, cache: string): ArtifactSource {
  const whole = async (machines: MachineDriver['machines'], emit = silent) => {
    const bundle = readBundle(folder);
    requireArchitecture(bundle);
    await requireVerified(bundle, { local, cache, emit, fromNote: true });
    hostKubectlOf(softwareOf(bundle));
    return complement(softwareOf(bundle), machines, bundle, cache);
  };
  return {
    // Looked at before anything is touched: half a bundle makes half a lab.
    async missing(machines) {
      await whole(machines);
      return [];
    },
    // Asked only where packages of this host are missing.
    async reachable() {
      return mirrorAnswers(local);
    },
    async ensure(machines, emit) {
      const software = await whole(machines, emit);
      const image = machines === 'prebuilt' ? imageOf(software) : undefined;
      const kubectl = await hostKubectl(software, cache);
      return { artifacts: { image, software, kubectl }, changed: false };
    },
    forNodes: forNodes(local, cache),
  };
}

function forNodes(local: Executor, cache: string): NonNullable<ArtifactSource['forNodes']> {
  return async (artifacts, emit, signal) => {
    const options = { host: local, cache, emit, signal };
    const { software, changed } = await withNodeImage(artifacts.software, options);
    return { artifacts: { ...artifacts, software, image: imageOf(software) }, changed };
  };
}

function requireArchitecture({ folder, manifest }: Bundle): void {
  const here = debianArchitecture();
  if (manifest.architecture === here) return;
  throw new UserError(`The bundle ${folder} is for ${manifest.architecture}, and this machine is ${here}.`, {
    next: `Make one here or on another ${here} machine: npx lab bundle create --from online DIR`,
  });
}

/** The software with what the bundle leaves out and the cache holds: the echo image and the machine image. */
async function complement(
  software: Software,
  machines: MachineDriver['machines'],
  { folder }: Bundle,
  cache: string,
): Promise<Software> {
  const needs = [
    { role: 'echo-image', what: 'the echo image', wanted: true },
    { role: 'machine-rootfs', what: 'the machine image', wanted: machines === 'prebuilt' },
  ] as const;
  const lacking = needs.filter(({ role, wanted }) => wanted && filesOf(software, role).length === 0);
  const added: SoftwareFile[] = [];
  const missing: string[] = [];
  for (const { role, what } of lacking) {
    const files = await cachedFiles(cache, role);
    if (files === undefined) missing.push(`${what}: no file with role ${role}, and none in the cache`);
    else added.push(...files);
  }
  if (missing.length === 0) return { ...software, files: [...software.files, ...added] };
  throw new UserError(`The bundle ${folder} leaves out what this host has not built either.`, {
    details: missing,
    next: 'Build it where Debian can be reached, and carry it: npx lab bundle create --from debian DIR',
  });
}

/** The machine image among the software; undefined where there is none. */
export function imageOf(software: Software): MachineImage | undefined {
  const [metadata] = filesOf(software, 'machine-metadata');
  const [rootfs] = filesOf(software, 'machine-rootfs');
  if (metadata === undefined || rootfs === undefined) return undefined;
  return { metadataFile: metadata.path, rootfsFile: rootfs.path, key: rootfs.sha256 };
}

/** The file that this host has its kubectl from. Throws UserError where the bundle has none. */
function hostKubectlOf(software: Software): SoftwareFile {
  const platform = `${process.platform}/${debianArchitecture()}`;
  const own = filesOf(software, 'kubectl').find((file) => (file.platform ?? platform) === platform);
  const found = own ?? (process.platform === 'linux' ? filesOf(software, 'k3s')[0] : undefined);
  if (found !== undefined) return found;
  throw new UserError('The bundle has no kubectl for this host.', {
    details: [`wanted: a file with role kubectl and platform ${platform}`],
    next: 'Add one to bundle.yaml (docs/bundle.md), or make the bundle here: npx lab bundle create --from online DIR',
  });
}

/**
 * A kubectl that this host can run. k3s is kubectl too when it is asked to be; it then unpacks itself into its data
 * folder, which here is one in the cache (cmd/k3s/main.go reads it from the configuration file).
 */
async function hostKubectl(software: Software, cache: string): Promise<string> {
  const file = hostKubectlOf(software);
  const binary = await runnableProgram(file, cache, file.role);
  if (file.role === 'kubectl') return binary;
  const folder = join(binary, '..');
  await writeFile(join(folder, 'config.yaml'), `data-dir: ${JSON.stringify(join(folder, 'data'))}\n`);
  const config = quoteWord(join(folder, 'config.yaml'));
  const script = `#!/bin/sh\nK3S_CONFIG_FILE=${config} exec ${quoteWord(binary)} kubectl "$@"\n`;
  return placeProgram(join(folder, 'kubectl'), (path) => writeFile(path, script));
}

/** What one file takes to be fetched, in minutes: a guess, for lines of 20 Mbit/s and more. */
const MINUTES_PER_FILE = 1;

/** A lab's software from its publishers, pinned by versions.yaml, checked, and kept in the given cache folder. */
function onlineArtifacts(distribution: DistributionName, local: Executor, cache: string): ArtifactSource {
  const lock = loadVersions();
  const architecture = debianArchitecture();
  const hostPlatform = PLATFORMS.find((each) => each === `${process.platform}/${architecture}`);
  const choice: OnlineChoice = { distribution, architecture, hostPlatform };
  // What downloads takes a tenth of a second to load.
  const online = () => import('../artifacts/online/source.ts');
  return {
    async missing(machines) {
      const { missingBase, missingOnline } = await online();
      const [files, base] = await Promise.all([
        missingOnline(cache, onlineFiles(lock, choice)),
        missingBase({ cache, machines }),
      ]);
      return [
        ...files.map(({ path, version }) => ({ name: `${path} ${version}`, minutes: MINUTES_PER_FILE })),
        ...base.map(({ title, seconds }) => ({ name: title, minutes: Math.ceil(seconds / 60) })),
      ];
    },
    async reachable() {
      const { onlineProblem } = await online();
      const [problem, mirror] = await Promise.all([onlineProblem(lock), mirrorAnswers(local)]);
      return problem === undefined && mirror;
    },
    async ensure(machines, emit, signal) {
      const { fetchOnline } = await online();
      const options = { host: local, cache, emit, signal, machines, lock, choice };
      const { software, bundlePaths: places, changed } = await fetchOnline(options);
      const kubectl = await hostKubectl(software, cache);
      return { artifacts: { image: imageOf(software), software, kubectl, places }, changed };
    },
    forNodes: forNodes(local, cache),
  };
}

async function mirrorAnswers(local: Executor): Promise<boolean> {
  return (await mirrorProblem(local, await findDebianSource(local))) === undefined;
}
