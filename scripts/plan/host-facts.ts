import { UserError } from '../shared/errors.ts';
import { isIPv4 } from '../shared/ip.ts';
import type { LinkAddress } from '../shared/ip-json.ts';
import type { FormatProblem } from '../spec/problems.ts';

/** An IPv4 route of the host. */
export interface HostRoute {
  /** "default", an address or a prefix. */
  readonly dst: string;
  /** connected: on a link itself; via: through a gateway; blocked: blackhole, unreachable, prohibit. */
  readonly kind: 'connected' | 'via' | 'blocked';
  /** Absent for blocked routes and for those with several next hops. */
  readonly dev?: string | undefined;
}

/** How much room a folder's file system has. */
export interface DiskFact {
  readonly use: 'state' | 'cache' | 'machines';
  readonly path: string;
  /** Folders with the same number share their room. */
  readonly device: number;
  readonly freeBytes: number;
}

/** A program that makes containers on this host, or could. */
export interface DaemonFact {
  readonly kind: 'incus' | 'lxd';
  readonly program: string;
  readonly unit: string;
  readonly installed: boolean;
  /** Whether labup can start it: the host runs systemd, or the program is started by hand. */
  readonly startable: boolean;
  readonly socket: 'absent' | 'denied' | 'silent' | 'untrusted' | 'answers';
  /** What its socket said, where it is silent. */
  readonly why?: string;
  readonly version?: string;
  readonly storageDrivers?: readonly string[];
}

/** Multipass on this host. */
export interface MultipassFact {
  /** Absent where the program is not installed. */
  readonly client?: string;
  /** Absent where multipassd does not answer. */
  readonly daemon?: string;
  /** What makes the machines: qemu, applevz, lxd ... */
  readonly driver?: string;
  /** Why it cannot be used, and the cure. */
  readonly refusal?: FormatProblem;
}

/** A lab of another name that the container daemon knows. */
export interface OtherLab {
  readonly lab: string;
  readonly bridge: string;
  /** The bridge's own address with its prefix length; absent where it has none. */
  readonly subnet?: string;
}

/** What the kernel says of itself. */
export interface KernelFact {
  readonly release: string;
  readonly filesystems: readonly string[];
  /** Modules that are loaded or, built in, have parameters. */
  readonly active: readonly string[];
  /** Options of the kernel's configuration that are y or m; absent where no configuration can be read. */
  readonly config?: ReadonlyMap<string, 'y' | 'm'>;
  /** Modules that lie in /lib/modules or are built in; absent where that folder is not that kernel's. */
  readonly modules?: readonly string[];
}

/** Parts of the facts that can be impossible to look at. */
export type Unseen = 'lab' | 'network' | 'memory' | 'disk' | 'kernel' | 'inotify' | 'other labs' | 'mirror';

/** A Debian package that this host lacks, and what it is for. */
export interface MissingPackage {
  readonly package: string;
  readonly for: string;
  /** What it is instead on an older Debian, as long as apt's lists have not been fetched, which tell. */
  readonly or?: string;
}

/** The package's name, or both where it is not known yet which of two it is. */
export function nameOf({ package: name, or }: MissingPackage): string {
  return or === undefined ? name : `${name} or ${or}`;
}

/** What the host looks like, as far as the lab depends on it. Gathered elsewhere; judged by examineHost. */
export interface HostFacts {
  /** As process.platform has it. */
  readonly platform: string;
  readonly uid: number;
  readonly node: { readonly version: string; readonly floor: string };
  /** The host's clock, and when the newest file of this package was written; in milliseconds. */
  readonly clock: { readonly now: number; readonly newestFile: number };
  readonly routes: readonly HostRoute[];
  readonly addresses: readonly Pick<LinkAddress, 'dev' | 'address' | 'prefixLength'>[];
  /** Names of all links. */
  readonly links: readonly string[];
  /** Names of the links that are up and carry no Ethernet: WireGuard, tun, PPP. */
  readonly tunnels: readonly string[];
  /** True where the link with the lab bridge's name belongs to this lab already. */
  readonly bridgeIsOurs: boolean;
  /** Whether packets that only cross a bridge of the host go through its NAT rules too. */
  readonly bridgeNetfilter: boolean;
  /** Whether, where they do, they are dropped unless a rule lets them pass, and none names the lab's bridge. */
  readonly dropsForwarded: boolean;
  /** IPv4 name servers. */
  readonly resolvers: readonly string[];
  readonly disks: readonly DiskFact[];
  /** What programs can still get (MemAvailable), not what is unused. */
  readonly freeMemoryBytes: number;
  /** Machines of this lab that exist already: their disk and memory are taken, not needed. */
  readonly existingMachines: readonly string[];
  /** Parts of the plan in which it differs from the one that the lab was made from. */
  readonly differences: readonly string[];
  readonly kernel?: KernelFact | undefined;
  readonly inotify?:
    | { readonly instances: number; readonly watches: number; readonly writable: boolean }
    | undefined;
  readonly kvm: 'usable' | 'denied' | 'absent';
  /** Whether /dev/kmsg is there. */
  readonly kmsg: boolean;
  readonly daemons: readonly DaemonFact[];
  readonly otherLabs: readonly OtherLab[];
  /** Absent where nobody asked. */
  readonly multipass?: MultipassFact | undefined;
  /** Whether packages can be installed with apt. */
  readonly apt: boolean;
  readonly missingPackages: readonly MissingPackage[];
  /** Whether the package mirror answers; only asked where something must be built or installed. */
  readonly networkReachable: boolean;
  /** Names of the artifacts that the cache lacks, so that they must be built. */
  readonly missingArtifacts: readonly string[];
  /** What could not be looked at, and why. */
  readonly unseen: Readonly<Partial<Record<Unseen, string>>>;
}

/** The IPv4 name servers of an /etc/resolv.conf. */
export function parseResolvers(resolvConf: string): string[] {
  return resolvConf
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1])
    .filter((address): address is string => address !== undefined && isIPv4(address));
}

/** A way in which lab and host do not go together. A warning is harmless; an error stops labup before it changes anything. */
export interface HostProblem {
  readonly severity: 'error' | 'warning';
  /** The key of the spec that is concerned, or "host". */
  readonly subject: string;
  readonly message: string;
  readonly hint: string;
}

/** Whether the problem stops labup. */
export function isError(problem: HostProblem): boolean {
  return problem.severity === 'error';
}

/** One problem as one line. */
export function formatHostProblem({ subject, message, hint }: HostProblem): string {
  return `${subject}: ${message}  (fix: ${hint})`;
}

/** The UserError for the errors among the problems; undefined where there are only warnings. */
export function hostError(problems: readonly HostProblem[]): UserError | undefined {
  const errors = problems.filter(isError);
  if (errors.length === 0) return undefined;
  return new UserError('This host cannot take the lab as it is.', {
    details: errors.map(formatHostProblem),
    next: 'Fix the above, then run labup again: nothing was changed.',
  });
}
