import { readFile } from 'node:fs/promises';
import type { Executor } from '../../exec/executor.ts';
import type { LabPlan } from '../../plan/types.ts';
import { LabFailure } from '../../shared/errors.ts';
import type { MachineDriver, ObservedThing } from '../driver.ts';
import { type Daemon, ensureDaemon, findDaemon, leftMounts, ourDaemon, stopOurDaemon } from './daemon.ts';
import { ensureInstances, listInstances, removeInstances } from './instances.ts';
import { inProject, projectOf } from './names.ts';
import { anyOwned, ensureImage, ensureResources, findImage, listImages, ownedBy } from './resources.ts';

/** Machines as system containers of Incus or LXD, in a project, storage pool and bridge of the lab's own. */
export function incusDriver(local: Executor): MachineDriver {
  const theDaemon = async (): Promise<Daemon> => {
    const daemon = await findDaemon();
    if (daemon === undefined)
      throw new LabFailure('The container daemon does not answer.', { next: 'npx labup' });
    return daemon;
  };
  return {
    name: 'incus',
    async ensureHost(plan, emit) {
      const { daemon, changed } = await ensureDaemon(local, emit);
      emit({ type: 'note', text: `${daemon.kind} ${daemon.version}` });
      return (await ensureResources(daemon, plan)) || changed;
    },
    async ensureImage(plan, image) {
      return ensureImage((await theDaemon()).api, plan.lab, image);
    },
    async ensureMachines(plan, image, cloudInit, emit) {
      const { api } = await theDaemon();
      const fingerprint = await findImage(api, plan.lab, image);
      if (fingerprint === undefined) throw new LabFailure('The machine image is not imported.');
      return ensureInstances(api, plan, image, fingerprint, cloudInit, emit);
    },
    async addressOf(plan, machine) {
      return { name: machine, address: addressIn(plan, machine), user: 'root' };
    },
    async observe(lab) {
      const daemon = await findDaemon();
      return daemon === undefined ? observeHost() : observe(daemon, lab);
    },
    async remove(lab, emit) {
      // A daemon that labup started may have been stopped behind our back; what it holds is only seen when it runs.
      const daemon = (await findDaemon()) ?? (await ensureDaemon(local, emit)).daemon;
      const { api } = daemon;
      if ((await ownedBy(api, lab, '/1.0/projects')).includes(projectOf(lab))) {
        await removeInstances(api, lab, emit);
        for (const { fingerprint } of await listImages(api, lab)) {
          await api.remove(inProject(lab, `/1.0/images/${fingerprint}`));
        }
        await api.remove(`/1.0/projects/${projectOf(lab)}`);
      }
      for (const collection of ['/1.0/storage-pools', '/1.0/networks']) {
        for (const name of await ownedBy(api, lab, collection)) await api.remove(`${collection}/${name}`);
      }
      if (!(await anyOwned(api))) await stopOurDaemon(local, emit);
    },
  };
}

function addressIn(plan: LabPlan, name: string): string {
  const machine = plan.machines.find((candidate) => candidate.name === name);
  if (machine === undefined) throw new Error(`the plan has no machine ${name}`);
  return machine.address;
}

async function observe({ api }: Daemon, lab: string): Promise<readonly ObservedThing[]> {
  const [projects, pools, networks] = await Promise.all(
    ['/1.0/projects', '/1.0/storage-pools', '/1.0/networks'].map((collection) =>
      ownedBy(api, lab, collection),
    ),
  );
  const inside = projects?.length ? await observeProject(lab, api) : [];
  const named = (kind: ObservedThing['kind'], names: readonly string[] = []) =>
    names.map((name) => ({ kind, name, state: 'present' }));
  return [
    ...inside,
    ...named('project', projects),
    ...named('storage pool', pools),
    ...named('network', networks),
  ];
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
async function observeHost(): Promise<readonly ObservedThing[]> {
  const marker = await readFile('/run/k8s-bgp-lab/daemon.json', 'utf8').catch(() => undefined);
  if (marker === undefined) return [];
  const process = await ourDaemon();
  const mounts = (await leftMounts()).map((name) => ({ kind: 'mount' as const, name, state: 'mounted' }));
  return process ? [{ kind: 'daemon', name: `process ${process.pid}`, state: 'running' }, ...mounts] : mounts;
}
