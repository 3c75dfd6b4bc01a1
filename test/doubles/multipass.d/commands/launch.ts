import { randomInt } from 'node:crypto';
import { thisProcess } from '../../../../scripts/exec/local.ts';
import type { Given } from '../arguments.ts';
import { reachDaemon } from '../daemon/daemon.ts';
import { newMac, withMacs } from '../daemon/launch.ts';
import { logLine, Refusal, usage } from '../failures.ts';
import { imageFor, imageHash } from '../images.ts';
import type { Instance } from '../instance.ts';
import type { Call } from '../io.ts';
import { runJob } from '../jobs.ts';
import { isModern, named } from '../knobs.ts';
import { parseSize } from '../sizes.ts';
import { type Spinner, spinning } from '../spinner.ts';
import { claim } from '../store.ts';
import { type Command, TIMEOUT } from './command.ts';
import { parseCpus, parseNetwork, readUserData, type WantedNetwork } from './launch-options.ts';

const NO_KVM =
  'KVM support is not enabled on this machine.\nPlease ensure the following:\n1. Your CPU supports KVM\n' +
  '2. Virtualization is enabled in the BIOS\n3. The KVM kernel module is loaded';

const BLUEPRINTS = 'https://codeload.github.com/canonical/multipass-blueprints/zip/refs/heads/main';
const NO_BLUEPRINTS = () => {
  const reason = `Error opening ${BLUEPRINTS}`;
  const download = `failed to download from '${BLUEPRINTS}': ${reason}`;
  return (
    logLine('url downloader', `Failed to get ${BLUEPRINTS}: ${reason}`) +
    logLine('blueprint provider', `Error fetching Blueprints: ${download}`)
  );
};

export const launch: Command = {
  names: ['launch'],
  summary: 'Create and start a cloud instance',
  synopsis: '[[<remote:>]<image> | <url>]',
  options: [
    { names: ['cpus', 'c'], value: true },
    { names: ['disk', 'd'], value: true },
    { names: ['memory', 'm', 'mem'], value: true },
    { names: ['name', 'n'], value: true },
    { names: ['cloud-init'], value: true },
    { names: ['network'], value: true },
    { names: ['zone'], value: true },
    TIMEOUT,
  ],
  async run(call, given) {
    const request = await readRequest(call, given);
    const { timeoutMs } = request;
    const timeoutText = 'Timed out waiting for instance launch.';
    await spinning(call, undefined, async (spinner) => {
      const name = await reserve(call, request, spinner);
      const job = { operation: 'launch', request: { name, ...request } };
      await runJob(call, job, { spinner, timeoutMs, timeoutText });
      spinner.stop();
      call.out(`Launched: ${name}${isModern(call.knobs) ? ` in ${request.zone}` : ''}\n`);
    });
    return 0;
  },
};

type Request = Awaited<ReturnType<typeof readRequest>>;

/** The client's part: everything that it refuses without the daemon. */
async function readRequest(call: Call, given: Given) {
  if (given.names.length > 1) throw usage('Too many arguments supplied');
  const [image = ''] = given.names;
  const url = /^(https?|file):\/\//.test(image);
  const [remote, alias] = url || !image.includes(':') ? ['', image] : image.split(':');
  if (!url && image.split(':').length > 2) throw usage('Invalid remote and source image name supplied');
  const modern = isModern(call.knobs);
  if (given.has('zone') && !modern) throw usage("Unknown option 'zone'.");
  const cpus = parseCpus(given.value('cpus'));
  const sizes = { memory: given.value('memory') ?? '1G', disk: given.value('disk') };
  const memory = parseSize(sizes.memory);
  const disk = sizes.disk === undefined ? undefined : parseSize(sizes.disk);
  const userData = await readUserData(call, given);
  const networks = given.all('network').map(parseNetwork);
  return {
    ...{
      remote: remote ?? '',
      alias: alias ?? '',
      asked: given.value('name') ?? '',
      zone: given.value('zone') ?? 'zone1',
    },
    ...{ cpus, memory, disk, sizes, networks, userData, timeoutMs: given.timeoutMs() },
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  };
}

/** The daemon's checks, in their order, up to the name, which is taken from then on. */
async function reserve(call: Call, request: Request, spinner: Spinner): Promise<string> {
  const { knobs } = call;
  const daemon = await reachDaemon(call);
  if (!knobs.imageServers) {
    call.err(NO_BLUEPRINTS());
    spinner.stop();
    spinner.stop();
  }
  const image = imageFor(knobs, request.remote, request.alias);
  const modern = isModern(knobs);
  const [minMemory, minDisk] = modern ? [2 ** 29, 2 ** 30] : [2 ** 27, 2 ** 29];
  const invalid = (what: string) => new Refusal('Invalid arguments supplied', what);
  if (request.memory < minMemory)
    throw invalid(`Invalid memory size value supplied: ${request.sizes.memory}.`);
  if (request.disk !== undefined && request.disk < minDisk) {
    throw invalid(`Invalid disk size value supplied: ${request.sizes.disk}.`);
  }
  if (request.asked !== '' && !isValidName(request.asked)) {
    throw invalid(`Invalid instance name supplied: ${request.asked}`);
  }
  const networks = await checkNetworks(call, request.networks);
  const all = await daemon.instances();
  const name = request.asked === '' ? randomName(new Set(all.map((each) => each.name))) : request.asked;
  const taken = all.find((each) => each.name === name);
  if (taken !== undefined && !taken.preparing) throw new Refusal(`instance "${name}" already exists`);
  if (taken !== undefined || named(knobs.beingPrepared, name))
    throw new Refusal(`instance "${name}" is being prepared`);
  if (!knobs.kvm && !all.some(({ now }) => now === 'Running')) throw new Refusal(NO_KVM);
  const disk = diskFor(call, request.disk);
  const instance: Instance = {
    ...{ name, state: 'Starting', deleted: false, preparing: true, busy: thisProcess() },
    image: { alias: image.aliases[0], release: image.release, os: image.os, hash: imageHash(image) },
    ...{ cpus: request.cpus, memory: request.memory, disk, mac: newMac(), interfaces: withMacs(networks) },
    ...{ zone: request.zone, address: undefined },
  };
  if (!(await claim(call.folder, instance))) throw new Refusal(`instance "${name}" is being prepared`);
  return name;
}

function diskFor({ knobs }: Call, asked: number | undefined): number {
  if (asked !== undefined && asked < knobs.imageDisk) {
    throw new Refusal(
      `Requested disk (${asked} bytes) below minimum for this image (${knobs.imageDisk} bytes)`,
    );
  }
  if (knobs.availableDisk < knobs.imageDisk) {
    throw new Refusal(
      `Available disk (${knobs.availableDisk} bytes) below minimum for this image (${knobs.imageDisk} bytes)`,
    );
  }
  return Math.max(asked ?? 5 * 2 ** 30, knobs.imageDisk);
}

async function checkNetworks(
  call: Call,
  wanted: readonly WantedNetwork[],
): Promise<readonly WantedNetwork[]> {
  if (wanted.length === 0) return [];
  const { backend } = await reachDaemon({ ...call, knobs: { ...call.knobs, daemonDelayMs: 0 } });
  const known = call.knobs.networks ?? (await backend.networks());
  const refused = isModern(call.knobs)
    ? 'Invalid network options. To troubleshoot, see https://documentation.ubuntu.com/multipass/stable/how-to-guides/'
    : 'Invalid network options supplied';
  const kinds = wanted.map(({ network }) => known.find(({ name }) => name === network)?.type);
  if (kinds.includes(undefined)) throw new Refusal('Invalid arguments supplied', refused);
  // The daemon would make a bridge for it, and nobody can be asked here.
  if (kinds.includes('ethernet')) throw new Refusal('Missing bridges', refused);
  return wanted;
}

/** src/utils/utils.cpp, valid_hostname. */
function isValidName(name: string): boolean {
  return /^([a-zA-Z]|[a-zA-Z][a-zA-Z0-9-]*[a-zA-Z0-9])$/.test(name);
}

function randomName(taken: ReadonlySet<string>): string {
  const pick = (words: readonly string[]) => words[randomInt(words.length)] ?? '';
  for (;;) {
    const number = taken.size > 20 ? `-${randomInt(1000)}` : '';
    const name = `${pick(['able', 'brave', 'calm', 'eager', 'fond'])}-${pick(['ant', 'bee', 'crow', 'duck', 'elk'])}${number}`;
    if (!taken.has(name)) return name;
  }
}
