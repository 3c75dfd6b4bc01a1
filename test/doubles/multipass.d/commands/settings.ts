import { reachDaemon } from '../daemon/daemon.ts';
import { Refusal, usage } from '../failures.ts';
import { DEFAULTS } from '../settings.ts';
import type { Command } from './command.ts';

export const get: Command = {
  names: ['get'],
  summary: 'Get a configuration setting',
  synopsis: '<arg>',
  options: [],
  async run(call, given) {
    const [key, ...more] = given.names;
    if (key === undefined || more.length > 0) throw usage('Need exactly one setting key.');
    if (!key.startsWith('client.')) await reachDaemon(call);
    const value = DEFAULTS[key];
    if (value === undefined) throw new Refusal(`Unrecognized settings key: '${key}'`);
    call.out(`${value === '' ? '<empty>' : value}\n`);
    return 0;
  },
};
