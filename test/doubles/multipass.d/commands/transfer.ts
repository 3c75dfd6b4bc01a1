import { resolve } from 'node:path';
import { messageOf } from '../../../../scripts/shared/errors.ts';
import type { Files } from '../backends/backend.ts';
import { localFiles } from '../backends/local-files.ts';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { connectFromClient } from '../daemon/ready.ts';
import { RC, Refusal, usage } from '../failures.ts';
import { isUp } from '../instance.ts';
import type { Call } from '../io.ts';
import { mayTouch, stdinIsDenied } from '../snap.ts';
import { copy, copyStream, readToStream, type Side } from '../transfer.ts';
import type { Command } from './command.ts';

interface Place {
  readonly instance: string;
  readonly path: string;
}

export const transfer: Command = {
  names: ['transfer', 'copy-files'],
  summary: 'Transfer files between the host and instances',
  synopsis: '<source> [<source> ...] <destination>',
  options: [{ names: ['recursive', 'r'] }, { names: ['parents', 'p'] }],
  async run(call, given) {
    if (given.names.length < 2) throw usage('Not enough arguments given');
    const places = given.names.map(placeOf);
    const sources = places.slice(0, -1);
    const [target = { instance: '', path: '' }] = places.slice(-1);
    checkShape(given.names, sources, target);
    const names = places.map(({ instance }) => instance).filter((name) => name !== '');
    const chosen = select(await (await reachDaemon(call)).instances(), names, false) as readonly Seen[];
    for (const { name, now } of chosen) {
      if (now === 'Unknown') throw new Refusal('Cannot retrieve credentials in unknown state');
      if (!isUp(now)) throw new Refusal(`instance "${name}" is not running`);
    }
    const options = { recursive: given.has('recursive'), parents: given.has('parents') };
    let success = true;
    for (const instance of chosen) {
      success =
        (await withGuest(call, instance, (guest) =>
          move(call, guest, instance.name, sources, target, options),
        )) && success;
    }
    return success ? RC.ok : RC.commandFail;
  },
};

function placeOf(text: string): Place {
  const colon = text.indexOf(':');
  if (colon < 0) return { instance: '', path: text };
  return { instance: text.slice(0, colon), path: text.slice(colon + 1) || '.' };
}

function checkShape(words: readonly string[], sources: readonly Place[], target: Place): void {
  const streamed = words.slice(0, -1).filter((word) => word === '-').length;
  const toStdout = words.at(-1) === '-';
  if ((toStdout && streamed > 0) || streamed > 1) throw usage("Only one '-' allowed");
  if ((toStdout || streamed > 0) && sources.length > 1)
    throw usage("Only two arguments allowed when using '-'");
  if (toStdout && sources[0]?.instance === '') throw usage('Source must be from inside an instance');
  if (streamed > 0 && target.instance === '') throw usage('Target must be inside an instance');
  if (toStdout || streamed > 0) return;
  const remote = sources.filter(({ instance }) => instance !== '').length;
  if (target.instance === '' && remote < sources.length) {
    throw usage(
      remote > 0
        ? 'All sources must be from inside an instance'
        : 'An instance name is needed for either source or destination',
    );
  }
  if (target.instance !== '' && remote > 0) {
    throw usage('Cannot specify an instance name for both source and destination');
  }
}

async function withGuest(
  call: Call,
  instance: Seen,
  work: (guest: Files) => Promise<boolean>,
): Promise<boolean> {
  try {
    const connection = await connectFromClient(call, instance);
    try {
      return await work(await connection.files());
    } finally {
      connection.close();
    }
  } catch (error) {
    call.err(`${messageOf(error)}\n`);
    return false;
  }
}

async function move(
  call: Call,
  guest: Files,
  name: string,
  sources: readonly Place[],
  target: Place,
  options: { readonly recursive: boolean; readonly parents: boolean },
): Promise<boolean> {
  const inGuest: Side = { name: 'remote', files: guest, may: () => true };
  const onHost: Side = {
    name: 'local',
    files: localFiles((path) => resolve(call.cwd, path)),
    may: (path) => mayTouch(call, path),
  };
  const [first] = sources;
  if (first?.path === '-' && first.instance === '') {
    await copyStream(stdinIsDenied(call) ? undefined : call.stdin(), inGuest, target.path, options);
    return true;
  }
  if (target.path === '-' && target.instance === '') {
    await readToStream(inGuest, first?.path ?? '', (chunk) => call.out(chunk));
    return true;
  }
  const pulling = target.instance === '';
  const [from, to] = pulling ? [inGuest, onHost] : [onHost, inGuest];
  const wanted = pulling ? sources.filter(({ instance }) => instance === name) : sources;
  if (sources.length > 1 && (await to.files.stat(target.path, true))?.kind !== 'folder') {
    throw new Error(`Target "${target.path}" is not a directory`);
  }
  let success = true;
  for (const { path } of wanted) {
    success = (await copy(from, path, to, target.path, options, (text) => call.err(text))) && success;
  }
  return success;
}
