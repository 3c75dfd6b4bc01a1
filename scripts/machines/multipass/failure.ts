import type { CommandError } from '../../exec/command-error.ts';
import { LabError, LabFailure, UserError } from '../../shared/errors.ts';

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
