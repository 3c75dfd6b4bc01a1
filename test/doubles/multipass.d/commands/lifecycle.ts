import type { Given } from '../arguments.ts';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { Refusal, usage } from '../failures.ts';
import { runJob } from '../jobs.ts';
import { isModern } from '../knobs.ts';
import { spinning } from '../spinner.ts';
import { ALL, type Command, TIMEOUT } from './command.ts';

/** Names; undefined stands for all. */
export function namesOf(given: Given): readonly string[] | undefined {
  const { names } = given;
  if (names.length > 0 && given.has('all')) {
    throw usage(`Cannot specify name${names.length > 1 ? 's' : ''} when --all option set`);
  }
  if (given.has('all')) return undefined;
  if (names.length > 0) return names;
  throw usage('Name argument or --all is required');
}

function messageFor(action: string, names: readonly string[] | undefined): string {
  if (names === undefined) return `${action} all instances`;
  return names.length === 1 ? `${action} ${names[0]}` : `${action} requested instances`;
}

/** A command on instances that exist, none of them deleted, all or nothing. */
function onInstances(
  name: 'stop' | 'restart',
  action: string,
  about: Pick<Command, 'summary' | 'options'>,
  extra: (given: Given) => object = () => ({}),
): Command {
  return {
    ...about,
    names: [name],
    synopsis: '[<name> ...]',
    async run(call, given) {
      const names = namesOf(given);
      const more = extra(given);
      const timeoutMs = given.timeoutMs();
      const timeoutText = `Timed out waiting for instance to ${name}.`;
      await spinning(call, messageFor(action, names), async (spinner) => {
        const chosen = select(await (await reachDaemon(call)).instances(), names ?? [], false);
        const request = { names: chosen.map((each) => each.name), ...more };
        await runJob(call, { operation: name, request }, { spinner, timeoutMs, timeoutText });
      });
      return 0;
    },
  };
}

export const stop = onInstances(
  'stop',
  'Stopping',
  { summary: 'Stop running instances', options: [ALL, { names: ['force'] }] },
  (given) => ({ force: given.has('force') }),
);

export const restart = onInstances(
  'restart',
  'Restarting',
  { summary: 'Restart instances', options: [ALL, TIMEOUT] },
  (given) => ({ timeoutMs: given.timeoutMs() }),
);

export const start: Command = {
  names: ['start'],
  summary: 'Start instances',
  synopsis: '[<name> ...]',
  options: [ALL, TIMEOUT],
  async run(call, given) {
    const names = namesOf(given);
    const timeoutMs = given.timeoutMs();
    const timeoutText = 'Timed out waiting for instance to start.';
    await spinning(call, messageFor('Starting', names), async (spinner) => {
      const all = await (await reachDaemon(call)).instances();
      const missing = missingForStart(all, names ?? []);
      if (missing.length > 0) {
        throw new Refusal('instance(s) missing', `${missing.join('\n')}${isModern(call.knobs) ? '' : '\n'}`);
      }
      const chosen =
        names ?? all.filter(({ deleted, preparing }) => !deleted && !preparing).map(({ name }) => name);
      const request = { names: chosen, timeoutMs };
      await runJob(call, { operation: 'start', request }, { spinner, timeoutMs, timeoutText });
      spinner.stop();
    });
    return 0;
  },
};

function missingForStart(all: readonly Seen[], names: readonly string[]): readonly string[] {
  return names.flatMap((name) => {
    const seen = all.find((each) => each.name === name && !each.preparing);
    if (seen === undefined) return [`Instance '${name}' does not exist.`];
    const advice = "Use 'recover' to recover it or 'purge' to permanently delete it.";
    return seen.deleted ? [`Instance '${name}' is deleted. ${advice}`] : [];
  });
}
