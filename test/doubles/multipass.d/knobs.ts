import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

/** Names of instances; "*" stands for all of them. */
const names = z.array(z.string()).default([]);

/**
 * Everything that can be set about the double: in `knobs.json` of its state folder, or as JSON in the environment
 * variable MULTIPASS_DOUBLE_KNOBS, which wins key by key. An unknown key is an error.
 */
const knobsSchema = z.strictObject({
  /** What it says it is; before 1.17 it acts as 1.16, from there on as 1.17. */
  version: z.string().default('1.16.3'),
  /** Where machines come from: LXD or Incus containers, or nowhere (tables of answers and local folders). */
  backend: z.enum(['containers', 'sandbox']).default('containers'),
  /** The daemon's health: never started since its installation, down, a socket that may not be opened, or a client that is not authenticated. */
  daemon: z.enum(['up', 'never-started', 'down', 'denied', 'unauthenticated']).default('up'),
  /** How long the daemon thinks before each answer, in milliseconds. */
  daemonDelayMs: z.number().default(0),
  /** Said on standard error before what list, find and networks print, as the notice of a deprecated driver is. */
  notice: z.string().default(''),
  /** A newer version that `version` tells of. */
  update: z.object({ title: z.string(), description: z.string(), url: z.string() }).optional(),
  /** False: image servers are not known yet, as right after the daemon's start. */
  imageServers: z.boolean().default(true),
  /** False: no KVM on this machine. */
  kvm: z.boolean().default(true),
  /** Whether progress goes to standard output as the real one's. */
  spinner: z.boolean().default(true),
  /** Packed as a snap: no /tmp, no hidden files, nothing outside /home/USER (or snapHome), and no inherited files. */
  snap: z.boolean().default(false),
  snapHome: z.string().optional(),
  /** Time that a launch takes before the machine starts, in milliseconds, by instance or "*". */
  launchDelayMs: z.record(z.string(), z.number()).default({}),
  /** Launch: SSH never answers (leaves Unknown); "initialization" never ends (leaves Running). */
  sshTimeout: names,
  cloudInitTimeout: names,
  /** How long the two wait before the daemon gives up, in milliseconds; default as the real one (300 s or --timeout). */
  giveUpMs: z.number().optional(),
  /** A command that fails is added to the guest's user-data, so that cloud-init itself ends in an error. */
  cloudInitError: names,
  /** Launch fails as if another launch of that name were under way. */
  beingPrepared: names,
  /** Another address after each start of a stopped machine and each restart. */
  newIpOnRestart: names,
  /** Reported in the state Unknown. */
  unknownState: names,
  /** SSH from the client fails: exec finds no route to host. */
  execFailure: names,
  /** Guest exit code 4 makes exec run again, for ever. Default: as the version does (before 1.17). */
  execRetryLoop: z.boolean().optional(),
  /** What `networks` lists; default: the host's bridges and network cards (sandbox: eth0 and br0). */
  networks: z.array(z.object({ name: z.string(), type: z.string(), description: z.string() })).optional(),
  /** Free disk and the image's own size, in bytes, for launch's checks. */
  availableDisk: z.number().default(500 * 2 ** 30),
  imageDisk: z.number().default(3.5 * 2 ** 30),
  /** Sandbox: commands that no row of `exec.json` answers are run in the instance's folder on this host. */
  sandboxRuns: z.boolean().default(false),
  /** Containers: names that are the double's own, the network, and where the image is kept. */
  project: z.string().default('multipass-double'),
  bridge: z.string().max(15).default('mpdouble0'),
  subnet: z.string().default('10.97.0.0/24'),
  cache: z.string().optional(),
});

export type Knobs = z.infer<typeof knobsSchema>;

/** Every knob that there is. */
export const KNOB_NAMES: readonly string[] = Object.keys(knobsSchema.shape);

/** The knobs as they are set now. Throws where one is unknown or wrong. */
export function readKnobs(folder: string, env: NodeJS.ProcessEnv): Knobs {
  const file = join(folder, 'knobs.json');
  const parts = [existsSync(file) ? readFileSync(file, 'utf8') : '{}', env.MULTIPASS_DOUBLE_KNOBS ?? '{}'];
  return knobsSchema.parse(Object.assign({}, ...parts.map((text) => JSON.parse(text) as object)));
}

/** The state folder: MULTIPASS_DOUBLE_STATE, by default below ~/.local/state. */
export function stateFolder(env: NodeJS.ProcessEnv): string {
  return env.MULTIPASS_DOUBLE_STATE ?? join(env.HOME ?? homedir(), '.local/state/multipass-double');
}

/** Whether a list of names means this instance. */
export function named(list: readonly string[], name: string): boolean {
  return list.includes('*') || list.includes(name);
}

/** What a table says about this instance. */
export function valueFor<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return table[name] ?? table['*'];
}

/** Whether the double acts as 1.17 or later. */
export function isModern({ version }: Pick<Knobs, 'version'>): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || minor >= 17;
}
