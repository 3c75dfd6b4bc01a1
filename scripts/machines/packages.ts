import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import type { MissingPackage } from '../plan/host-facts.ts';
import { UserError } from '../shared/errors.ts';
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

/**
 * For machines that are containers of this host, made from the lab's own image. The daemon runs most of them; its package
 * only recommends or suggests those that it can do without for other things.
 */
const BAKED: readonly Need[] = [
  {
    program: 'ip',
    package: 'iproute2',
    for: "the lab's bridge, its machines' network cards and the routing rule",
  },
  { program: 'tc', package: 'iproute2', for: "the machines' network cards" },
  {
    program: 'dnsmasq',
    package: 'dnsmasq-base',
    for: "the lab's bridge, which LXD and Incus do not make without it",
  },
  { program: 'mkfs.btrfs', package: 'btrfs-progs', for: 'copy-on-write machines' },
  { program: 'btrfs', package: 'btrfs-progs', for: 'copy-on-write machines' },
  { program: 'unsquashfs', package: 'squashfs-tools', for: 'the machine image' },
  { program: 'openssl', package: 'openssl', for: "the kubelets' certificates" },
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

/** The Debian packages that this host lacks for its work. Changes nothing. */
export async function missingPackages(
  local: Executor,
  { machines, building, fetching }: HostWork,
  host: Installed = THIS_HOST,
): Promise<readonly MissingPackage[]> {
  const isPrebuilt = machines === 'prebuilt';
  const needs = [
    ...(machines === undefined ? [] : ALWAYS),
    ...(isPrebuilt ? BAKED : []),
    ...(building ? TO_BUILD : []),
    ...(building && machines !== 'plain' ? TO_BUILD_BAKED : []),
    ...(fetching ? TO_FETCH : []),
  ].filter(({ program }) => !PATHS.some((path) => host.isThere(join(path, program))));
  const daemon =
    !isPrebuilt || host.daemonInstalled() ? [] : [{ ...(await daemonPackage(local)), for: 'the machines' }];
  const seen = new Set<string>();
  return [...daemon, ...needs].filter((need) => !seen.has(need.package) && seen.add(need.package));
}

/**
 * Fetches apt's lists, and installs what `missing` says then, without questions and without recommendations. Throws
 * UserError where this Debian has no container daemon.
 */
export async function installPackages(
  local: Executor,
  missing: () => Promise<readonly MissingPackage[]>,
  emit: Emit,
): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const options = { timeoutMs: TIMEOUTS.provision, env, onLine: (line: string) => note(line, emit) };
  await local.run(['apt-get', 'update'], options);
  const packages = await missing();
  const unknown = packages.find((each) => each.or !== undefined);
  if (unknown !== undefined) {
    throw new UserError(
      `apt knows neither ${unknown.package} nor ${unknown.or}, even with its lists just fetched.`,
      {
        next: 'apt-cache policy   (must name a mirror of Debian 12 or later; add it to /etc/apt/sources.list)',
      },
    );
  }
  const names = packages.map((each) => each.package);
  await local.run(['apt-get', 'install', '--yes', '--no-install-recommends', ...names], options);
}

const INCUS = 'incus-base';
const LXD = 'lxd';

// Incus where this Debian has it (13 and later), else LXD (12), whose API is the same. Where there is no apt (the shell's
// 127) somebody else installs it, and then the newer one.
async function daemonPackage(local: Executor): Promise<Pick<MissingPackage, 'package' | 'or'>> {
  const asked = ['apt-cache', 'policy', INCUS, LXD];
  const { stdout, exitCode } = await local.run(asked, { env: { LC_ALL: 'C' }, okCodes: [0, 127] });
  if (exitCode === 127) return { package: 'incus' };
  const found = [INCUS, LXD].find((name) => isOffered(stdout, name));
  return found === undefined ? { package: INCUS, or: LXD } : { package: found };
}

/**
 * Whether apt takes a package from the host's own suite. It gives 500 and more to what it installs from by itself, 100 to
 * backports and 1 to experimental, and takes what such a package depends on from the own suite, where that may be too old:
 * https://manpages.debian.org/bookworm/apt/apt_preferences.5.en.html
 */
function isOffered(policy: string, name: string): boolean {
  const [, about = ''] = new RegExp(`^${name}:\\n((?: .*\\n?)*)`, 'm').exec(policy) ?? [];
  const candidate = /^ {2}Candidate: (.+)$/m.exec(about)?.[1];
  const versions = about.matchAll(/^ (?:\*\*\*| {3}) (\S+) (-?\d+)$/gm);
  return [...versions].some(([, version, priority]) => version === candidate && Number(priority) >= 500);
}

function note(line: string, emit: Emit): void {
  if (line.trim() !== '') emit({ type: 'note', text: line.slice(0, 100) });
}
