import type { Executor } from '../../exec/executor.ts';
import { LabFailure } from '../../shared/errors.ts';
import { type MachineDriver, type MachineImage, type ObservedThing, withHostLock } from '../driver.ts';
import {
  type Daemon,
  type DaemonHost,
  daemonInstalled,
  ensureDaemon,
  findDaemon,
  leftMounts,
  ourDaemon,
  stopOurDaemon,
  THIS_HOST,
} from './daemon.ts';
import {
  askNeighboursOften,
  bridgesWithRule,
  ensureHostLimits,
  ensurePolicyRule,
  removePolicyRules,
  restoreHostLimits,
} from './host-settings.ts';
import { ensureInstances, listInstances, removeInstances } from './instances.ts';
import {
  anyOwned,
  ensureImage,
  ensureResources,
  findImage,
  inProject,
  listImages,
  ownedBy,
  projectOf,
} from './resources.ts';
import {
  costOfSnapshot,
  listSnapshots,
  putBackSnapshot,
  removeSnapshot,
  saveSnapshot,
  startAll,
} from './snapshots.ts';

/**
 * Machines as system containers of Incus or LXD, in a project, storage pool and bridge of the lab's own. `host` says
 * where a daemon is looked for.
 */
export function incusDriver(local: Executor, host: DaemonHost = THIS_HOST): MachineDriver {
  const theDaemon = async (): Promise<Daemon> => {
    const daemon = await findDaemon(host);
    if (daemon === undefined)
      throw new LabFailure('The container daemon does not answer.', { next: 'npx labup' });
    return daemon;
  };
  const exclusively = <T>(lab: string, work: () => Promise<T>) =>
    withHostLock(`incus ${host.runDir}`, lab, work);
  return {
    name: 'incus',
    machines: 'prebuilt',
    usesCloudInit: true,
    steps: {
      host: { title: 'Bridge, storage and image', why: "a project, pool and bridge of the lab's own" },
      machines: {
        title: 'Machines',
        why: 'containers, booted by cloud-init, reached over SSH with pinned host keys',
      },
    },
    ensureHost: (plan, emit) =>
      exclusively(plan.lab, async () => {
        const { daemon, changed } = await ensureDaemon(local, emit, host);
        emit({ type: 'note', text: `${daemon.kind} ${daemon.version}` });
        const made = await ensureResources(daemon, plan);
        const ruleAdded = await ensurePolicyRule(local, plan.network.bridge);
        await askNeighboursOften(local, plan.network.bridge);
        const raised = await ensureHostLimits(host);
        return made || ruleAdded || raised || changed;
      }),
    ensureImage: (plan, image) =>
      exclusively(plan.lab, async () => ensureImage((await theDaemon()).api, plan.lab, theImage(image))),
    ensureMachines: (plan, { image: given, cloudInit }, emit, running) =>
      exclusively(plan.lab, async () => {
        const { api } = await theDaemon();
        const image = theImage(given);
        const fingerprint = await findImage(api, plan.lab, image);
        if (fingerprint === undefined)
          throw new LabFailure('The machine image is not imported.', { next: 'npx labup --yes' });
        return ensureInstances(api, plan, image, fingerprint, cloudInit, emit, running);
      }),
    async reach(plan, { clientKey, hostKeys }) {
      return plan.machines.map(({ name, address }) => {
        const hostKey = hostKeys[name]?.publicKey;
        if (hostKey === undefined) throw new Error(`no SSH host key for ${name}`);
        return { name, address, user: 'root', privateKey: clientKey.privateKey, hostKey };
      });
    },
    async observe(lab) {
      const daemon = await findDaemon(host);
      return daemon === undefined ? observeHost(host) : observe(daemon, lab, local);
    },
    remove: (lab, emit, { elsewhere = false } = {}) =>
      exclusively(lab, async () => {
        const running = await findDaemon(host);
        if (running === undefined && !daemonInstalled(host)) return;
        if (running === undefined && elsewhere) {
          const text =
            'containers were not looked for: their daemon does not run, and another driver made this lab';
          emit({ type: 'note', text });
          return;
        }
        // A daemon that labup started may have been stopped behind our back; what it holds is only seen when it runs.
        const daemon = running ?? (await ensureDaemon(local, emit, host)).daemon;
        const { api } = daemon;
        // All at once that can be: each takes the daemon some tenths of a second.
        const [projects = [], bridges = [], pools = []] = await ownedByCollection(api, lab);
        if (projects.includes(projectOf(lab))) {
          const images = await listImages(api, lab);
          await Promise.all([
            removeInstances(api, lab, emit),
            ...images.map(({ fingerprint }) => api.remove(inProject(lab, `/1.0/images/${fingerprint}`))),
          ]);
          await api.remove(`/1.0/projects/${projectOf(lab)}`);
        }
        await Promise.all([
          ...bridges.map((name) => api.remove(`/1.0/networks/${name}`)),
          ...pools.map((name) => api.remove(`/1.0/storage-pools/${name}`)),
        ]);
        await removePolicyRules(local, bridges);
        if (await anyOwned(api)) return;
        await restoreHostLimits(host);
        await stopOurDaemon(local, emit, host);
      }),
    snapshots: {
      stops: false,
      list: async ({ lab }) => listSnapshots((await theDaemon()).api, lab),
      cost: async ({ lab }) => costOfSnapshot((await theDaemon()).api, lab),
      save: (plan, name, when, emit) =>
        exclusively(plan.lab, async () => saveSnapshot((await theDaemon()).api, plan, name, when, emit)),
      putBack: (plan, name) =>
        exclusively(plan.lab, async () => putBackSnapshot((await theDaemon()).api, plan, name)),
      start: (plan) => exclusively(plan.lab, async () => startAll((await theDaemon()).api, plan)),
      remove: ({ lab }, name) =>
        exclusively(lab, async () => removeSnapshot((await theDaemon()).api, lab, name)),
    },
    changes: ({ lab, network }) => [
      `bridge ${network.bridge} with ${network.hostAddress}, no NAT, no DHCP`,
      `project and storage pool "${lab}" of the container daemon, the daemon itself started if it does not run`,
      'a routing rule that forwards nothing from the bridge; fs.inotify.max_user_instances at least 1024 meanwhile',
    ],
    asks: () => [],
  };
}

function theImage(image: MachineImage | undefined): MachineImage {
  if (image === undefined) throw new Error('machines of the incus driver boot from the lab image');
  return image;
}

async function observe({ api }: Daemon, lab: string, local: Executor): Promise<readonly ObservedThing[]> {
  const [[projects, networks, pools], seen, allRules] = await Promise.all([
    ownedByCollection(api, lab),
    observeProject(lab, api),
    bridgesWithRule(local),
  ]);
  const inside = projects?.length ? seen : [];
  const rules = allRules.filter(({ bridge }) => networks?.includes(bridge));
  const gone = rules.find(({ isGone }) => isGone)?.bridge;
  const named = (kind: ObservedThing['kind'], names: readonly string[] = []) =>
    names.map((name) => ({ kind, name, state: 'present' }));
  return [
    ...inside.map((thing) =>
      gone === undefined || thing.kind !== 'machine'
        ? thing
        : { ...thing, state: `cut off: the interface ${gone} of this host is gone` },
    ),
    ...named('project', projects),
    ...named('storage pool', pools),
    ...named('network', networks),
    ...named(
      'routing rule',
      rules.map(({ bridge }) => bridge),
    ),
  ];
}

/** The names of the lab's project, networks and storage pools. */
function ownedByCollection(api: Daemon['api'], lab: string): Promise<(readonly string[])[]> {
  return Promise.all(
    ['/1.0/projects', '/1.0/networks', '/1.0/storage-pools'].map((each) => ownedBy(api, lab, each)),
  );
}

async function observeProject(lab: string, api: Daemon['api']): Promise<readonly ObservedThing[]> {
  const [instances, images] = await Promise.all([listInstances(api, lab), listImages(api, lab)]);
  return [
    ...instances.map(({ name, status }) => ({ kind: 'machine' as const, name, state: status.toLowerCase() })),
    ...images.map(({ fingerprint }) => ({
      kind: 'image' as const,
      name: fingerprint.slice(0, 12),
      state: 'present',
    })),
  ];
}

// With no daemon to ask: what one that we started may have left behind.
async function observeHost(host?: DaemonHost): Promise<readonly ObservedThing[]> {
  const process = await ourDaemon(host);
  const mounts = (await leftMounts(host)).map((name) => ({ kind: 'mount' as const, name, state: 'mounted' }));
  return process ? [{ kind: 'daemon', name: `process ${process.pid}`, state: 'running' }, ...mounts] : mounts;
}
