import pLimit from 'p-limit';
import type { Executor } from '../../exec/executor.ts';
import type { LabPlan } from '../../plan/types.ts';
import { UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { MachineDriver, ObservedThing } from '../driver.ts';
import { findAddresses, reach } from './addresses.ts';
import { multipass } from './client.ts';
import { checkHost, listInstances, type MultipassHost, multipassOf } from './host.ts';
import { ensureMachines } from './machines.ts';
import { PATIENCE, type Patience, whilePassing } from './patience.ts';
import { mayStillCome, Registry } from './registry.ts';
import { removeMachines } from './remove.ts';

/** Where the driver works; tests put their own in its place. */
export interface MultipassOptions {
  /** Where it notes what it launched. */
  readonly registryFolder?: string;
  readonly patience?: Partial<Patience>;
}

/**
 * Machines as virtual machines of Multipass, each named after its machine. They come plain: beyond user-data everything
 * reaches them over SSH, and `multipass exec` only tells addresses, host keys and whose they are.
 */
export function multipassDriver(local: Executor, options: MultipassOptions = {}): MachineDriver {
  const host: MultipassHost = {
    client: multipass(local),
    registry: new Registry(options.registryFolder),
    patience: { ...PATIENCE, ...options.patience },
    exclusive: pLimit(1),
  };
  return {
    name: 'multipass',
    machines: 'plain',
    usesCloudInit: true,
    steps: {
      host: { title: 'Multipass', why: 'its version, network and image are looked at' },
      machines: {
        title: 'Machines',
        why: 'virtual machines, booted by cloud-init, reached over SSH with pinned host keys',
      },
    },
    async ensureHost(plan, emit) {
      await checkHost(host, plan, emit);
      return false;
    },
    async ensureImage(plan, _image, emit) {
      await requireImage(host, plan, emit);
      return false;
    },
    ensureMachines: (plan, { cloudInit }, emit) => ensureMachines(host, plan, cloudInit, emit),
    reach: (plan, secrets, emit) => reach(host, plan, secrets, emit),
    findAddresses: (plan, emit) => findAddresses(host, plan, emit),
    observe: (lab) => observe(host, lab),
    remove: (lab, emit) => removeMachines(host, lab, emit),
    changes: (plan) => {
      const { image, parallel, network } = multipassOf(plan);
      const where = network.mode === 'bridge' ? ` and a second NIC on ${network.bridge}` : '';
      return [
        `${plan.machines.length} virtual machines of Multipass from image ${image}${where}, ${parallel} launched at a time`,
        `a note of their names in ${host.registry.folder}`,
      ];
    },
    asks: () => [],
  };
}

/** Multipass gets the image itself, with the first launch; here it only has to know it. */
async function requireImage(host: MultipassHost, plan: LabPlan, emit: Emit): Promise<void> {
  const { image } = multipassOf(plan);
  // A file or an address is looked at by launch alone.
  if (/^(file|https?):/.test(image)) return;
  const listed = await listInstances(host, emit);
  // A lab that is there needs no image server.
  if (plan.machines.every(({ name }) => listed.has(name))) return;
  let looks = 0;
  const options = {
    what: `Multipass to know image ${image}`,
    timeoutMs: host.patience.imageServers,
    emit,
  };
  // What a daemon that has just started says for a while, or one that is busy.
  await whilePassing(
    host,
    ['remote-unreachable', 'daemon-down', 'timeout', 'image-unknown'],
    options,
    async () => {
      // Forced once: it makes the daemon get every server's list again.
      if (await host.client.hasImage(image, looks++ === 1)) return;
      const error = new UserError(`Multipass knows no image "${image}".`, {
        next: 'choose one of "multipass find" and set multipass.image in lab.yaml',
      });
      throw Object.assign(error, { kind: 'image-unknown' });
    },
  );
}

/**
 * What is noted of the lab and exists or may still come; without a note Multipass is not even asked, and need not be
 * installed.
 */
async function observe(
  { client, registry, patience }: MultipassHost,
  lab: string,
): Promise<readonly ObservedThing[]> {
  const noted = await registry.of(lab);
  if (noted.size === 0) return [];
  const listed = await client.list();
  return [...noted].flatMap(([name, entry]) => {
    const state =
      listed.get(name)?.state.toLowerCase() ??
      (mayStillCome(entry, patience) ? 'a launch that Multipass may still be at' : undefined);
    return state === undefined ? [] : [{ kind: 'machine' as const, name, state }];
  });
}
