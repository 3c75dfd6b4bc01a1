import { z } from 'zod';
import { CommandError, type Executor, type RunResult } from '../../exec/executor.ts';
import { LabError, LabFailure, UserError } from '../../shared/errors.ts';

/** An instance as `multipass list` shows it. */
export interface Listed {
  readonly name: string;
  /** "Running", "Stopped", "Deleted", "Unknown" …; a later Multipass may know more. */
  readonly state: string;
  /** From 1.17 on. */
  readonly zone?: string | undefined;
}

/** A network of the host that an instance can have a NIC on. */
export interface HostNetwork {
  readonly name: string;
  readonly type: string;
  readonly description: string;
}

/** What an instance is launched with. */
export interface LaunchOptions {
  readonly name: string;
  readonly image: string;
  readonly cpus: number;
  readonly memory: string;
  readonly disk: string;
  readonly userData: string;
  /** For each stage in the daemon and for the whole call, in seconds. */
  readonly timeoutSeconds: number;
  readonly network?: string | undefined;
  readonly zone?: string | undefined;
}

/** The multipass command line. Every method throws what `classify` makes of a failure; nothing is tried twice here. */
export interface Multipass {
  /** Of the client, and of the daemon where it answers. */
  versions(): Promise<{ readonly client: string; readonly daemon?: string | undefined }>;
  list(): Promise<ReadonlyMap<string, Listed>>;
  /** Whether there is such an image. */
  hasImage(image: string, forceUpdate?: boolean): Promise<boolean>;
  networks(): Promise<readonly HostNetwork[]>;
  setting(key: string): Promise<string>;
  launch(options: LaunchOptions): Promise<void>;
  start(name: string): Promise<void>;
  /** Powers off, whatever the guest does. */
  powerOff(name: string): Promise<void>;
  /** Lets the guests shut down, as far as they do within five minutes. */
  shutDown(names: readonly string[]): Promise<void>;
  /** The names of every instance's snapshots. */
  snapshots(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Takes a snapshot of a stopped instance. */
  takeSnapshot(name: string, snapshot: string): Promise<void>;
  /** Makes a stopped instance what it was; what it is now is lost. */
  restore(name: string, snapshot: string): Promise<void>;
  removeSnapshot(name: string, snapshot: string): Promise<void>;
  /** Removes exactly these for good, running or deleted. */
  purge(names: readonly string[]): Promise<void>;
  /** Runs a shell script in a running instance as its login user; returns what it prints. */
  script(name: string, script: string): Promise<string>;
}

// Unknown keys are dropped and states are any text: later versions add both.
const versionSchema = z.object({ multipass: z.string(), multipassd: z.string().optional() });
const zoneSchema = z.union([z.string(), z.object({ name: z.string() }).transform(({ name }) => name)]);
const listSchema = z.object({
  list: z.array(
    z.object({ name: z.string(), state: z.string(), zone: zoneSchema.optional().catch(undefined) }),
  ),
});
const findSchema = z.object({ images: z.record(z.string(), z.unknown()) });
const snapshotsSchema = z.object({ info: z.record(z.string(), z.record(z.string(), z.unknown())) });
const networksSchema = z.object({
  list: z.array(z.object({ name: z.string(), type: z.string(), description: z.string().catch('') })),
});

/** Limits of calls that have none of their own, in milliseconds. A busy daemon may answer only after minutes. */
const READ_MS = 30_000;
/** `find` may get every image server's list first. */
const FIND_MS = 120_000;
const SCRIPT_MS = 30_000;
const START_SECONDS = 300;
/** Without asking the guest to shut down, which alone may take five minutes. */
const POWER_MS = 180_000;
/** After five minutes the daemon itself gives a guest up. */
const SHUT_DOWN_MS = 330_000;
/** How long a client may take to say that its own time is up, in milliseconds. */
const CLIENT_GRACE_MS = 60_000;

/**
 * Multipass by its command line: argv and never a shell, an explicit standard input, a time limit on every call, and
 * results as JSON only. What launch, start and stop print on standard output is a spinner, also without a terminal, and
 * is not read.
 */
export function multipass(local: Executor): Multipass {
  const call = async (
    args: readonly string[],
    doing: string,
    {
      input = '',
      timeoutMs = READ_MS,
    }: { readonly input?: string; readonly timeoutMs?: number | undefined } = {},
  ): Promise<RunResult> => {
    try {
      return await local.run(['multipass', ...args], { input, timeoutMs });
    } catch (error) {
      throw error instanceof CommandError ? classify(error, doing) : error;
    }
  };
  const read = async <T>(
    schema: z.ZodType<T>,
    args: readonly string[],
    doing: string,
    timeoutMs?: number,
  ): Promise<T> => {
    // Standard error is not looked at: deprecation banners and log lines go there.
    const { stdout } = await call([...args, '--format', 'json'], doing, { timeoutMs });
    return parsed(schema, args, stdout);
  };
  return {
    async versions() {
      const { multipass: client, multipassd: daemon } = await read(versionSchema, ['version'], 'start');
      return { client, daemon };
    },
    async list() {
      // Without addresses: for these the daemon would open SSH to every guest, and serve nobody else meanwhile.
      const { list } = await read(listSchema, ['list', '--no-ipv4'], 'list the instances');
      return new Map(list.map((each) => [each.name, each]));
    },
    async hasImage(image, forceUpdate = false) {
      const args = ['find', image, ...(forceUpdate ? ['--force-update'] : [])];
      const { images } = await read(findSchema, args, `look for image ${image}`, FIND_MS);
      return Object.keys(images).length > 0;
    },
    async networks() {
      return (await read(networksSchema, ['networks'], "list the host's networks")).list;
    },
    async setting(key) {
      return (await call(['get', key], `read the setting ${key}`)).stdout.trim();
    },
    async launch(options) {
      await call(launchArguments(options), `launch ${options.name}`, {
        input: options.userData,
        timeoutMs: options.timeoutSeconds * 1000 + CLIENT_GRACE_MS,
      });
    },
    async start(name) {
      await call(['start', name, '--timeout', `${START_SECONDS}`], `start ${name}`, {
        timeoutMs: START_SECONDS * 1000 + CLIENT_GRACE_MS,
      });
    },
    async powerOff(name) {
      await call(['stop', '--force', name], `power off ${name}`, { timeoutMs: POWER_MS });
    },
    async shutDown(names) {
      await call(['stop', ...names], `stop ${names.join(', ')}`, { timeoutMs: SHUT_DOWN_MS });
    },
    async snapshots() {
      const { info } = await read(snapshotsSchema, ['list', '--snapshots'], 'list the snapshots');
      return new Map(Object.entries(info).map(([name, all]) => [name, Object.keys(all)]));
    },
    async takeSnapshot(name, snapshot) {
      const args = ['snapshot', name, '-n', snapshot];
      await call(args, `take a snapshot of ${name}`, { timeoutMs: POWER_MS });
    },
    async restore(name, snapshot) {
      const args = ['restore', `${name}.${snapshot}`, '--destructive'];
      await call(args, `restore ${name}`, { timeoutMs: POWER_MS });
    },
    async removeSnapshot(name, snapshot) {
      const args = ['delete', '--purge', `${name}.${snapshot}`];
      await call(args, `remove a snapshot of ${name}`, { timeoutMs: POWER_MS });
    },
    async purge(names) {
      await call(['delete', '--purge', ...names], `remove ${names.join(', ')}`, { timeoutMs: POWER_MS });
    },
    async script(name, script) {
      // -n: no directory of the host is mapped. --: guest words are not Multipass' options. The script is on standard
      // input, so nothing of it is quoted for two shells, and that input is a pipe with an end.
      const { stdout } = await call(['exec', '-n', name, '--', 'bash', '-s'], `ask ${name}`, {
        input: script,
        timeoutMs: SCRIPT_MS,
      });
      return stdout;
    },
  };
}

/**
 * The user-data goes over standard input: a snap's client can read neither /tmp nor hidden folders, and an argv is for
 * everybody to see.
 */
function launchArguments(options: LaunchOptions): readonly string[] {
  return [
    'launch',
    ...['--name', options.name],
    ...['--cpus', `${options.cpus}`],
    ...['--memory', options.memory],
    ...['--disk', options.disk],
    ...['--timeout', `${options.timeoutSeconds}`],
    ...['--cloud-init', '-'],
    ...(options.network === undefined ? [] : ['--network', options.network]),
    ...(options.zone === undefined ? [] : ['--zone', options.zone]),
    options.image,
  ];
}

function parsed<T>(schema: z.ZodType<T>, args: readonly string[], stdout: string): T {
  const command = `multipass ${args.join(' ')} --format json`;
  if (stdout.trim() === '') {
    throw new LabFailure(`"${command}" ended well and printed nothing.`, {
      details: [
        'Node.js installed as a snap gives its children sockets that other snaps may not use, and that looks like this.',
        'https://github.com/nodesource/distributions/issues/663',
      ],
      next: `compare with: ${command}   (if that prints something, install Node.js otherwise)`,
    });
  }
  try {
    return schema.parse(JSON.parse(stdout));
  } catch (cause) {
    throw new LabFailure(`"${command}" did not answer as documented.`, {
      details: [stdout.slice(0, 300), String(cause)],
      next: 'multipass version',
      cause,
    });
  }
}

interface Rule {
  readonly kind: string;
  /** Somewhere in what was said. The texts: src/daemon and src/client of https://github.com/canonical/multipass. */
  readonly said: RegExp;
  readonly because: string;
  readonly next?: string;
  /** Whether the user has to act: exit 2, and no further attempt makes sense. */
  readonly user?: true;
}

// The first that fits counts: a bridge that is missing is also an invalid network option.
const RULES = [
  {
    kind: 'daemon-down',
    // The second is what a client says of a daemon that has never been started.
    said: /cannot connect to the multipass socket|failed to open file '[^']*multipass_root_cert\.pem'/,
    because: 'the daemon, multipassd, does not answer',
    next: 'sudo snap start multipass   (then: snap logs multipass)',
    user: true,
  },
  {
    kind: 'access-denied',
    said: /multipass socket access denied/,
    because: "this user may not use the daemon's socket",
    next: 'sudo usermod -aG sudo "$USER", then log in again   (the socket belongs to sudo, adm or admin)',
    user: true,
  },
  {
    kind: 'not-authenticated',
    said: /not authenticated with the Multipass service/,
    because: 'the daemon does not know this user yet',
    next: 'multipass authenticate   (a user whom it knows sets the passphrase: sudo multipass set local.passphrase)',
    user: true,
  },
  {
    kind: 'no-kvm',
    said: /KVM support is not enabled/,
    because: 'this host cannot run virtual machines: KVM is missing',
    next: 'switch virtualisation on in the firmware (in a VM: nested virtualisation), check with: ls -l /dev/kvm',
    user: true,
  },
  {
    kind: 'missing-bridges',
    said: /Missing bridges/,
    because: 'the network is no bridge, and Multipass only makes one when asked on a terminal',
    next: 'name a network of type bridge in lab.yaml (multipass.network.bridge); they are listed by: multipass networks',
    user: true,
  },
  {
    kind: 'snapshots-unsupported',
    said: /snapshots? feature is not implemented on this backend/,
    because: "Multipass' present driver has no snapshots",
    next: 'npx labdown --yes && npx labup --yes   (makes the lab anew)',
    user: true,
  },
  {
    kind: 'networks-unsupported',
    said: /feature is not implemented on this backend/,
    because: "Multipass' present driver has no extra networks",
    next: 'set multipass.network.mode to static in lab.yaml',
    user: true,
  },
  {
    kind: 'network-refused',
    said: /Invalid network options/,
    because: 'Multipass does not accept the network',
    next: 'multipass networks',
    user: true,
  },
  {
    kind: 'disk-full',
    said: /Available disk \(.*below minimum/,
    because: 'the disk of this host is too full for the image',
    next: 'df -h',
    user: true,
  },
  {
    kind: 'size-refused',
    said: /below minimum for this image|Invalid (memory|disk) size|not a valid memory size|invalid CPU count/,
    because: 'the machine is too small, or its size is not one',
    next: 'change multipass.sizes in lab.yaml',
    user: true,
  },
  {
    kind: 'user-data-refused',
    said: /Could not load cloud-init configuration|operator\[\] call on a scalar/,
    because: "Multipass could not read the lab's user-data",
  },
  {
    kind: 'image-unknown',
    said: /Unable to find an image matching|Remote '[^']*' is not found/,
    because: 'there is no such image',
    next: 'choose one of "multipass find" and set multipass.image in lab.yaml',
    user: true,
  },
  {
    kind: 'image-unknown',
    said: /Custom image `[^`]*` does not exist/,
    because: 'there is no such image file',
    next: 'set multipass.image in lab.yaml to a file that is there: file:///FOLDER/FILE   (or to a name of "multipass find")',
    user: true,
  },
  {
    // `launch` and `find`. Also what a daemon says that has just started: https://github.com/canonical/multipass/issues/3723
    kind: 'remote-unreachable',
    said: /is unknown or unreachable|failed to download from/,
    because: 'the daemon could not reach the image server',
    next: 'check that this host reaches https://cloud-images.ubuntu.com, then: multipass find --force-update',
    user: true,
  },
  {
    kind: 'name-taken',
    said: /instance "[^"]*" already exists/,
    because: 'there is an instance of that name already',
    next: 'multipass list',
    user: true,
  },
  {
    kind: 'being-prepared',
    said: /is being prepared/,
    because: 'the daemon is still busy with an earlier launch of that name',
  },
  {
    kind: 'busy',
    said: /QEMU process did not finish/,
    because: 'the guest did not shut down in five minutes, in which the daemon answers nobody',
    next: 'multipass stop --force NAME, with the name of that instance; then the same again',
    user: true,
  },
  { kind: 'missing', said: /does not exist/, because: 'there is no such instance' },
  {
    kind: 'busy',
    said: /Cannot shut down|in an unknown state|is already running/,
    because: 'the instance is not in a state for that',
  },
  {
    kind: 'guest-unreachable',
    said: /ssh connection failed|No route to host|Cannot retrieve credentials|ssh failed to authenticate/,
    because: 'the machine does not answer on SSH',
  },
  {
    kind: 'unknown-command',
    said: /Unknown command or alias/,
    because: 'this Multipass has no such command',
  },
  {
    kind: 'no-ssh',
    said: /timed out waiting for response/,
    because: 'SSH did not come up in it as long as the daemon waited',
  },
  { kind: 'timeout', said: /timed out waiting/i, because: 'it took too long' },
] as const satisfies readonly Rule[];

const NOT_INSTALLED = {
  kind: 'not-installed',
  said: /^/,
  because: 'it is not installed',
  next: 'sudo snap install multipass   (or use another driver: npx labup --driver incus)',
  user: true,
} as const satisfies Rule;
const TIMEOUT: Rule = { kind: 'timeout', said: /^/, because: 'it took too long' };

/** What a call of multipass failed of. */
export type FailureKind = (typeof RULES)[number]['kind'] | (typeof NOT_INSTALLED)['kind'] | 'other';

/** The exit code of a client whose own --timeout came to its end. */
const TIMEOUT_CODE = 5;

/** The daemon's own log, which the client prints beside its answer: what else went wrong on the way, not why it failed. */
const LOG_LINE = /^\[[^\]]+\] \[\w+\] \[(?!client\])/;

/** Makes of a failed call a UserError where the user has to act, else a LabFailure. `doing` completes "Multipass could not". */
export function classify(error: CommandError, doing: string): LabError {
  const { kind, because, next, user } = ruleFor(error) ?? unknown(error);
  const details = error.details.filter((line) => !LOG_LINE.test(line));
  const said = details.length > 1 ? details : [...details, `it said nothing (${error.message})`];
  const failure = new (user ? UserError : LabFailure)(`Multipass could not ${doing}: ${because}.`, {
    details: kind === 'not-installed' ? [] : said,
    ...(next && { next }),
    cause: error,
  });
  return Object.assign(failure, { kind });
}

/** What a call failed of; undefined for an error that did not come from multipass. */
export function kindOf(error: unknown): FailureKind | undefined {
  return error instanceof LabError && 'kind' in error ? (error.kind as FailureKind) : undefined;
}

function ruleFor({ outcome }: CommandError): Rule | undefined {
  const { exitCode, how, stdout } = outcome;
  const stderr = outcome.stderr
    .split('\n')
    .filter((line) => !LOG_LINE.test(line))
    .join('\n');
  // What the shell says of a program that is not there, or is no program.
  if (exitCode === 127 || exitCode === 126) return NOT_INSTALLED;
  if (exitCode === TIMEOUT_CODE || how?.startsWith('timeout')) return TIMEOUT;
  // An unknown command is reported on standard output; everything else there is spinner.
  return RULES.find(({ said }) => said.test(stderr) || said.test(stdout));
}

/** What nobody has foreseen, Multipass says best itself. */
function unknown({ details, message }: CommandError): Rule {
  const said = details.filter((line) => !line.startsWith('command: ') && !LOG_LINE.test(line)).join(' ');
  const because = (said.replace(/^\w+ failed: /, '') || message).replace(/\.$/, '');
  return { kind: 'other', said: /^/, because };
}
