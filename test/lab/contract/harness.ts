import { cacheFolder } from '../../../scripts/artifacts/cache.ts';
import { debianArtifacts } from '../../../scripts/commands/artifact-sources.ts';
import type { LabArtifacts } from '../../../scripts/commands/deps.ts';
import type { Executor } from '../../../scripts/exec/executor.ts';
import { localExecutor } from '../../../scripts/exec/local.ts';
import type { MachineDriver } from '../../../scripts/machines/driver.ts';
import { daemonInstalled } from '../../../scripts/machines/incus/daemon.ts';
import { installPackages, missingPackages } from '../../../scripts/machines/packages.ts';
import { decide } from '../../../scripts/plan/choices.ts';
import { planLab } from '../../../scripts/plan/plan.ts';
import type { LabPlan } from '../../../scripts/plan/types.ts';
import type { Emit } from '../../../scripts/shared/events.ts';
import { parseSpec } from '../../../scripts/spec/load.ts';
import type { DriverName, SshSpec } from '../../../scripts/spec/types.ts';
import { host } from '../support.ts';

/** Something that a driver's machines can do or have done to them, or the reason why they cannot. */
export type Possible<T> = T | { readonly not: string };

type OnMachine = (name: string) => Promise<void>;

/** A way of forbidding the driver something, which it must report. */
export interface Denial {
  readonly what: string;
  /** What the error must say. */
  readonly says: RegExp;
  /** Runs work while it is forbidden. */
  during(work: () => Promise<void>): Promise<void>;
}

/** One driver under the contract: how it is made, and what happens behind its back. */
export interface Harness {
  readonly name: DriverName;
  /** The lab as lab.yaml has it now: machines of the user's may get another address. */
  readonly plan: LabPlan;
  /** Makes what must be there before the first labup. */
  prepare(): Promise<void>;
  /** Takes away everything that the harness made, by exact names. */
  cleanUp(): Promise<void>;
  /** A driver as a labup of its own has it: nothing is remembered from the one before. */
  driver(): MachineDriver;
  artifacts(): LabArtifacts;

  stop: OnMachine;
  start: OnMachine;
  /** Stops and starts a machine; where that is possible it then has another address. */
  restart: OnMachine;
  readonly newAddress: Possible<true>;
  /** Removes a machine for good, if it is there. */
  vanish: OnMachine;
  /** Gives the user's machine back after it vanished, where the driver makes none itself. */
  replace?: OnMachine;
  /** Keeps this machine from being made until the returned function is called. */
  prevent(name: string): Promise<() => Promise<void>>;
  /** Has a machine go, or stop, and take at least that many milliseconds longer when labup makes it come back. */
  readonly slowBoot: Possible<(name: string, ms: number) => Promise<() => Promise<void>>>;
  readonly fullDisk: Possible<{
    /** The machine that the error must name. */
    readonly machine: string;
    readonly says: RegExp;
    /** Runs work on a lab whose machine cannot be made for that reason. */
    during(work: (plan: LabPlan) => Promise<void>): Promise<void>;
  }>;
  readonly denials: readonly Denial[];
  /** Removes whatever the driver remembers the lab by outside its machines. */
  readonly forgetNotes: Possible<() => Promise<void>>;
  /** Puts somebody else's machine where ours was. */
  takeName: OnMachine;
  /** Whether somebody else's machine is as it was. */
  isForeignUntouched(name: string): Promise<boolean>;
  giveNameBack: OnMachine;
  /** Every machine that there is, whoever's. */
  existing(): Promise<readonly string[]>;
  /** What ran on this host for the driver: argv, and what a stand-in got on standard input. */
  leaks(): Promise<string>;
}

export const NAMES = { master: 'ct-master', worker: 'ct-worker', router: 'ct-router' } as const;
export const machines = Object.values(NAMES);

/** Why the contract cannot be tested here; undefined where it can. */
export function whyNot(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it needs root on a Linux host';
  const installable = /Candidate: (?!\(none\))/.test(host('apt-cache', 'policy', 'incus', 'lxd'));
  return daemonInstalled() || installable ? undefined : 'neither Incus nor LXD is installed or in apt';
}

/** The plan of a small lab: one machine of each kind that runs something, in a /24 of its own. */
export function smallPlan(driver: DriverName, subnet: number, ssh?: (name: string) => SshSpec): LabPlan {
  const at = (last: number) => `10.66.${subnet}.${last}`;
  const machine = (name: string, role: string, last: number) => ({
    name,
    role,
    address: at(last),
    ...(ssh === undefined ? {} : { ssh: ssh(name) }),
  });
  const document = {
    version: 1,
    name: `contract-${driver}`,
    driver,
    network: { subnet: at(0).concat('/24'), host: at(1), bridge: `ct${driver.slice(0, 5)}${subnet}` },
    machines: [
      machine(NAMES.master, 'control-plane', 30),
      machine(NAMES.worker, 'worker', 35),
      machine(NAMES.router, 'router', 39),
    ],
  };
  const spec = parseSpec(JSON.stringify(document), 'contract.yaml');
  return planLab(spec, decide(spec, { multipassInstalled: false, incusOrLxdInstalled: true }));
}

/** Installs what labup would, and makes the artifacts or takes them from the cache. */
export async function ensureReady(kind: MachineDriver['machines'], emit: Emit): Promise<LabArtifacts> {
  const local = localExecutor();
  const missing = () => missingPackages(local, { machines: 'prebuilt', building: true, fetching: false });
  if ((await missing()).length > 0) await installPackages(local, missing, emit);
  return (await debianArtifacts(local, cacheFolder()).ensure(kind, emit)).artifacts;
}

/** This host with more in the environment, and a list of every argv that ran. */
export function recordedHost(env: () => Readonly<Record<string, string>> = () => ({})): {
  readonly local: Executor;
  readonly ran: (readonly string[])[];
} {
  const inner = localExecutor();
  const ran: (readonly string[])[] = [];
  const local: Executor = {
    where: inner.where,
    run(argv, options = {}) {
      ran.push(argv);
      return inner.run(argv, { ...options, env: { ...options.env, ...env() } });
    },
  };
  return { local, ran };
}

/** What an event says, for a list of what labup told its user. */
export function collector(said: string[]): Emit {
  return (event) => {
    if (event.type !== 'progress') said.push(event.text);
  };
}
