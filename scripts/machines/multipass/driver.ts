import pLimit from 'p-limit';
import type { Executor } from '../../exec/executor.ts';
import type { SshTarget } from '../../exec/ssh.ts';
import { type FoundAddresses, findsAddresses } from '../../plan/found.ts';
import { type LabPlan, theMachine } from '../../plan/types.ts';
import { LabFailure, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { networkOf, parseCidr } from '../../shared/ip.ts';
import type { LinkAddress } from '../../shared/ip-json.ts';
import type { Secrets } from '../../shared/secrets.ts';
import type { MachineDriver, ObservedThing } from '../driver.ts';
import { multipass } from './client.ts';
import { askGuest, managementAddress } from './guest.ts';
import {
  ASKED_AT_ONCE,
  checkHost,
  listInstances,
  type MultipassHost,
  mayStillCome,
  multipassOf,
  PATIENCE,
  type Patience,
  Registry,
  waitForState,
  whilePassing,
} from './host.ts';
import { ensureMachines } from './machines.ts';
import { foreignError, whoseIt } from './ownership.ts';
import { removeMachines } from './remove.ts';
import { listSnapshots, putBackSnapshot, removeSnapshot, saveSnapshot, startAll } from './snapshots.ts';

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
  const common: Omit<MultipassHost, 'emit'> = {
    client: multipass(local),
    registry: new Registry(options.registryFolder),
    patience: { ...PATIENCE, ...options.patience },
    exclusive: pLimit(1),
  };
  const telling = (emit: Emit): MultipassHost => ({ ...common, emit });
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
      await checkHost(telling(emit), plan);
      return false;
    },
    async ensureImage(plan, _image, emit) {
      await requireImage(telling(emit), plan);
      return false;
    },
    ensureMachines: (plan, { cloudInit }, emit) => ensureMachines(telling(emit), plan, cloudInit),
    reach: (plan, secrets, emit) => reach(telling(emit), plan, secrets),
    findAddresses: (plan, emit) => findAddresses(telling(emit), plan),
    observe: (lab) => observe(common, lab),
    remove: (lab, emit) => removeMachines(telling(emit), lab),
    snapshots: {
      stops: true,
      list: ({ lab }) => listSnapshots(common, lab),
      cost: async () => 'Multipass takes snapshots of stopped machines only',
      save: (plan, name, _when, emit) => saveSnapshot(telling(emit), plan, name),
      putBack: (plan, name, emit) => putBackSnapshot(telling(emit), plan, name),
      start: (plan, emit) => startAll(telling(emit), plan),
      remove: ({ lab }, name, emit) => removeSnapshot(telling(emit), lab, name),
    },
    changes: (plan) => {
      const { image, parallel, network } = multipassOf(plan);
      const where = network.mode === 'bridge' ? ` and a second NIC on ${network.bridge}` : '';
      return [
        `${plan.machines.length} virtual machines of Multipass from image ${image}${where}, ${parallel} launched at a time`,
        `a note of their names in ${common.registry.folder}`,
      ];
    },
    asks: () => [],
  };
}

/** Multipass gets the image itself, with the first launch; here it only has to know it. */
async function requireImage(host: MultipassHost, plan: LabPlan): Promise<void> {
  const { image } = multipassOf(plan);
  // A file or an address is looked at by launch alone.
  if (/^(file|https?):/.test(image)) return;
  const listed = await listInstances(host);
  // A lab that is there needs no image server.
  if (plan.machines.every(({ name }) => listed.has(name))) return;
  let looks = 0;
  const options = {
    what: `Multipass to know image ${image}`,
    timeoutMs: host.patience.imageServers,
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
  { client, registry, patience }: Omit<MultipassHost, 'emit'>,
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

/**
 * How every machine of the plan is reached. The address is asked for each time: it may be another one after every start.
 * Throws LabFailure naming one that does not run.
 */
export async function reach(
  host: MultipassHost,
  plan: LabPlan,
  secrets: Secrets,
): Promise<readonly SshTarget[]> {
  const seen = await askAll(host, plan);
  return seen.map(({ name, at, hostKey }) => ({
    name,
    address: at.address,
    hostKey,
    user: 'root',
    privateKey: secrets.clientKey.privateKey,
  }));
}

/**
 * Where the lab's addresses are those that Multipass gives: which these are now, in the network of the control plane. The
 * host is the machines' default gateway there. Undefined for every other plan. Throws LabFailure naming a machine that
 * does not run, or has no gateway.
 */
export async function findAddresses(host: MultipassHost, plan: LabPlan): Promise<FoundAddresses | undefined> {
  if (!findsAddresses(plan)) return undefined;
  const seen = await askAll(host, plan);
  const { name } = theMachine(plan, 'control-plane');
  const first = seen.find((each) => each.name === name);
  if (first?.gateway === undefined) {
    throw new LabFailure(`${name} has no gateway, so the address of this host is not known.`, {
      next: `multipass exec -n ${name} -- ip route`,
    });
  }
  return {
    subnet: networkOf({ address: first.at.address, length: first.at.prefixLength }),
    hostAddress: first.gateway,
    machines: new Map(seen.map((each) => [each.name, each.at.address])),
  };
}

interface Seen {
  readonly name: string;
  readonly at: LinkAddress;
  readonly gateway: string | undefined;
  readonly hostKey: string;
}

/** What every machine says of itself, in plan order. */
async function askAll(host: MultipassHost, plan: LabPlan): Promise<readonly Seen[]> {
  const listed = await listInstances(host);
  const down = plan.machines.filter(({ name }) => listed.get(name)?.state !== 'Running');
  if (down.length > 0) {
    throw new LabFailure(`Not running: ${down.map(({ name }) => name).join(', ')}.`, {
      details: down.map(({ name }) => `${name}: ${listed.get(name)?.state.toLowerCase() ?? 'not there'}`),
      next: 'npx labup --yes',
    });
  }
  return pLimit(ASKED_AT_ONCE).map(plan.machines, ({ name }) => askOne(host, plan, name));
}

async function askOne(host: MultipassHost, plan: LabPlan, name: string): Promise<Seen> {
  // An address of the lab beside the machine's own is not how this host reaches it.
  const labNetwork = findsAddresses(plan) ? undefined : parseCidr(plan.network.subnet);
  return waitForState(host, {
    what: `${name} to have an address`,
    timeoutMs: host.patience.guest,
    next: `multipass exec -n ${name} -- ip addr`,
    look: async () => {
      const facts = await askGuest(host.client, name);
      const { owner, hostKey } = facts;
      if (owner !== plan.lab) throw foreignError(plan.lab, [{ name, state: 'Running', why: whoseIt(facts) }]);
      const at = managementAddress(facts, labNetwork);
      return at === undefined || hostKey === undefined
        ? { done: false, why: at === undefined ? 'none on its default route' : 'it has no host key' }
        : { done: true, value: { name, at, gateway: facts.uplink?.gateway, hostKey } };
    },
  });
}
