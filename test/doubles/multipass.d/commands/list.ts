import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { usage } from '../failures.ts';
import { isModern } from '../knobs.ts';
import { printJson } from '../output/json.ts';
import { type Command, FORMAT } from './command.ts';

const releaseOf = ({ image }: Seen) =>
  image.release === '' ? 'Not Available' : `${image.os} ${image.release}`;

export const list: Command = {
  names: ['list', 'ls'],
  summary: 'List all available instances',
  synopsis: '',
  options: [FORMAT, { names: ['no-ipv4'] }],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const daemon = await reachDaemon(call);
    const all = (await daemon.instances()).filter(({ preparing }) => !preparing);
    const modern = isModern(call.knobs);
    printJson(call, given, {
      list: all.map((seen) => ({
        name: seen.name,
        state: seen.now,
        ipv4: [],
        release: releaseOf(seen),
        ...(modern ? { zone: { name: seen.zone, available: true } } : {}),
      })),
    });
    return 0;
  },
};
