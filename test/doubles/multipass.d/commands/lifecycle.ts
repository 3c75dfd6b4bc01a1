import type { Given } from '../arguments.ts';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { Refusal, usage } from '../failures.ts';
import { runJob } from '../jobs.ts';
import { isModern } from '../knobs.ts';
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
      const chosen = select(await (await reachDaemon(call)).instances(), names ?? [], false);
      await runJob(
        call,
        { operation: name, request: { names: chosen.map((each) => each.name), ...more } },
        {
          initial: messageFor(action, names),
          timeoutMs: given.timeoutMs(),
          timeoutText: `Timed out waiting for instance to ${name}.`,
        },
      );
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
    const all = await (await reachDaemon(call)).instances();
    const missing = missingForStart(all, names ?? []);
    if (missing.length > 0) {
      const lines = missing.map(({ name, why }) =>
        why === 'deleted'
          ? `Instance '${name}' is deleted. Use 'recover' to recover it or 'purge' to permanently delete it.`
          : `Instance '${name}' does not exist.`,
      );
      throw new Refusal('instance(s) missing', `${lines.join('\n')}${isModern(call.knobs) ? '' : '\n'}`);
    }
    const chosen =
      names ?? all.filter(({ deleted, preparing }) => !deleted && !preparing).map(({ name }) => name);
    await runJob(
      call,
      { operation: 'start', request: { names: chosen, timeoutMs } },
      {
        initial: messageFor('Starting', names),
        timeoutMs,
        timeoutText: 'Timed out waiting for instance to start.',
      },
    );
    return 0;
  },
};

interface Missing {
  readonly name: string;
  readonly why: 'absent' | 'deleted';
}

function missingForStart(all: readonly Seen[], names: readonly string[]): readonly Missing[] {
  return names.flatMap((name): readonly Missing[] => {
    const seen = all.find((each) => each.name === name && !each.preparing);
    if (seen === undefined) return [{ name, why: 'absent' }];
    return seen.deleted ? [{ name, why: 'deleted' }] : [];
  });
}
