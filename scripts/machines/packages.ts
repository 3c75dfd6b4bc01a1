import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import type { MachineDriver } from './driver.ts';
import { daemonInstalled } from './incus/daemon.ts';

/** A program that the lab runs on this host, and the Debian package that brings it. */
interface Need {
  readonly program: string;
  readonly package: string;
  readonly for: string;
}

const ALWAYS: readonly Need[] = [{ program: 'ssh', package: 'openssh-client', for: 'npx lab ssh' }];

/** For machines that are containers of this host, made from the lab's own image. */
const BAKED: readonly Need[] = [
  { program: 'mkfs.btrfs', package: 'btrfs-progs', for: 'copy-on-write machines' },
  { program: 'unsquashfs', package: 'squashfs-tools', for: 'the machine image' },
];

const TO_BUILD: readonly Need[] = [
  { program: 'mmdebstrap', package: 'mmdebstrap', for: 'building the images' },
];

const TO_BUILD_BAKED: readonly Need[] = [
  { program: 'mksquashfs', package: 'squashfs-tools', for: 'building the machine image' },
];

const TO_FETCH: readonly Need[] = [
  { program: 'skopeo', package: 'skopeo', for: 'container images from registries' },
];

/** What this host has to do, as far as it needs programs for it. */
export interface HostWork {
  /** The kind of machines that a lab gets here; absent where none is made. */
  readonly machines?: MachineDriver['machines'] | undefined;
  /** Whether anything is built from Debian packages. */
  readonly building: boolean;
  /** Whether container images are fetched from their registries. */
  readonly fetching: boolean;
}

const PATHS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** What is there on this host; tests put their own. */
interface Installed {
  isThere(path: string): boolean;
  daemonInstalled(): boolean;
}

const THIS_HOST: Installed = { isThere: existsSync, daemonInstalled: () => daemonInstalled() };

/** The Debian packages that this host lacks for its work, each with what it is for. */
export async function missingPackages(
  local: Executor,
  { machines, building, fetching }: HostWork,
  host: Installed = THIS_HOST,
): Promise<readonly { readonly package: string; readonly for: string }[]> {
  const isBaked = machines === 'baked';
  const needs = [
    ...(machines === undefined ? [] : ALWAYS),
    ...(isBaked ? BAKED : []),
    ...(building ? TO_BUILD : []),
    ...(building && machines !== 'plain' ? TO_BUILD_BAKED : []),
    ...(fetching ? TO_FETCH : []),
  ].filter(({ program }) => !PATHS.some((path) => host.isThere(join(path, program))));
  const daemon =
    !isBaked || host.daemonInstalled() ? [] : [{ package: await daemonPackage(local), for: 'the machines' }];
  const seen = new Set<string>();
  return [...daemon, ...needs].filter((need) => !seen.has(need.package) && seen.add(need.package));
}

/** Installs packages with apt, without questions and without recommendations. */
export async function installPackages(
  local: Executor,
  packages: readonly string[],
  emit: Emit,
): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const options = { timeoutMs: TIMEOUTS.provision, env, onLine: (line: string) => note(line, emit) };
  await local.run(['apt-get', 'update'], options);
  await local.run(['apt-get', 'install', '--yes', '--no-install-recommends', ...packages], options);
}

// Incus where this Debian has it (13 and later), else LXD (12), whose API is the same. Where there is no apt (the shell's
// 127) somebody else installs it, and then the newer one.
async function daemonPackage(local: Executor): Promise<string> {
  const { stdout, exitCode } = await local.run(['apt-cache', 'policy', 'incus'], { okCodes: [0, 127] });
  if (exitCode === 127) return 'incus';
  return /Candidate: (?!\(none\))/.test(stdout) ? 'incus' : 'lxd';
}

function note(line: string, emit: Emit): void {
  if (line.trim() !== '') emit({ type: 'note', text: line.slice(0, 100) });
}
