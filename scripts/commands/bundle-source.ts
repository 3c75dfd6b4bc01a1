import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bundle, readBundle, softwareOf } from '../artifacts/bundle/bundle.ts';
import { requireWhole } from '../artifacts/bundle/check.ts';
import { debianArchitecture, findDebianSource, mirrorProblem } from '../artifacts/debian.ts';
import { cachedFiles } from '../artifacts/debian-software.ts';
import { placeProgram, runnableProgram } from '../artifacts/programs.ts';
import type { Executor } from '../exec/executor.ts';
import { quoteWord } from '../exec/quote.ts';
import type { MachineDriver, MachineImage } from '../machines/driver.ts';
import { filesOf, type Software, type SoftwareFile } from '../plan/software.ts';
import { UserError } from '../shared/errors.ts';
import { silent } from '../shared/events.ts';
import type { ArtifactSource } from './deps.ts';

/** A lab's software from a bundle: nothing is built, and nothing touches the network. */
export function bundleArtifacts(folder: string, local: Executor, cache: string): ArtifactSource {
  const whole = async (machines: MachineDriver['machines'], emit = silent) => {
    const bundle = readBundle(folder);
    requireArchitecture(bundle);
    await requireWhole(bundle, { local, cache, emit, fromNote: true });
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
      return (await mirrorProblem(local, await findDebianSource(local))) === undefined;
    },
    async ensure(machines, emit) {
      const software = await whole(machines, emit);
      const image = imageOf(software);
      return {
        artifacts: {
          ...(machines === 'baked' && image !== undefined ? { image } : {}),
          software,
          kubectl: await hostKubectl(software, cache),
        },
        changed: false,
      };
    },
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
    { role: 'machine-rootfs', what: 'the machine image', wanted: machines === 'baked' },
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
export async function hostKubectl(software: Software, cache: string): Promise<string> {
  const file = hostKubectlOf(software);
  const binary = await runnableProgram(file, cache, file.role);
  if (file.role === 'kubectl') return binary;
  const folder = join(binary, '..');
  await writeFile(join(folder, 'config.yaml'), `data-dir: ${JSON.stringify(join(folder, 'data'))}\n`);
  const config = quoteWord(join(folder, 'config.yaml'));
  const script = `#!/bin/sh\nK3S_CONFIG_FILE=${config} exec ${quoteWord(binary)} kubectl "$@"\n`;
  return placeProgram(join(folder, 'kubectl'), (path) => writeFile(path, script));
}
