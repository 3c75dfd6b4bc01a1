import { reachDaemon } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { runJob } from '../jobs.ts';
import { ALL, type Command } from './command.ts';
import { namesOf } from './lifecycle.ts';

export const remove: Command = {
  names: ['delete'],
  summary: 'Delete instances',
  synopsis: '<instance> [<instance> ...]',
  options: [ALL, { names: ['purge', 'p'] }],
  async run(call, given) {
    const names = namesOf(given) ?? [];
    const { instances } = await reachDaemon(call);
    const chosen = select(await instances(), names, true);
    const request = { names: chosen.map(({ name }) => name), purge: given.has('purge') };
    await runJob(call, { operation: 'delete', request });
    return 0;
  },
};
