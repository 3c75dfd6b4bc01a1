import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { lockWhenFree } from '../../../../scripts/artifacts/lock.ts';
import { localExecutor } from '../../../../scripts/exec/local.ts';
import type { IncusApi } from '../../../../scripts/machines/incus/api.ts';
import {
  type Daemon,
  daemonInstalled,
  ensureDaemon,
  findDaemon,
  stopOurDaemon,
  THIS_HOST,
} from '../../../../scripts/machines/incus/daemon.ts';
import { ensureHostLimits, restoreHostLimits } from '../../../../scripts/machines/incus/host-settings.ts';
import { anyOwned } from '../../../../scripts/machines/incus/resources.ts';
import { OWNER_KEY } from '../../../../scripts/shared/labels.ts';
import type { Call } from '../io.ts';
import { ensureDebianImage } from './image.ts';
import { inProject } from './in-project.ts';
import { DOUBLE_KEY } from './instance-body.ts';
import { guardUplink, unguardUplink } from './uplink.ts';

const FORWARDING = '/proc/sys/net/ipv4/ip_forward';
/** On the bridge: what the host's ip_forward was before the daemon switched it on for it. */
const FORWARDED_KEY = `${DOUBLE_KEY}.ip-forward`;

interface Labelled {
  readonly name: string;
  readonly config: Readonly<Record<string, string>>;
}

/** Image, project, pool, bridge with its rules: whatever of them is missing. One call at a time. */
export async function ensureHost(call: Call, cache: string, say: (text: string) => void): Promise<void> {
  const { knobs } = call;
  const lock = await lockWhenFree(`multipass-double/${knobs.project}`, () => {});
  try {
    const image = await ensureDebianImage(cache, (event) => {
      if (event.type === 'note') say(event.text);
    });
    const { daemon } = await ensureDaemon(localExecutor(), () => {});
    await ensureHostLimits(THIS_HOST);
    await ensureObjects(daemon, call);
    if ((await imageFingerprint(daemon.api, knobs.project, image.key)) === undefined) {
      const { api } = daemon;
      await api.postImage(inProject(knobs.project, '/1.0/images'), image.metadataFile, image.rootfsFile);
      const images =
        (await api.get<readonly Image[]>(inProject(knobs.project, '/1.0/images', 'recursion=1'))) ?? [];
      const fresh = images.find(({ aliases }) => aliases.length === 0);
      if (fresh === undefined) throw new Error('the imported image is not listed');
      const alias = { name: aliasOf(image.key), target: fresh.fingerprint };
      await api.post(inProject(knobs.project, '/1.0/images/aliases'), alias);
    }
  } finally {
    await lock.release();
  }
}

interface Image {
  readonly fingerprint: string;
  readonly aliases: readonly { readonly name: string }[];
}

const aliasOf = (key: string): string => `plain-${key.slice(0, 16)}`;

async function imageFingerprint(api: IncusApi, project: string, key: string): Promise<string | undefined> {
  const images = (await api.get<readonly Image[]>(inProject(project, '/1.0/images', 'recursion=1'))) ?? [];
  return images.find(({ aliases }) => aliases.some(({ name }) => name === aliasOf(key)))?.fingerprint;
}

/** The imported image's fingerprint. */
export async function hostImage({ knobs }: Call, cache: string): Promise<string> {
  const { key } = await ensureDebianImage(cache, () => {});
  const daemon = await findDaemon();
  const found = daemon && (await imageFingerprint(daemon.api, knobs.project, key));
  if (found === undefined) throw new Error('the image is not imported');
  return found;
}

async function ensureObjects({ api, storageDrivers }: Daemon, { knobs, folder }: Call): Promise<void> {
  const { project, bridge, subnet } = knobs;
  const have = async (collection: string, name: string) => {
    const seen = await api.get<Labelled>(`/1.0/${collection}/${encodeURIComponent(name)}`);
    if (seen !== undefined && seen.config[DOUBLE_KEY] === undefined) {
      throw new Error(
        `${collection}: "${name}" exists and is not the double's; set other names in its knobs`,
      );
    }
    return seen !== undefined;
  };
  const owner = await ownerOf(api, project);
  if (owner !== undefined && owner !== folder) {
    throw new Error(
      `project "${project}" belongs to the double with state folder ${owner}; set other names in the knobs ` +
        '(project, bridge, subnet), or remove that one with multipass-cleanup',
    );
  }
  if (!(await have('projects', project))) {
    const features = {
      'features.images': 'true',
      'features.profiles': 'true',
      'features.storage.volumes': 'true',
    };
    // The owner label keeps a daemon that labup started from being stopped while machines of the double need it.
    const config = {
      [DOUBLE_KEY]: folder,
      [OWNER_KEY]: project,
      'features.networks': 'false',
      ...features,
    };
    await api.post('/1.0/projects', { name: project, config });
  }
  if (!(await have('storage-pools', project))) {
    const btrfs = storageDrivers.includes('btrfs');
    const config = { [DOUBLE_KEY]: 'pool', ...(btrfs ? { size: '30GiB' } : {}) };
    await api.post('/1.0/storage-pools', { name: project, driver: btrfs ? 'btrfs' : 'dir', config });
  }
  if (!(await have('networks', bridge))) {
    // Before the bridge, so that it never has an uplink without them.
    await guardUplink(knobs);
    const [net = '', length = '24'] = subnet.split('/');
    const base = net.split('.').slice(0, 3).join('.');
    const config = {
      [DOUBLE_KEY]: 'network',
      [FORWARDED_KEY]: await forwardingBefore(api),
      'ipv4.address': `${base}.1/${length}`,
      'ipv4.nat': 'true',
      'ipv4.dhcp': 'true',
      'ipv4.dhcp.ranges': `${base}.20-${base}.199`,
      'ipv6.address': 'none',
      'dns.domain': 'multipass',
    };
    await api.post('/1.0/networks', { name: bridge, type: 'bridge', config });
  }
}

/** The state folder that a project of a double belongs to. */
async function ownerOf(api: IncusApi, project: string): Promise<string | undefined> {
  return (await api.get<Labelled>(`/1.0/projects/${encodeURIComponent(project)}`))?.config[DOUBLE_KEY];
}

/** Another double's bridge may have switched it on already. */
async function forwardingBefore(api: IncusApi): Promise<string> {
  const [other] = await doubleNetworks(api);
  return other?.config[FORWARDED_KEY] ?? (await readFile(FORWARDING, 'utf8')).trim();
}

async function doubleNetworks(api: IncusApi): Promise<readonly Labelled[]> {
  const all = (await api.get<readonly Labelled[]>('/1.0/networks?recursion=1')) ?? [];
  return all.filter(({ config }) => config[DOUBLE_KEY] !== undefined);
}

/** Removes all that is the double's, by exact names, and leaves the host as it was. Twice does no harm. */
export async function removeHost({ knobs, folder }: Call, say: (text: string) => void): Promise<void> {
  const local = localExecutor();
  const { project, bridge } = knobs;
  if ((await findDaemon()) === undefined && !daemonInstalled()) return;
  const { api } = (await ensureDaemon(local, () => {})).daemon;
  const owner = await ownerOf(api, project);
  if (owner !== undefined && owner !== folder && existsSync(owner)) {
    throw new Error(`project "${project}" belongs to the double with MULTIPASS_DOUBLE_STATE=${owner}`);
  }
  const ours = async (collection: string, name: string) =>
    (await api.get<Labelled>(`/1.0/${collection}/${encodeURIComponent(name)}`))?.config[DOUBLE_KEY] !==
    undefined;
  if (await ours('projects', project)) {
    await removeInstances(api, project, say);
    const images = (await api.get<readonly Image[]>(inProject(project, '/1.0/images', 'recursion=1'))) ?? [];
    for (const { fingerprint } of images) await api.remove(inProject(project, `/1.0/images/${fingerprint}`));
    say(`removing project ${project}`);
    await api.remove(`/1.0/projects/${encodeURIComponent(project)}`);
  }
  if (await ours('networks', bridge)) {
    const [network] = (await doubleNetworks(api)).filter(({ name }) => name === bridge);
    say(`removing bridge ${bridge}`);
    await api.remove(`/1.0/networks/${bridge}`);
    const before = network?.config[FORWARDED_KEY];
    if (before !== undefined && (await doubleNetworks(api)).length === 0) await writeFile(FORWARDING, before);
  }
  await unguardUplink(knobs);
  if (await ours('storage-pools', project))
    await api.remove(`/1.0/storage-pools/${encodeURIComponent(project)}`);
  if (await anyOwned(api)) return;
  await restoreHostLimits(THIS_HOST);
  await stopOurDaemon(local, () => {});
}

async function removeInstances(api: IncusApi, project: string, say: (text: string) => void): Promise<void> {
  type Container = Labelled & { readonly status: string };
  const all =
    (await api.get<readonly Container[]>(inProject(project, '/1.0/instances', 'recursion=1'))) ?? [];
  await Promise.all(
    all.map(async ({ name, status }) => {
      say(`removing ${name}`);
      const path = `/1.0/instances/${encodeURIComponent(name)}`;
      if (status !== 'Stopped') {
        await api.put(inProject(project, `${path}/state`), { action: 'stop', force: true, timeout: 30 });
      }
      await api.remove(inProject(project, path));
    }),
  );
}
