import type { Given } from '../arguments.ts';
import { reachDaemon } from '../daemon/daemon.ts';
import { daemonKey } from '../daemon/key.ts';
import { newMac } from '../daemon/launch.ts';
import { selectOne } from '../daemon/observe.ts';
import { Failure, RC, Refusal, usage } from '../failures.ts';
import type { Instance, Snapshot } from '../instance.ts';
import { save, update, withInstance } from '../store.ts';
import type { Command } from './command.ts';
import { isValidName } from './launch.ts';

function only(given: Given, what: string): string {
  const [name, ...more] = given.names;
  if (name === undefined) throw usage(`Need the name of ${what}.`);
  if (more.length > 0) throw usage('Too many arguments supplied');
  return name;
}

export const snapshot: Command = {
  names: ['snapshot'],
  summary: 'Take a snapshot of an instance',
  synopsis: '<instance>',
  options: [
    { names: ['name', 'n'], value: true },
    { names: ['comment', 'm', 'c'], value: true },
  ],
  async run(call, given) {
    const target = only(given, 'an instance to snapshot');
    const asked = given.value('name') ?? '';
    if (asked !== '' && !isValidName(asked)) throw usage(`Invalid snapshot name: "${asked}".`);
    const { backend, instances } = await reachDaemon(call);
    const seen = selectOne(await instances(), target);
    const now = (await instances()).find(({ name }) => name === target)?.now;
    if (now !== 'Stopped') throw new Refusal('Multipass can only take snapshots of stopped instances.');
    const name = asked === '' ? `snapshot${seen.snapshotCount + 1}` : asked;
    if (seen.snapshots.some((each) => each.name === name))
      throw new Refusal(`Snapshot already exists: ${target}.${name}`);
    await withInstance(call.folder, target, () => backend.snapshot(target, name));
    const { cpus, memory, disk, head } = seen;
    const comment = given.value('comment') ?? '';
    const taken: Snapshot = {
      name,
      comment,
      parent: head,
      created: new Date().toUTCString(),
      cpus,
      memory,
      disk,
    };
    const snapshots = [...seen.snapshots, taken];
    await update(call.folder, target, { snapshots, head: name, snapshotCount: seen.snapshotCount + 1 });
    call.out(`Snapshot taken: ${target}.${name}\n`);
    return 0;
  },
};

export const restore: Command = {
  names: ['restore'],
  summary: 'Restore an instance from a snapshot',
  synopsis: '<instance>.<snapshot>',
  options: [{ names: ['destructive', 'd'] }],
  async run(call, given) {
    const [target = '', name = '', ...more] = only(given, 'a snapshot to restore').split('.');
    if (target === '' || name === '' || more.length > 0) {
      throw usage(
        'Invalid format. Please specify the instance to restore and snapshot to use, in the form <instance>.<snapshot>.',
      );
    }
    const { backend, instances } = await reachDaemon(call);
    const seen = selectOne(await instances(), target);
    const now = (await instances()).find((each) => each.name === target)?.now;
    if (now !== 'Stopped') throw new Refusal('Multipass can only restore snapshots of stopped instances.');
    const found = seen.snapshots.find((each) => each.name === name);
    if (found === undefined) throw new Refusal(`No such snapshot: ${target}.${name}`);
    if (!given.has('destructive')) {
      const confirm =
        "Unable to query client for confirmation. Use '--destructive' to automatically discard current machine state.";
      throw new Failure(
        RC.commandFail,
        `${confirm}\nrestore failed: Cannot get confirmation from client. Aborting...\n`,
      );
    }
    await withInstance(call.folder, target, () => backend.restore(target, name));
    const { cpus, memory, disk } = found;
    await update(call.folder, target, { head: name, cpus, memory, disk });
    call.out(`Snapshot restored: ${target}.${name}\n`);
    return 0;
  },
};

export const clone: Command = {
  names: ['clone'],
  summary: 'Clone an instance',
  synopsis: '<source_name>',
  options: [{ names: ['name', 'n'], value: true }],
  async run(call, given) {
    const from = only(given, 'the source instance');
    const { backend, instances } = await reachDaemon(call);
    const all = await instances();
    const seen = selectOne(all, from);
    if (all.find(({ name }) => name === from)?.now !== 'Stopped') {
      throw new Refusal('Multipass can only clone stopped instances.');
    }
    const name = given.value('name') ?? `${from}-clone${seen.cloneCount + 1}`;
    if (!isValidName(name)) throw new Refusal(`Invalid destination instance name: ${name}`);
    if (all.some((each) => each.name === name)) throw new Refusal(`instance "${name}" already exists`);
    const interfaces = seen.interfaces.map((each) => ({ ...each, mac: newMac() }));
    const fresh: Instance = {
      ...recordOf(seen),
      ...{ name, mac: newMac(), interfaces, snapshots: [], head: '', snapshotCount: 0, cloneCount: 0 },
      state: 'Stopped',
    };
    const { publicKey } = await daemonKey(call.folder);
    // The guest keeps its disk; only what the daemon writes itself is new.
    const { makeSeed } = await import('../seed.ts');
    const seed = makeSeed({ ...fresh, userData: '', publicKey, timezone: 'Etc/UTC', failing: false });
    await save(call.folder, fresh);
    await backend.clone(from, fresh, seed);
    await update(call.folder, from, { cloneCount: seen.cloneCount + 1 });
    call.out(`Cloned from ${from} to ${name}.\n`);
    return 0;
  },
};

function recordOf(seen: Instance & { readonly now?: unknown }): Instance {
  const { now: _, ...record } = seen;
  return record;
}
