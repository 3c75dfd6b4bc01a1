import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { Refusal, unhandled, usage } from '../failures.ts';
import { runJob } from '../jobs.ts';
import { update } from '../store.ts';
import { ALL, type Command } from './command.ts';
import { neededNames } from './lifecycle.ts';

export const remove: Command = {
  names: ['delete'],
  summary: 'Delete instances and snapshots',
  synopsis: '<instance>[.snapshot] [<instance>[.snapshot] ...]',
  options: [ALL, { names: ['purge', 'p'] }],
  async run(call, given) {
    const names = neededNames(call, given) ?? [];
    const purge = given.has('purge');
    const { backend, instances } = await reachDaemon(call);
    const pairs = names.map((name) => {
      const dot = name.indexOf('.');
      return dot < 0
        ? { name, snapshot: undefined }
        : { name: name.slice(0, dot), snapshot: name.slice(dot + 1) };
    });
    const chosen = select(
      await instances(),
      pairs.map(({ name }) => name),
      true,
    ) as readonly Seen[];
    const snapshots = pairs.flatMap(({ name, snapshot }) =>
      snapshot === undefined ? [] : [{ name, snapshot }],
    );
    const missing = snapshots.filter(
      ({ name, snapshot }) =>
        !chosen.find((each) => each.name === name)?.snapshots.some((each) => each.name === snapshot),
    );
    if (missing.length > 0) {
      const lines = missing.map(({ name, snapshot }) => `No such snapshot: ${name}.${snapshot}`);
      throw new Refusal(`The following errors occurred:\n${lines.join('\n')}`);
    }
    if (snapshots.length > 0 && !purge) {
      throw unhandled(
        'Snapshots can only be purged (after deletion, they cannot be recovered). Unable to query client for ' +
          'confirmation. Please use the `--purge` flag if that is what you want.\n',
      );
    }
    for (const { name, snapshot } of snapshots) {
      const seen = (await instances()).find((each) => each.name === name);
      const gone = seen?.snapshots.find((each) => each.name === snapshot);
      if (seen === undefined || gone === undefined) continue;
      await backend.removeSnapshot(name, snapshot);
      const rest = seen.snapshots
        .filter((each) => each !== gone)
        .map((each) => (each.parent === snapshot ? { ...each, parent: gone.parent } : each));
      await update(call.folder, name, {
        snapshots: rest,
        head: seen.head === snapshot ? gone.parent : seen.head,
      });
    }
    const whole = chosen.filter(
      ({ name }) => !pairs.some((pair) => pair.name === name && pair.snapshot !== undefined),
    );
    if (whole.length > 0) {
      const request = { names: whole.map(({ name }) => name), purge };
      await runJob({ ...call, knobs: { ...call.knobs, spinner: false } }, { operation: 'delete', request });
    }
    return 0;
  },
};

export const purge: Command = {
  names: ['purge'],
  summary: 'Purge all deleted instances permanently',
  synopsis: '',
  options: [],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const all = await (await reachDaemon(call)).instances();
    const names = all.filter(({ deleted }) => deleted).map(({ name }) => name);
    const quiet = { ...call, knobs: { ...call.knobs, spinner: false } };
    if (names.length > 0) await runJob(quiet, { operation: 'delete', request: { names, purge: true } });
    return 0;
  },
};

export const recover: Command = {
  names: ['recover'],
  summary: 'Recover deleted instances',
  synopsis: '<name> [<name> ...]',
  options: [ALL],
  async run(call, given) {
    const names = neededNames(call, given) ?? [];
    const chosen = select(await (await reachDaemon(call)).instances(), names, true);
    for (const { name, deleted } of chosen) {
      if (deleted) await update(call.folder, name, { deleted: false });
    }
    return 0;
  },
};
