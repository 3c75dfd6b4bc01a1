import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { Failure, RC, Refusal, usage } from '../failures.ts';
import type { Call } from '../io.ts';
import { DEFAULTS, readSettings, settingOf } from '../settings.ts';
import { humanSize, parseSize } from '../sizes.ts';
import { update, writeWhole } from '../store.ts';
import type { Command } from './command.ts';

const PER_INSTANCE = ['cpus', 'disk', 'memory', 'bridged'] as const;

/** `local.NAME.PROPERTY` and `local.NAME.SNAPSHOT.PROPERTY`, taken apart. */
function instanceKey(key: string, all: readonly Seen[]) {
  const match = /^local\.([^.]+)\.(?:([^.]+)\.)?([^.]+)$/.exec(key);
  const instance = all.find(({ name }) => name === match?.[1]);
  if (match === null || instance === undefined || key in DEFAULTS) return undefined;
  const snapshot = instance.snapshots.find(({ name }) => name === match[2]);
  const property = match[3] ?? '';
  if (match[2] !== undefined) {
    return snapshot === undefined || !['name', 'comment'].includes(property)
      ? undefined
      : { instance, snapshot, property };
  }
  return (PER_INSTANCE as readonly string[]).includes(property)
    ? { instance, snapshot: undefined, property }
    : undefined;
}

const unrecognized = (command: string, key: string) =>
  new Failure(RC.commandLine, `${command} failed: Unrecognized settings key: '${key}'\n`);

function keysOf(all: readonly Seen[]): readonly string[] {
  return [
    ...Object.keys(DEFAULTS),
    ...all.flatMap(({ name, snapshots }) => [
      ...PER_INSTANCE.map((property) => `local.${name}.${property}`),
      ...snapshots.flatMap((snapshot) =>
        ['name', 'comment'].map((each) => `local.${name}.${snapshot.name}.${each}`),
      ),
    ]),
  ].sort();
}

export const get: Command = {
  names: ['get'],
  summary: 'Get a configuration setting',
  synopsis: '[<arg>]',
  options: [{ names: ['raw'] }, { names: ['keys'] }],
  async run(call, given) {
    const [key, ...more] = given.names;
    if (more.length > 0 || (key === undefined && !given.has('keys'))) {
      throw usage(key === undefined ? 'Need exactly one setting key.' : 'Too many arguments given');
    }
    const all = key?.startsWith('client.') ? [] : await (await reachDaemon(call)).instances();
    if (given.has('keys')) {
      if (key !== undefined && !keysOf(all).includes(key)) throw unrecognized('get', key);
      call.out(`${key === undefined ? keysOf(all).join('\n') : key}\n`);
      return 0;
    }
    const value = textOf(call, key ?? '', all, given.has('raw'));
    call.out(`${value === '' && !given.has('raw') ? '<empty>' : value}\n`);
    return 0;
  },
};

function textOf(call: Call, key: string, all: readonly Seen[], raw: boolean): string {
  if (key === 'local.passphrase') return String(settingOf(call, key) !== '');
  if (key in DEFAULTS) return settingOf(call, key);
  const found = instanceKey(key, all);
  if (found === undefined) throw unrecognized('get', key);
  const { instance, snapshot, property } = found;
  if (snapshot !== undefined) return property === 'name' ? snapshot.name : snapshot.comment;
  if (property === 'cpus') return String(instance.cpus);
  if (property === 'bridged') {
    return String(
      instance.interfaces.some(({ network }) => network === settingOf(call, 'local.bridged-network')),
    );
  }
  const bytes = property === 'memory' ? instance.memory : instance.disk;
  return raw ? String(bytes) : humanSize(bytes);
}

export const set: Command = {
  names: ['set'],
  summary: 'Set a configuration setting',
  synopsis: '<key>[=<value>]',
  options: [],
  async run(call, given) {
    const [pair, ...more] = given.names;
    if (pair === undefined || more.length > 0) throw usage('Need exactly one key-value pair.');
    const parts = pair.split('=');
    if (parts.length > 2 || parts[0] === '') throw usage('Bad key-value format.');
    const [key = '', value = await promptFor(call)] = parts;
    if (key.startsWith('client.')) {
      if (!(key in DEFAULTS)) throw unrecognized('set', key);
      await setGlobal(call, key, value);
      return 0;
    }
    const all = await (await reachDaemon(call)).instances();
    if (key in DEFAULTS) await setGlobal(call, key, value);
    else await setOfInstance(call, key, value, all);
    return 0;
  },
};

async function promptFor(call: Call): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of call.stdin()) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks).toString().split('\n')[0] ?? '';
}

async function setGlobal(call: Call, key: string, value: string): Promise<void> {
  const settings = { ...readSettings(call), [key]: value };
  await writeWhole(join(call.folder, 'settings.json'), JSON.stringify(settings));
  if (key.startsWith('client.') || call.knobs.daemonRestartMs === 0) return;
  const file = join(call.folder, 'daemon-back');
  await writeWhole(file, '');
  const back = new Date(Date.now() + call.knobs.daemonRestartMs);
  await utimes(file, back, back);
}

async function setOfInstance(call: Call, key: string, value: string, all: readonly Seen[]): Promise<void> {
  const found = instanceKey(key, all);
  if (found === undefined) throw unrecognized('set', key);
  const { instance, snapshot, property } = found;
  const refuse = (reason: string) =>
    new Refusal(`Cannot update instance settings; instance: ${instance.name}; reason: ${reason}`);
  if (snapshot !== undefined) {
    const snapshots = instance.snapshots.map((each) =>
      each === snapshot ? { ...each, [property]: value } : each,
    );
    return update(call.folder, instance.name, { snapshots });
  }
  if (instance.now !== 'Stopped') throw refuse('Instance must be stopped for modification');
  if (property === 'bridged') throw refuse('Bridging is not implemented on this backend.');
  const number = property === 'cpus' ? Number(value) : parseSize(value);
  if (!Number.isInteger(number) || number < 1) throw usage(`Invalid setting '${key}=${value}'`);
  if (property === 'disk' && number < instance.disk) throw refuse('Disk can only be expanded');
  return update(call.folder, instance.name, { [property]: number });
}
