import type { LabPlan } from '../../plan/types.ts';
import { UserError } from '../../shared/errors.ts';
import { OWNER_KEY } from '../../shared/labels.ts';
import type { MachineImage } from '../driver.ts';
import type { IncusApi } from './api.ts';
import type { Daemon } from './daemon.ts';

/** The name of a lab's project. */
export const projectOf = (lab: string): string => lab;

/** The name of a lab's storage pool. The bridge's name comes from the plan. */
export const poolOf = (lab: string): string => lab;

/** An API path inside the lab's project. */
export function inProject(lab: string, path: string, query = ''): string {
  const more = query === '' ? '' : `&${query}`;
  return `${path}?project=${encodeURIComponent(projectOf(lab))}${more}`;
}

/** What all objects of the API have in common. */
interface Labelled {
  readonly name: string;
  readonly config: Readonly<Record<string, string>>;
}

interface Wanted extends Labelled {
  readonly collection: '/1.0/projects' | '/1.0/storage-pools' | '/1.0/networks';
  readonly [property: string]: unknown;
}

/**
 * The project, storage pool and bridge of a lab. Returns whether anything had to be made. Throws UserError, before
 * anything is made, where one of them exists and is not this lab's.
 */
export async function ensureResources(daemon: Daemon, plan: LabPlan): Promise<boolean> {
  const { api } = daemon;
  const wanted = resourcesOf(plan, daemon.storageDrivers.includes('btrfs'));
  const seen = await Promise.all(
    wanted.map(({ collection, name }) => api.get<Labelled>(`${collection}/${encodeURIComponent(name)}`)),
  );
  for (const [index, each] of wanted.entries()) refuseForeign(plan.lab, each, seen[index]);
  const missing = wanted.filter((_, index) => seen[index] === undefined);
  for (const { collection, ...body } of missing) await api.post(collection, body);
  return missing.length > 0;
}

function resourcesOf(plan: LabPlan, btrfs: boolean): readonly Wanted[] {
  const owner = { [OWNER_KEY]: plan.lab };
  const project = {
    collection: '/1.0/projects' as const,
    name: projectOf(plan.lab),
    config: {
      ...owner,
      'features.images': 'true',
      'features.profiles': 'true',
      'features.storage.volumes': 'true',
      'features.networks': 'false',
    },
  };
  const pool = {
    collection: '/1.0/storage-pools' as const,
    name: poolOf(plan.lab),
    // btrfs on a loop file clones the image for each machine in no time; plain directories copy it.
    driver: btrfs ? 'btrfs' : 'dir',
    config: { ...owner, ...(btrfs ? { size: '30GiB' } : {}) },
  };
  const network = {
    collection: '/1.0/networks' as const,
    name: plan.network.bridge,
    type: 'bridge',
    // No NAT, no DHCP, no DNS, no firewall rules: lab traffic has no way out of this bridge.
    config: {
      ...owner,
      'ipv4.address': `${plan.network.hostAddress}/${plan.network.prefixLength}`,
      'ipv4.nat': 'false',
      'ipv4.dhcp': 'false',
      'ipv4.firewall': 'false',
      // Else the daemon would switch forwarding on for the whole host.
      'ipv4.routing': 'false',
      'ipv6.address': 'none',
      'ipv6.firewall': 'false',
      'dns.mode': 'none',
    },
  };
  return [project, pool, network];
}

function refuseForeign(lab: string, { collection, name }: Wanted, seen: Labelled | undefined): void {
  if (seen === undefined || seen.config[OWNER_KEY] === lab) return;
  const what = collection.slice('/1.0/'.length).replace(/s$/, '').replace('-', ' ');
  throw new UserError(`The ${what} "${name}" exists and does not belong to lab "${lab}".`, {
    details: [`owner label: ${seen.config[OWNER_KEY] ?? 'none'}`],
    next: 'choose another name (name or network.bridge in lab.yaml), or remove that one yourself',
  });
}

interface ImageInfo {
  readonly fingerprint: string;
  readonly aliases: readonly { readonly name: string }[];
}

const aliasOf = (image: MachineImage): string => `machine-${image.key.slice(0, 16)}`;

/** Imports the machine image unless this project has it. Returns whether it was imported. */
export async function ensureImage(api: IncusApi, lab: string, image: MachineImage): Promise<boolean> {
  const alias = aliasOf(image);
  if ((await findImage(api, lab, image)) !== undefined) return false;
  // An import that was stopped before it got its alias would make the daemon refuse this one as a duplicate.
  for (const { fingerprint } of (await listImages(api, lab)).filter(({ aliases }) => aliases.length === 0)) {
    await api.remove(inProject(lab, `/1.0/images/${fingerprint}`));
  }
  await api.postImage(inProject(lab, '/1.0/images'), image.metadataFile, image.rootfsFile);
  const images = await listImages(api, lab);
  const fresh = images.find(({ aliases }) => aliases.length === 0);
  if (fresh === undefined) throw new Error('the imported image is not listed');
  await api.post(inProject(lab, '/1.0/images/aliases'), { name: alias, target: fresh.fingerprint });
  return true;
}

/** The fingerprint of the machine image in this project. */
export async function findImage(
  api: IncusApi,
  lab: string,
  image: MachineImage,
): Promise<string | undefined> {
  const images = await listImages(api, lab);
  return images.find(({ aliases }) => aliases.some(({ name }) => name === aliasOf(image)))?.fingerprint;
}

/** All images of the lab's project. */
export async function listImages(api: IncusApi, lab: string): Promise<readonly ImageInfo[]> {
  return (await api.get<readonly ImageInfo[]>(inProject(lab, '/1.0/images', 'recursion=1'))) ?? [];
}

/** The names of a collection's objects that carry this lab's owner label. */
export async function ownedBy(api: IncusApi, lab: string, collection: string): Promise<readonly string[]> {
  const all = (await api.get<readonly Labelled[]>(`${collection}?recursion=1`)) ?? [];
  return all.filter(({ config }) => config[OWNER_KEY] === lab).map(({ name }) => name);
}

/** Whether any lab, this one or another, still owns something of the daemon. */
export async function anyOwned(api: IncusApi): Promise<boolean> {
  const projects = (await api.get<readonly Labelled[]>('/1.0/projects?recursion=1')) ?? [];
  return projects.some(({ config }) => config[OWNER_KEY] !== undefined);
}
