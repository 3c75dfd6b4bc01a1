import { z } from 'zod';
import { CommandError } from '../../exec/command-error.ts';
import type { Executor, RunResult } from '../../exec/executor.ts';
import { LabFailure } from '../../shared/errors.ts';
import { classify } from './failure.ts';

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
