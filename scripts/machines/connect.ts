import { setMaxListeners } from 'node:events';
import { connectSsh, HostKeyError, type RemoteMachine, type SshTarget } from '../exec/ssh.ts';
import { HarnessError, LabFailure, UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

/** Opens an SSH connection; tests put their own in its place. */
export type Connect = (target: SshTarget, timeoutMs: number) => Promise<RemoteMachine>;

const HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * Connects to every machine at once, waiting for those that still boot; commands on them end when `signal` aborts.
 * Throws LabFailure naming the first that does not answer. At once: HostKeyError for one with another key than its own, for
 * cloud-init has written the keys before sshd starts, and what is wrong with a jump host or an agent.
 */
export async function connectMachines(
  targets: readonly SshTarget[],
  emit: Emit,
  signal?: AbortSignal,
  connect: Connect = connectSsh,
): Promise<ReadonlyMap<string, RemoteMachine>> {
  const failed = new AbortController();
  const ends = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  setMaxListeners(0, ends); // One per machine; Node would warn of a leak from the eleventh on.
  const connected = new Map<string, RemoteMachine>();
  try {
    await Promise.all(
      targets.map(async (target) => {
        const machine = await connectOne(target, emit, ends, connect);
        // Another one may have failed while this one was being reached.
        if (failed.signal.aborted) machine.close();
        else connected.set(target.name, machine);
      }),
    );
  } catch (error) {
    failed.abort();
    for (const machine of connected.values()) machine.close();
    throw error;
  }
  return new Map(
    targets.map(({ name }) => [name, interruptible(requireMachine(connected, name), signal)] as const),
  );
}

/** A machine that is still being reached: what is asked of it waits until then. */
export interface PendingMachine extends RemoteMachine {
  /** Settled once it accepts SSH and its cloud-init, where it has one, has ended well. */
  readonly reached: Promise<RemoteMachine>;
}

/**
 * The same machines without waiting for any: each is connected to when `running` says that it runs, and whatever is asked
 * of it before waits for that. Closing one ends the wait.
 */
export function reachMachines(
  targets: readonly SshTarget[],
  running: (name: string) => Promise<void>,
  usesCloudInit: boolean,
  emit: Emit,
  signal?: AbortSignal,
  connect: Connect = connectSsh,
): ReadonlyMap<string, PendingMachine> {
  return new Map(
    targets.map((target) => {
      const { name, address } = target;
      const closed = new AbortController();
      const ends = signal === undefined ? closed.signal : AbortSignal.any([signal, closed.signal]);
      const reach = async () => {
        await running(name);
        const machine = interruptible(await connectOne(target, emit, ends, connect), signal);
        if (usesCloudInit) await waitForCloudInit(new Map([[name, machine]]), emit, ends);
        return machine;
      };
      const reached = reach();
      const close = () => {
        closed.abort();
        reached.then((machine) => machine.close()).catch(() => {});
      };
      // Whoever asks something of it is told.
      reached.catch(() => {});
      const pending: PendingMachine = {
        ...{ name, address, reached, close, where: name },
        run: async (argv, options) => (await reached).run(argv, options),
        writeFiles: async (files) => (await reached).writeFiles(files),
        dial: async (to, port) => (await reached).dial(to, port),
      };
      return [name, pending] as const;
    }),
  );
}

async function connectOne(
  target: SshTarget,
  emit: Emit,
  signal: AbortSignal,
  connect: Connect,
): Promise<RemoteMachine> {
  const machine = await waitFor({
    what: `${target.name} to accept SSH`,
    timeoutMs: TIMEOUTS.machineSsh,
    look: async () => {
      const value = await connect(target, HANDSHAKE_TIMEOUT_MS).catch((error: unknown) => {
        if (isFinal(error)) return error;
        throw error;
      });
      return { done: true, value };
    },
    next: `npx lab status; npx lab logs ${target.name}`,
    signal,
    emit,
  });
  if (isFinal(machine)) throw machine;
  return machine;
}

/** Another host key, no agent, a jump host that is not well: waiting cures none of these. */
function isFinal(error: unknown): error is HostKeyError | UserError | HarnessError {
  return error instanceof HostKeyError || error instanceof UserError || error instanceof HarnessError;
}

function interruptible(machine: RemoteMachine, signal: AbortSignal | undefined): RemoteMachine {
  return signal === undefined
    ? machine
    : {
        ...machine,
        run: (argv, options) => machine.run(argv, { ...options, signal: options?.signal ?? signal }),
      };
}

/** The machine of that name. Throws where there is no connection to it. */
export function requireMachine(machines: ReadonlyMap<string, RemoteMachine>, name: string): RemoteMachine {
  const machine = machines.get(name);
  if (machine === undefined) throw new LabFailure(`There is no connection to ${name}.`);
  return machine;
}

/**
 * Waits for cloud-init's own verdict on every machine, read from its result file: running `cloud-init status` would
 * cost each machine half a second of CPU per look (https://cloudinit.readthedocs.io/en/latest/explanation/failure_states.html).
 */
export async function waitForCloudInit(
  machines: ReadonlyMap<string, RemoteMachine>,
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    [...machines.values()].map(async (machine) => {
      const errors = await waitFor({
        what: `cloud-init on ${machine.name}`,
        timeoutMs: TIMEOUTS.cloudInit,
        look: async () => {
          const { stdout } = await machine.run(['cat', '/run/cloud-init/result.json'], { okCodes: [0, 1] });
          if (stdout.trim() === '') return { done: false, why: 'not finished' };
          const result = JSON.parse(stdout) as { v1: { errors: readonly string[] } };
          return { done: true, value: result.v1.errors };
        },
        next: `npx lab logs ${machine.name}`,
        signal,
        emit,
      });
      if (errors.length > 0) {
        throw new LabFailure(`cloud-init failed on ${machine.name}.`, {
          details: errors,
          next: `npx lab exec ${machine.name} -- cat /var/log/cloud-init-output.log`,
        });
      }
    }),
  );
}

/** When each machine booted, in milliseconds since 1970 by its own clock. */
export async function bootTimes(
  machines: ReadonlyMap<string, RemoteMachine>,
): Promise<ReadonlyMap<string, number>> {
  const entries = await Promise.all(
    [...machines].map(async ([name, machine]) => {
      // The age of process 1: a container's own, where /proc/uptime may be the host's.
      const { stdout } = await machine.run(['sh', '-c', 'date +%s; ps -o etimes= -p 1']);
      const [now = 0, age = 0] = stdout.trim().split(/\s+/).map(Number);
      return [name, (now - age) * 1000] as const;
    }),
  );
  return new Map(entries);
}
