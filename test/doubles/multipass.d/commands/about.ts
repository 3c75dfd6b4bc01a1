import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { reachDaemon } from '../daemon/daemon.ts';
import { Failure, RC, Refusal, usage } from '../failures.ts';
import { findImages, type Image } from '../images.ts';
import { type Call, readAll } from '../io.ts';
import { isModern } from '../knobs.ts';
import { columns, formatOf, render } from '../output/format.ts';
import { settingOf } from '../settings.ts';
import { Spinner } from '../spinner.ts';
import { type Command, FORMAT, TIMEOUT } from './command.ts';

export const version: Command = {
  names: ['version'],
  summary: 'Show version details',
  synopsis: '',
  options: [FORMAT],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const format = formatOf(given);
    const { version, update } = call.knobs;
    const daemon = await reachDaemon(call).then(
      () => ({ multipassd: version, ...(update === undefined ? {} : { update }) }),
      () => ({}),
    );
    const all = { multipass: version, ...daemon };
    const answer = {
      table: () =>
        Object.entries(all)
          .map(([name, each]) => (typeof each === 'string' ? `${name.padEnd(12)}${each}\n` : updateBox(each)))
          .join(''),
      json: () => all,
      csv: () => [
        ['Multipass', 'Multipassd'],
        [version, 'multipassd' in daemon ? version : ''],
      ],
      yaml: () => all,
    };
    call.out(await render(answer, format, call.knobs));
    return 0;
  },
};

function updateBox({ title, description, url }: { title: string; description: string; url: string }): string {
  const lines = [`${title} update available`, description, '', 'Go here for more information:', url];
  const width = Math.max(...lines.map((line) => line.length));
  const row = '#'.repeat(width + 4);
  return `\n${row}\n${lines.map((line) => `# ${line.padEnd(width)} #\n`).join('')}${row}\n`;
}

export const networks: Command = {
  names: ['networks'],
  summary: 'List available network interfaces',
  synopsis: '',
  options: [FORMAT],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const format = formatOf(given);
    const { backend } = await reachDaemon(call);
    const known = call.knobs.networks ?? (await backend.networks());
    const rows = [...known].sort((a, b) => (a.name < b.name ? -1 : 1));
    const answer = {
      table: () =>
        rows.length === 0
          ? 'No network interfaces found.\n'
          : columns([
              ['Name', 'Type', 'Description'],
              ...rows.map((row) => [row.name, row.type, row.description]),
            ]),
      json: () => ({ list: rows.map(({ name, type, description }) => ({ name, type, description })) }),
      csv: () => [
        ['Name', 'Type', 'Description'],
        ...rows.map((row) => [row.name, row.type, `"${row.description}"`]),
      ],
      yaml: () =>
        Object.fromEntries(rows.map(({ name, type, description }) => [name, [{ type, description }]])),
    };
    call.out(await render(answer, format, call.knobs));
    return 0;
  },
};

export const find: Command = {
  names: ['find'],
  summary: 'Display available images to create instances from',
  synopsis: '[<remote:>][<string>]',
  options: [
    FORMAT,
    ...['show-unsupported', 'force-update', 'only-images', 'only-blueprints'].map((name) => ({
      names: [name],
    })),
  ],
  async run(call, given) {
    if (given.names.length > 1) throw usage('Wrong number of arguments');
    const format = formatOf(given);
    await reachDaemon(call);
    const [text = ''] = given.names;
    const [remote, string] = text.includes(':') ? text.split(':') : [undefined, text];
    const searched = string !== undefined && string !== '';
    const images = findImages(call.knobs, remote, searched ? string : undefined);
    const modern = isModern(call.knobs);
    const remoteOf = (image: Image) =>
      searched || !modern || image.remote !== '' ? image.remote : 'release';
    const keyOf = (image: Image) => {
      const alias = searched ? string : image.aliases[0];
      return image.remote === '' ? alias : `${image.remote}:${alias}`;
    };
    const aliasesOf = (image: Image) => (searched ? [] : image.aliases.slice(1));
    const details = () =>
      Object.fromEntries(
        images.map((image) => [
          keyOf(image),
          {
            os: image.os,
            release: image.release,
            version: image.version,
            aliases: aliasesOf(image),
            remote: remoteOf(image),
          },
        ]),
      );
    const blueprints = modern ? {} : { 'blueprints (deprecated)': {} };
    const answer = {
      table() {
        if (images.length === 0) return modern ? 'No images found.\n' : 'No images or blueprints found.\n';
        const lines = images.map((image) => {
          const about = `${image.os === '' ? '' : `${image.os} `}${image.release}`;
          return [keyOf(image), aliasesOf(image).join(','), image.version, about];
        });
        return `${columns([['Image', 'Aliases', 'Version', 'Description'], ...lines], [28, 18, 17])}\n`;
      },
      json: () => ({ errors: [], ...blueprints, images: details() }),
      csv: () => [
        ['Image', 'Remote', 'Aliases', 'OS', 'Release', 'Version', 'Type'],
        ...images.map((image) => [
          ...[keyOf(image), image.remote, aliasesOf(image).join(';'), image.os, image.release, image.version],
          'Cloud Image',
        ]),
      ],
      yaml: () => ({ errors: [], ...blueprints, images: details() }),
    };
    call.out(await render(answer, format, call.knobs));
    return 0;
  },
};

export const authenticate: Command = {
  names: ['authenticate', 'auth'],
  summary: 'Authenticate client',
  synopsis: '[<passphrase>]',
  options: [],
  async run(call, given) {
    if (given.names.length > 1) throw usage('Too many arguments given');
    await reachDaemon(call, true);
    const typed = given.names[0] ?? (await readAll(call.stdin())).toString().split('\n')[0] ?? '';
    const passphrase = settingOf(call, 'local.passphrase');
    if (passphrase === '')
      throw new Refusal(
        'Passphrase is not set. Please `multipass set local.passphrase` with a trusted client.',
      );
    if (typed !== passphrase) throw new Refusal('Passphrase is not correct. Please try again.');
    await writeFile(join(call.folder, 'authenticated'), '');
    return 0;
  },
};

export const waitReady: Command = {
  names: ['wait-ready'],
  summary: 'Wait for the Multipass daemon to be ready',
  synopsis: '',
  options: [TIMEOUT],
  async run(call, given) {
    const timeoutMs = given.timeoutMs();
    const spinner = new Spinner(call.out, call.knobs.spinner);
    const deadline = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
    spinner.show('Waiting for Multipass daemon to be ready');
    try {
      while (!(await isReady(call))) {
        if (deadline !== undefined && performance.now() > deadline) {
          throw new Failure(RC.timeout, 'Timed out waiting for the Multipass daemon to be ready.\n');
        }
        await delay(Math.min(500, timeoutMs ?? 500));
      }
    } finally {
      spinner.stop();
    }
    return 0;
  },
};

async function isReady(call: Call): Promise<boolean> {
  if (!call.knobs.imageServers) return false;
  try {
    await reachDaemon(call);
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.message.startsWith('cannot connect')) return false;
    throw error;
  }
}
