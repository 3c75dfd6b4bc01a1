import { reachDaemon } from '../daemon/daemon.ts';
import { usage } from '../failures.ts';
import { findImages, type Image } from '../images.ts';
import { isModern } from '../knobs.ts';
import { printJson } from '../output/json.ts';
import { type Command, FORMAT } from './command.ts';

export const version: Command = {
  names: ['version'],
  summary: 'Show version details',
  synopsis: '',
  options: [FORMAT],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const { version, update } = call.knobs;
    const daemon = await reachDaemon(call).then(
      () => ({ multipassd: version, ...(update === undefined ? {} : { update }) }),
      () => ({}),
    );
    const all = { multipass: version, ...daemon };
    printJson(call, given, all);
    return 0;
  },
};

export const networks: Command = {
  names: ['networks'],
  summary: 'List available network interfaces',
  synopsis: '',
  options: [FORMAT],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const { backend } = await reachDaemon(call);
    const known = call.knobs.networks ?? (await backend.networks());
    const rows = [...known].sort((a, b) => (a.name < b.name ? -1 : 1));
    printJson(call, given, {
      list: rows.map(({ name, type, description }) => ({ name, type, description })),
    });
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
    printJson(call, given, { errors: [], ...blueprints, images: details() });
    return 0;
  },
};
