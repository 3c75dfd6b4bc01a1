import type { Executor } from '../../exec/executor.ts';
import { connectSsh, type RemoteMachine } from '../../exec/ssh.ts';
import { isNode } from '../../plan/addressing.ts';
import type { LabPlan, MachinePlan } from '../../plan/types.ts';
import { packagesOf } from '../../render/software.ts';
import { LabError, messageOf, UserError } from '../../shared/errors.ts';
import { readAsset } from '../../shared/files.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import type { SshSpec } from '../../spec/types.ts';
import type { Connect } from '../connect.ts';
import {
  type Failed,
  type MachineDriver,
  notDone,
  type ObservedThing,
  onEach,
  withHostLock,
} from '../driver.ts';
import { claim, inspect } from './claim.ts';
import { jumpOf, login, type Registered, Registry, targetOf, throughText } from './login.ts';

/** Where the driver works; tests put their own in its place. */
export interface SshOptions {
  /** Remembers the machines outside the state folder. */
  readonly registry?: Registry;
  readonly connect?: Connect;
  /** Default: the user's own. */
  readonly knownHosts?: string;
}

/**
 * Machines that exist already. labup logs in with the user's own key or agent once, lets the lab's key in, and from then
 * on they are like any other; labdown puts back what labup found.
 */
export function sshDriver(
  local: Executor,
  { registry = new Registry(), connect = connectSsh, knownHosts }: SshOptions = {},
): MachineDriver {
  const enter = async (machine: Registered) =>
    login(await targetOf(local, machine, knownHosts), machine, connect);
  const exclusively = <T>(lab: string, work: () => Promise<T>) =>
    withHostLock(`ssh ${registry.folder}`, lab, work);
  return {
    name: 'ssh',
    machines: 'plain',
    usesCloudInit: false,
    steps: {
      host: { title: 'SSH to the machines', why: 'each is looked at; nothing is changed yet' },
      machines: { title: 'Machines', why: "the lab's key is added to each; host keys are pinned" },
    },

    async ensureHost(plan, emit) {
      const { done, failed } = await onEach(registeredOf(plan), async (machine) => {
        emit({ type: 'note', text: `looking at ${machine.name}` });
        const { owner, problems } = await within(enter(machine), inspect);
        const foreign = owner !== '' && owner !== plan.lab ? [`it belongs to lab "${owner}"`] : [];
        return [...foreign, ...problems].map((problem) => `${machine.name}: ${problem}`);
      });
      const problems = done.flat();
      const [first] = failed;
      const reasons = differing(failed);
      // It says best itself what to do.
      if (first !== undefined && reasons.length + problems.length === 1) throw first.reason;
      if (first !== undefined || problems.length > 0) {
        throw new UserError('Not every machine can be one of the lab. Nothing was changed.', {
          details: [
            ...problems,
            ...reasons.flatMap((reason) => [
              messageOf(reason),
              ...(reason instanceof LabError && reason.next !== undefined ? [`  next: ${reason.next}`] : []),
            ]),
          ],
          next: 'put that right on the machines, or take them out of lab.yaml, then run this again',
          cause: first?.reason,
        });
      }
      return false;
    },

    async ensureImage() {
      return false;
    },

    ensureMachines: (plan, { clientKey }, emit) =>
      exclusively(plan.lab, async () => {
        const machines = registeredOf(plan);
        // First: a machine that is taken must be known to labdown.
        await registry.note(plan.lab, machines);
        const { done, failed } = await onEach(machines, (machine) =>
          within(enter(machine), async (remote) => {
            emit({ type: 'note', text: `preparing ${machine.name}` });
            return claim(remote, plan.lab, machine.ssh.user, clientKey);
          }),
        );
        if (failed.length > 0) {
          throwShared(failed, machines.length);
          throw notDone('Not prepared', failed);
        }
        return done.includes(true);
      }),

    async reach(plan, { clientKey }) {
      return Promise.all(
        registeredOf(plan).map(async (machine) => ({
          ...(await targetOf(local, machine, knownHosts)),
          privateKey: clientKey.privateKey,
        })),
      );
    },

    async observe(lab) {
      const machines = await registry.of(lab);
      const { done, failed } = await onEach(machines, async (machine) => ({
        name: machine.name,
        owner: await within(enter(machine), async (remote) => (await inspect(remote)).owner),
      }));
      throwShared(failed, machines.length);
      return machines.flatMap(({ name }): ObservedThing[] => {
        const seen = done.find((each) => each.name === name);
        if (seen === undefined) return [{ kind: 'machine', name, state: 'unreachable' }];
        return seen.owner === lab ? [{ kind: 'machine', name, state: 'running' }] : [];
      });
    },

    remove: (lab, emit, options = {}) =>
      exclusively(lab, async () => {
        const script = readAsset('images', 'machine', 'plain', 'lab-remove');
        const machines = await registry.of(lab);
        const { failed } = await onEach(machines, (machine) =>
          within(enter(machine), async (remote) => {
            const { owner } = await inspect(remote);
            if (owner !== lab) {
              const whose = owner === '' ? "no lab's" : `lab "${owner}"'s`;
              emit({ type: 'warning', text: `${machine.name} is ${whose} now and is left alone` });
              return;
            }
            emit({ type: 'note', text: `putting back ${machine.name}` });
            const purge = options.purge === true ? ['--purge'] : [];
            const argv = ['python3', '-', lab, machine.ssh.user, ...purge];
            await remote.run(argv, { input: script, timeoutMs: TIMEOUTS.provision });
          }),
        );
        throwShared(failed, machines.length);
        if (failed.length > 0)
          throw notDone('Not put back', failed, 'npx labdown --yes   (goes on where this one stopped)');
        await registry.note(lab, []);
      }),

    changes: (plan) =>
      plan.machines.flatMap((machine) => [`${machine.name}: ${changesOf(plan, machine).join('; ')}`]),

    asks: (plan, ours) =>
      plan.machines
        .filter(({ name }) => !ours.some((thing) => thing.name === name))
        .map((machine) => `change ${machine.name}: ${changesOf(plan, machine).join('; ')}`),
  };
}

function changesOf(plan: LabPlan, machine: MachinePlan): readonly string[] {
  const { ssh, address } = machine;
  return [
    `${ssh?.user}@${ssh?.host}${ssh === undefined ? '' : throughText(ssh)}: the lab's key in authorized_keys, a drop-in for sshd`,
    `packages where missing: ${packagesOf(machine, plan.choices).join(', ')}`,
    `${address}/${plan.network.prefixLength} beside its other addresses, routes and kernel settings`,
    ...(isNode(machine) ? ['kubelet, container images, iptables rules of kube-proxy'] : []),
  ];
}

function registeredOf(plan: LabPlan): readonly Registered[] {
  const without = plan.machines.filter(({ ssh }) => ssh === undefined).map(({ name }) => name);
  if (without.length > 0)
    throw new UserError('The ssh driver must know how each machine is reached.', {
      details: without.map((name) => `${name} has no "ssh" in lab.yaml`),
      next: 'add for example: ssh: { host: 192.0.2.10, user: root, key: ~/.ssh/id_ed25519 }',
    });
  const machines = plan.machines.flatMap(({ name, ssh }) => (ssh === undefined ? [] : [{ name, ssh }]));
  const jumping = machines.filter(({ ssh }) => machines.some((other) => isJumpOf(other.ssh, ssh)));
  if (jumping.length > 0)
    throw new UserError('A jump host cannot be a machine of the lab: the lab would change it.', {
      details: jumping.map(({ name, ssh }) => `${name} is behind ${ssh.jump}`),
      next: 'give a host that is not in the lab as "jump" in lab.yaml',
    });
  const twice = machines.filter(({ ssh }, index) =>
    machines
      .slice(0, index)
      .some(
        ({ ssh: other }) => other.host === ssh.host && other.port === ssh.port && other.jump === ssh.jump,
      ),
  );
  if (twice.length > 0)
    throw new UserError('Two machines of the lab are the same machine.', {
      details: twice.map(({ name, ssh }) => `${name}: ${ssh.host} port ${ssh.port} is taken already`),
      next: 'give every machine a host of its own in lab.yaml',
    });
  return machines;
}

function isJumpOf({ host, port }: SshSpec, behind: SshSpec): boolean {
  const jump = jumpOf(behind);
  return jump !== undefined && jump.address === host && jump.port === port;
}

/** Reasons that say different things: what is wrong with a jump host is said once, not for each machine behind it. */
function differing(failed: readonly Failed[]): readonly unknown[] {
  const byText = new Map(failed.map(({ reason }) => [messageOf(reason), reason] as const));
  return [...byText.values()];
}

/** Throws what all machines failed for, where it is one thing, such as their jump host: it says best what to do. */
function throwShared(failed: readonly Failed[], machines: number): void {
  const [reason, ...others] = differing(failed);
  if (machines > 1 && failed.length === machines && others.length === 0) throw reason;
}

async function within<T>(
  entering: Promise<RemoteMachine>,
  work: (machine: RemoteMachine) => Promise<T>,
): Promise<T> {
  const machine = await entering;
  try {
    return await work(machine);
  } finally {
    machine.close();
  }
}
