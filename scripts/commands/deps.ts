import type { ApiReader } from '../cluster/api-question.ts';
import type { KubectlAccess } from '../cluster/kubectl.ts';
import type { Executor } from '../exec/executor.ts';
import type { Connect } from '../machines/connect.ts';
import type { MachineDriver, MachineImage, ObservedThing } from '../machines/driver.ts';
import type { SeenFacts } from '../machines/host-facts.ts';
import type { HostWork } from '../machines/packages.ts';
import type { MissingPackage } from '../plan/host-facts.ts';
import type { Software } from '../plan/software.ts';
import type { LabPlan } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import type { DistributionName, DriverName } from '../spec/types.ts';
import type { RunSteps } from './steps.ts';

/** What a lab is made from, once it is there. */
export interface LabArtifacts {
  /** The machine image; absent for plain machines. */
  readonly image?: MachineImage | undefined;
  /** Every file that it is made from. */
  readonly software: Software;
  /** A kubectl for this host. */
  readonly kubectl: string;
  /** Where files belong in a bundle's folder, by their paths here, if not where their roles say. */
  readonly places?: ReadonlyMap<string, string>;
}

/** Which images and binaries. */
export type ArtifactChoice =
  | { readonly from: 'debian' }
  | { readonly from: 'online'; readonly distribution: DistributionName }
  | { readonly from: 'bundle'; readonly folder: string };

/** The artifacts that a plan's lab is made from. */
export function artifactsOf({ choices, bundle }: LabPlan): ArtifactChoice {
  const from = choices.artifacts.value;
  if (from === 'debian') return { from };
  if (from === 'online') return { from, distribution: choices.distribution.value };
  if (bundle === undefined) throw new Error('a plan with artifacts bundle names no folder');
  return { from, folder: bundle };
}

/** What this host has to do for artifacts of which some are missing. */
export function workFor(
  { from }: ArtifactChoice,
  missing: readonly unknown[],
): Pick<HostWork, 'building' | 'fetching'> {
  const any = missing.length > 0;
  return { building: any && from !== 'bundle', fetching: any && from === 'online' };
}

/** Where images and binaries come from. */
export interface ArtifactSource {
  /** What the cache lacks of what such machines need, with an estimate of how long making or fetching it takes. */
  missing(
    machines: MachineDriver['machines'],
  ): Promise<readonly { readonly name: string; readonly minutes: number }[]>;
  /** Whether what is needed for making it can be reached. */
  reachable(): Promise<boolean>;
  /** All that such machines need, made or taken from the cache; tells whether anything was made. */
  ensure(
    machines: MachineDriver['machines'],
    emit: Emit,
    signal?: AbortSignal,
  ): Promise<{ readonly artifacts: LabArtifacts; readonly changed: boolean }>;
  /** The same artifacts with a machine image that has every node's software in it; absent where it always has. */
  readonly forNodes?: (
    artifacts: LabArtifacts,
    emit: Emit,
    signal?: AbortSignal,
  ) => Promise<{ readonly artifacts: LabArtifacts; readonly changed: boolean }>;
}

/** What a command wants to know about this host; looking changes nothing. */
export interface HostView {
  /** What this plan depends on; `ours` is what of the lab exists already. */
  facts(plan: LabPlan, ours: readonly ObservedThing[]): Promise<SeenFacts>;
  /** The Debian packages that are missing, and what each is for. */
  missingPackages(work: HostWork): Promise<readonly MissingPackage[]>;
  daemonInstalled(): Promise<boolean>;
}

/**
 * The effects of a command, handed in so that a test can run every command in-process with its own. What a command does
 * not ask for is not even loaded: most need little, and should begin at once.
 */
export interface Deps {
  /** Where lab.yaml is looked for and .lab/ is kept. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly local: Executor;
  /** Runs a program on the user's own terminal; returns its exit code. */
  readonly interactive: (argv: readonly string[], env: Deps['env']) => Promise<number>;
  readonly host: HostView;
  /** The driver of that name. */
  readonly driver: (name: DriverName) => Promise<MachineDriver>;
  /** The source of images and binaries that was chosen. */
  readonly artifacts: (choice: ArtifactChoice) => Promise<ArtifactSource>;
  readonly connect: Connect;
  /** Asks an API server without kubectl; absent where kubectl is asked everything. */
  readonly apiReader?: ((access: KubectlAccess) => Promise<ApiReader>) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly runSteps: RunSteps;
  /** Asks a yes-or-no question; undefined where nobody can answer (no terminal). */
  readonly ask?: ((question: string) => Promise<boolean>) | undefined;
  /** Tells the user something outside of any step, on standard error. */
  readonly say: (line: string) => void;
}

/**
 * Gets leave for what changes the host itself. With --yes it is given; on a terminal it is asked for; otherwise the
 * command stops with exit 2 and says what it would have done.
 */
export async function requireConsent(
  deps: Pick<Deps, 'ask' | 'say'>,
  yes: boolean | undefined,
  would: readonly string[],
  command: string,
): Promise<void> {
  if (yes || would.length === 0) return;
  if (deps.ask !== undefined) {
    for (const line of would) deps.say(`  ${line}`);
    if (await deps.ask('Go ahead?')) return;
    throw new UserError('Stopped: nothing was changed.', { next: `${command} --yes` });
  }
  throw new UserError('This needs your consent, and there is no terminal to ask on. Nothing was changed.', {
    details: would.map((line) => `would ${line}`),
    next: `${command} --yes`,
  });
}
