import { homedir } from 'node:os';
import { join } from 'node:path';
import type { IncusApi } from '../../../../scripts/machines/incus/api.ts';
import { findDaemon } from '../../../../scripts/machines/incus/daemon.ts';
import { daemonKey } from '../daemon/key.ts';
import type { Instance } from '../instance.ts';
import type { Call } from '../io.ts';
import { isModern } from '../knobs.ts';
import type { Backend, Power, Seed } from './backend.ts';
import { freeAddress, leasedAddress } from './container-network.ts';
import { guestInitialized } from './guest-facts.ts';
import { inProject } from './in-project.ts';
import { DOUBLE_KEY, instanceBody } from './instance-body.ts';

const STATUS: Readonly<Record<string, Power>> = { Running: 'running' };
/** For a guest to shut down before it is switched off (mp::vm_shutdown_timeout), in seconds. */
const SHUTDOWN_S = 300;

interface Container {
  readonly name: string;
  readonly status: string;
  readonly config: Readonly<Record<string, string>>;
  readonly devices: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Machines that are real: containers with systemd, cloud-init and sshd, in a project of the double's own. */
export function containersBackend(call: Call): Backend {
  const { knobs } = call;
  const cache =
    knobs.cache ??
    join(call.env.XDG_CACHE_HOME ?? join(call.env.HOME ?? homedir(), '.cache'), 'multipass-double');
  const path = (name: string, more = '') =>
    inProject(knobs.project, `/1.0/instances/${encodeURIComponent(name)}${more}`);
  const nic = isModern(knobs) ? 'eth' : 'ens';
  const theApi = async (): Promise<IncusApi> => {
    const daemon = await findDaemon();
    if (daemon === undefined) throw new Error('The container daemon does not answer.');
    return daemon.api;
  };
  const container = async (name: string) => (await theApi()).get<Container>(path(name));
  const setState = async (name: string, action: string, force = false, timeout = 60) =>
    (await theApi()).put(path(name, '/state'), { action, force, timeout });
  const body = (instance: Instance, seed: Seed) => instanceBody(instance, seed, call, nic);
  const backend: Backend = {
    // Only few calls need these modules, and what they load.
    prepare: async (say) => (await import('./host.ts')).ensureHost(call, cache, say),
    async create(instance, seed) {
      await backend.remove(instance.name);
      const fingerprint = await (await import('./host.ts')).hostImage(call, cache);
      await (await theApi()).post(inProject(knobs.project, '/1.0/instances'), {
        ...body(instance, seed),
        source: { type: 'image', fingerprint },
      });
    },
    async power() {
      const daemon = await findDaemon();
      const all = await daemon?.api.get<readonly Container[]>(
        inProject(knobs.project, '/1.0/instances', 'recursion=1'),
      );
      return new Map((all ?? []).map(({ name, status }) => [name, STATUS[status] ?? 'stopped'] as const));
    },
    async start(name) {
      const status = (await container(name))?.status;
      if (status !== 'Running') await setState(name, 'start');
    },
    async stop(name, force) {
      const status = (await container(name))?.status;
      if (status === undefined || status === 'Stopped') return;
      await setState(name, 'stop', force, SHUTDOWN_S);
    },
    async remove(name) {
      const seen = await findDaemon().then((daemon) => daemon?.api.get<Container>(path(name)));
      // One of another state folder is none of ours; its name is then taken for create.
      if (seen?.config[DOUBLE_KEY] !== call.folder) return;
      if (seen.status !== 'Stopped') await setState(name, 'stop', true);
      await (await theApi()).remove(path(name));
    },
    address: async (instance) => leasedAddress(await theApi(), knobs, instance.mac),
    async changeAddress(instance) {
      const api = await theApi();
      const seen = await container(instance.name);
      if (seen === undefined) throw new Error(`there is no container ${instance.name}`);
      const name =
        Object.keys(seen.devices).find((each) => seen.devices[each]?.hwaddr === instance.mac) ?? '';
      const address = await freeAddress(api, knobs);
      const devices = { ...seen.devices, [name]: { ...seen.devices[name], 'ipv4.address': address } };
      await api.put(path(instance.name), { ...seen, devices });
    },
    async connect(_, address) {
      const { privateKey } = await daemonKey(call.folder);
      return (await import('./guest.ts')).connect(address, privateKey);
    },
    initialized: guestInitialized,
    networks: async () => (await import('./host-networks.ts')).hostNetworks(),
    cleanUp: async (say) => (await import('./host.ts')).removeHost(call, say),
  };
  return backend;
}
