import { createHash } from 'node:crypto';
import { Refusal } from './failures.ts';
import { isModern, type Knobs } from './knobs.ts';

/** One image that `find` lists and `launch` takes. */
export interface Image {
  readonly remote: string;
  readonly aliases: readonly [string, ...string[]];
  readonly os: string;
  readonly release: string;
  readonly version: string;
}

// A selection of what the real one lists. What boots is the double's Debian, whichever is asked for.
const IMAGES: readonly Image[] = [
  { remote: '', aliases: ['22.04', 'jammy'], os: 'Ubuntu', release: '22.04 LTS', version: '20260510' },
  { remote: '', aliases: ['24.04', 'noble', 'lts'], os: 'Ubuntu', release: '24.04 LTS', version: '20260518' },
  { remote: '', aliases: ['25.10', 'questing'], os: 'Ubuntu', release: '25.10', version: '20260512' },
  { remote: 'daily', aliases: ['26.10', 'devel'], os: 'Ubuntu', release: '26.10', version: '20260519' },
  { remote: 'core', aliases: ['core24'], os: 'Ubuntu', release: 'Core 24', version: 'current' },
];
const MODERN: readonly Image[] = [
  { remote: '', aliases: ['debian', 'bookworm'], os: 'Debian', release: '12', version: '20260501' },
];
const REMOTES = ['release', 'daily', 'core', 'snapcraft'];

const NO_SERVER =
  "failed to download from 'https://cdimage.ubuntu.com/ubuntu-core/16/stable/current/ubuntu-core-16-amd64.img.xz': " +
  'Host cdimage.ubuntu.com not found';

/** The images of a version, its remotes asked for by name, or found by alias and version. */
export function findImages(
  knobs: Knobs,
  remote: string | undefined,
  name: string | undefined,
): readonly Image[] {
  if (!knobs.imageServers) throw new Refusal(NO_SERVER);
  checkRemote(knobs, remote);
  const all = isModern(knobs) ? [...IMAGES, ...MODERN] : IMAGES;
  const wanted = remote === 'release' ? '' : remote;
  return all
    .filter((image) => wanted === undefined || image.remote === wanted)
    .filter(({ aliases, version }) => name === undefined || aliases.includes(name) || version === name);
}

/** The one image that launch means; the latest LTS by default. Throws the daemon's refusal where there is none. */
export function imageFor(knobs: Knobs, remote: string, name: string): Image {
  const wanted = name === '' || name === 'default' ? 'lts' : name;
  if (/^(https?|file):/.test(wanted)) {
    return { remote: '', aliases: [wanted], os: '', release: '', version: '' };
  }
  checkRemote(knobs, remote);
  // Without a network the client's refusal has no sentence about mirrors.
  if (!knobs.imageServers) throw new Refusal(`Remote "${remote}" is unknown or unreachable.`);
  const [found] = findImages(knobs, remote, wanted);
  if (found === undefined)
    throw new Refusal(`Unable to find an image matching "${wanted}" in remote "${remote}".`);
  return found;
}

/** The hash that an image goes by: made up, but always the same. */
export function imageHash({ remote, aliases, version }: Image): string {
  return createHash('sha256').update(`${remote}:${aliases[0]}:${version}`).digest('hex');
}

function checkRemote(knobs: Knobs, remote = ''): void {
  const remotes = isModern(knobs) ? REMOTES : [...REMOTES, 'appliance'];
  if (remote === '' || remotes.includes(remote)) return;
  throw new Refusal(
    `Remote '${remote}' is not found. Please use \`multipass find\` for supported remotes and images.`,
  );
}
