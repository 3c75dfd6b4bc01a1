import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { LabPlan, MachinePlan } from '../../plan/types.ts';
import { LabFailure, messageOf, rethrowIfInterrupted, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { macOf, OWNER_KEY, RECIPE_KEY } from '../../shared/labels.ts';
import { waitFor } from '../../shared/wait.ts';
import { type CloudInit, type MachineImage, notDone, onEach } from '../driver.ts';
import type { IncusApi } from './api.ts';
import { inProject, poolOf, projectOf } from './resources.ts';

/** The parts of an instance that the lab looks at. */
export interface Instance {
  readonly name: string;
  readonly status: string;
  readonly config: Readonly<Record<string, string>>;
}

const CHANGED_BY_OTHERS_MS = 60_000;

/** LXD 5.0.2 shows a machine that is rebooted from within as stopped for 0.15 to 0.25 s on 2 idle cores. */
const REBOOT_MS = 2_000;

/** All instances of the lab's project. */
export async function listInstances(api: IncusApi, lab: string): Promise<readonly Instance[]> {
  return (await api.get<readonly Instance[]>(inProject(lab, '/1.0/instances', 'recursion=1'))) ?? [];
}

/** Those of them that carry the lab's owner label. */
export async function ownInstances(api: IncusApi, lab: string): Promise<readonly Instance[]> {
  return (await listInstances(api, lab)).filter(({ config }) => config[OWNER_KEY] === lab);
}

/**
 * Waits until the daemon has ended what a killed command had asked for, which it goes on with: such as the freeze of a
 * machine that runs still.
 */
export async function waitForOperations(api: IncusApi, lab: string): Promise<void> {
  await waitFor({
    what: 'the container daemon to end what an earlier command asked for',
    timeoutMs: CHANGED_BY_OTHERS_MS,
    look: async () => {
      const path = inProject(lab, '/1.0/operations', 'recursion=1');
      const { running = [] } = (await api.get<{ readonly running?: readonly Operation[] }>(path)) ?? {};
      // A shell that somebody has open in a machine is one of another class.
      const [first] = running.filter((each) => each.class === 'task');
      return first === undefined ? { done: true, value: undefined } : { done: false, why: first.description };
    },
  });
}

interface Operation {
  readonly class: string;
  readonly description: string;
}

/** Changes the state of an instance, by force where it stops. */
export async function setState(
  api: IncusApi,
  lab: string,
  name: string,
  action: 'freeze' | 'unfreeze' | 'start' | 'stop',
): Promise<void> {
  const path = inProject(lab, `/1.0/instances/${name}/state`);
  await api.put(path, { action, timeout: 60, ...(action === 'stop' ? { force: true } : {}) });
}

/**
 * Creates what is missing and starts what is stopped, all machines at once but the first, the control plane, a little
 * before: its own start takes longest. Returns whether anything changed. Throws LabFailure naming the machines that could
 * not be made, once the others are done.
 */
export async function ensureInstances(
  api: IncusApi,
  plan: LabPlan,
  image: MachineImage,
  fingerprint: string,
  cloudInit: ReadonlyMap<string, CloudInit>,
  emit: Emit,
  running: (name: string) => void = () => {},
): Promise<boolean> {
  await waitForOperations(api, plan.lab);
  const existing = new Map((await listInstances(api, plan.lab)).map((instance) => [instance.name, instance]));
  const jobs = plan.machines.map((machine) => {
    const documents = cloudInit.get(machine.name);
    if (documents === undefined) throw new Error(`no cloud-init documents for ${machine.name}`);
    const { name } = machine;
    return { name, machine, documents, recipe: recipeOf(image, documents), seen: existing.get(name) };
  });
  for (const { machine, recipe, seen } of jobs) refuseOther(plan, machine, recipe, seen);
  const create = async ({ name, machine, documents, recipe, seen }: (typeof jobs)[number]) => {
    if (seen !== undefined) return;
    emit({ type: 'note', text: `creating ${name}` });
    const body = instanceBody(plan, machine, documents, recipe, fingerprint);
    await api.post(inProject(plan.lab, '/1.0/instances'), body);
  };
  const ensureRunning = async (job: (typeof jobs)[number], created: Promise<void> | undefined) => {
    const { name, seen } = job;
    if (seen?.status === 'Running') return false;
    // By a snapshot that was killed.
    if (seen?.status === 'Frozen') await setState(api, plan.lab, name, 'unfreeze');
    else {
      await created;
      if (seen !== undefined && (await startsByItself(api, plan.lab, name))) return true;
      emit({ type: 'note', text: `starting ${name}` });
      await startInstance(api, plan.lab, name);
    }
    return true;
  };
  const [first] = jobs;
  const firstCreated = first === undefined ? undefined : create(first);
  const { done, failed } = await onEach(jobs, async (job) => {
    // What went wrong with the first one is said of that one.
    const afterFirst = () => firstCreated?.catch(() => {}).then(() => create(job));
    const changed = await ensureRunning(job, job === first ? firstCreated : afterFirst());
    running(job.name);
    return changed;
  });
  if (failed.length > 0) throw notDone('Not made', failed);
  return done.includes(true);
}

/**
 * Stops and deletes every instance that carries the lab's owner label, all at once. Throws LabFailure where the lab's
 * project holds others: they are somebody else's, and keep the project from being removed.
 */
export async function removeInstances(api: IncusApi, lab: string, emit: Emit): Promise<void> {
  const all = await listInstances(api, lab);
  const isOurs = ({ config }: Instance) => config[OWNER_KEY] === lab;
  await Promise.all(
    all.filter(isOurs).map(async ({ name }) => {
      emit({ type: 'note', text: `removing ${name}` });
      await removeInstance(api, lab, name);
    }),
  );
  const others = all.filter((instance) => !isOurs(instance));
  if (others.length > 0) {
    throw new LabFailure(`Project "${projectOf(lab)}" holds instances that labup did not make.`, {
      details: others.map(({ name, status }) => `${name} (${status.toLowerCase()})`),
      next: 'remove them yourself (lxc or incus delete, with --project), then: npx labdown --yes',
    });
  }
}

const isRunning = async (api: IncusApi, lab: string, name: string): Promise<boolean> =>
  (await api.get<Instance>(inProject(lab, `/1.0/instances/${name}`)))?.status === 'Running';

/**
 * Whether a machine that was seen stopped runs a moment later: somebody reboots it from within. LXD takes our start for a
 * part of that reboot and runs both at once: ours may fail ("Failed to create device ...: file exists"), and one pair of
 * network devices stays on the host for good.
 * https://github.com/canonical/lxd/blob/lxd-5.0.2/lxd/instance/drivers/driver_lxc.go (Start inherits ActionRestart)
 */
async function startsByItself(api: IncusApi, lab: string, name: string): Promise<boolean> {
  return waitFor({
    what: `${name} to be rebooted`,
    timeoutMs: REBOOT_MS,
    look: async () =>
      (await isRunning(api, lab, name)) ? { done: true, value: true } : { done: false, why: 'stopped' },
  }).catch((notRebooted: unknown) => {
    rethrowIfInterrupted(notRebooted);
    return false;
  });
}

/**
 * The daemon goes on with a start that a killed labup had asked for, and refuses another one meanwhile ("Instance is busy
 * running a start operation"): then the first one counts.
 */
async function startInstance(api: IncusApi, lab: string, name: string): Promise<void> {
  const start = () => setState(api, lab, name, 'start');
  await start().catch(async (refusal: unknown) => {
    if (await isRunning(api, lab, name)) return;
    if (!messageOf(refusal).includes('busy running')) throw refusal;
    await waitFor({
      what: `${name} to be started by an earlier labup`,
      timeoutMs: CHANGED_BY_OTHERS_MS,
      look: async () => {
        if (!(await isRunning(api, lab, name))) await start();
        return { done: true, value: undefined };
      },
    });
  });
}

/** The same of a stop that a killed labdown had asked for: nothing else is done with the instance before it has ended. */
async function removeInstance(api: IncusApi, lab: string, name: string): Promise<void> {
  const path = (more = '') => inProject(lab, `/1.0/instances/${name}${more}`);
  const remove = async () => {
    const status = (await api.get<Instance>(path()))?.status;
    if (status === undefined) return;
    if (status !== 'Stopped') await setState(api, lab, name, 'stop');
    await api.remove(path());
  };
  await remove().catch(async (refusal: unknown) => {
    if (!/busy running|already stopped/.test(messageOf(refusal))) throw refusal;
    await waitFor({
      what: `${name} to be stopped by an earlier labdown`,
      timeoutMs: CHANGED_BY_OTHERS_MS,
      look: async () => {
        await remove();
        return { done: true, value: undefined };
      },
    });
  });
}

function refuseOther(plan: LabPlan, machine: MachinePlan, recipe: string, seen: Instance | undefined): void {
  if (seen === undefined) return;
  if (seen.config[OWNER_KEY] !== plan.lab) {
    throw new UserError(
      `An instance named ${machine.name} exists and does not belong to lab "${plan.lab}".`,
      {
        next: 'remove it, or choose another lab name in lab.yaml',
      },
    );
  }
  if (seen.config[RECIPE_KEY] !== recipe) {
    throw new UserError(
      `Machine ${machine.name} was made from another image, plan or key than the one wanted now.`,
      {
        next: 'npx labdown --yes && npx labup --yes',
      },
    );
  }
}

function recipeOf(image: MachineImage, { userData, metaData, networkConfig }: CloudInit): string {
  return createHash('sha256').update([image.key, userData, metaData, networkConfig].join('\0')).digest('hex');
}

/**
 * What LXC itself must allow beyond a privileged container: kept capabilities, writable /proc/sys and cgroups, and all
 * device nodes, since runc gives privileged pods (kube-proxy) "a *:* rwm" and a child cgroup cannot have more than ours.
 */
export function rawLxc(cgroupV2: boolean, { role }: Pick<MachinePlan, 'role'>): string {
  return [
    'lxc.cap.drop=',
    'lxc.mount.auto=',
    'lxc.mount.auto=proc:rw sys:rw cgroup:rw',
    `lxc.${cgroupV2 ? 'cgroup2' : 'cgroup'}.devices.deny=`,
    `lxc.${cgroupV2 ? 'cgroup2' : 'cgroup'}.devices.allow=a`,
    // All others wait for the control plane. The default is 100, or 1024.
    ...(role === 'control-plane'
      ? [`lxc.${cgroupV2 ? 'cgroup2.cpu.weight=800' : 'cgroup.cpu.shares=8192'}`]
      : []),
  ].join('\n');
}

function instanceBody(
  plan: LabPlan,
  machine: MachinePlan,
  { userData, metaData, networkConfig }: CloudInit,
  recipe: string,
  fingerprint: string,
): unknown {
  return {
    name: machine.name,
    type: 'container',
    source: { type: 'image', fingerprint },
    profiles: [],
    config: {
      [OWNER_KEY]: plan.lab,
      [RECIPE_KEY]: recipe,
      // kubelet, containerd and kube-proxy mount file systems and write sysctls: not possible in a user namespace here.
      // labup starts machines; a daemon that starts them by itself would be met by a labdown that takes them away.
      'boot.autostart': 'false',
      'security.privileged': 'true',
      'security.nesting': 'true',
      'raw.lxc': rawLxc(existsSync('/sys/fs/cgroup/cgroup.controllers'), machine),
      'user.user-data': userData,
      'user.meta-data': metaData,
      'user.network-config': networkConfig,
    },
    devices: {
      root: { type: 'disk', path: '/', pool: poolOf(plan.lab) },
      // The same for every machine of that name, so that one made anew is not looked for at the old one's address: until
      // their neighbour entries ran out, host and peers could not reach it (30 s and more).
      eth0: {
        type: 'nic',
        network: plan.network.bridge,
        name: 'eth0',
        hwaddr: macOf(plan.lab, machine.name),
      },
      // kubelet refuses to start without /dev/kmsg.
      kmsg: { type: 'unix-char', source: '/dev/kmsg', path: '/dev/kmsg' },
    },
  };
}
