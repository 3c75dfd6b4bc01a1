import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { thisProcess } from '../../../../scripts/exec/local.ts';
import { messageOf } from '../../../../scripts/shared/errors.ts';
import { Refusal } from '../failures.ts';
import type { ExtraInterface, Instance } from '../instance.ts';
import type { Call } from '../io.ts';
import type { Progress } from '../jobs.ts';
import { isModern, named, valueFor } from '../knobs.ts';
import { forget, load, save, update, withInstance } from '../store.ts';
import { theDaemon } from './daemon.ts';
import { daemonKey } from './key.ts';
import { waitForInitialization, waitForSsh } from './ready.ts';

/** What launch asks of the daemon once everything is checked and the name is taken. */
export interface LaunchRequest {
  readonly name: string;
  readonly userData: string;
  readonly timezone: string;
  readonly timeoutMs: number | undefined;
}

/**
 * A new hardware address (generate_mac_address in src/utils/utils.cpp), with a letter in it. The real one also gives addresses
 * of decimal digits only, 13 of 1000, and writes them without quotes: cloud-init (YAML 1.1) reads 52:54:00:24:16:05 as the
 * number 41135127365, and that guest never gets a network.
 */
export function newMac(): string {
  const mac = `52:54:00:${[...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
  return /[a-f]/.test(mac) ? mac : newMac();
}

/** Extra network cards with the hardware addresses that were not asked for. */
export function withMacs(
  interfaces: readonly (Omit<ExtraInterface, 'mac'> & { readonly mac: string | undefined })[],
): readonly ExtraInterface[] {
  return interfaces.map(({ network, mode, mac }) => ({ network, mode, mac: mac ?? newMac() }));
}

/** Makes and starts an instance whose name is claimed. What fails before the start removes it, what fails after leaves it. */
export async function launch(call: Call, request: LaunchRequest, progress: Progress): Promise<void> {
  const { name } = request;
  await withInstance(call.folder, name, async () => {
    await update(call.folder, name, { busy: thisProcess() });
    await prepare(call, request, progress).catch(async (error: unknown) => {
      await theDaemon(call).backend.remove(name);
      await forget(call.folder, name);
      throw error instanceof Refusal ? error : new Refusal(messageOf(error));
    });
    await bringUp(call, request, progress).finally(() => update(call.folder, name, { busy: undefined }));
  });
}

async function prepare(
  call: Call,
  { name, userData, timezone }: LaunchRequest,
  progress: Progress,
): Promise<void> {
  const { knobs, folder } = call;
  const { backend } = theDaemon(call);
  const instance = await claimed(folder, name);
  await progress.say(`Creating ${name}${isModern(knobs) ? ` in ${instance.zone}` : ''}`);
  const file = /^file:\/\/(.*)$/.exec(instance.image.alias)?.[1];
  if (file !== undefined && !existsSync(file)) {
    throw new Refusal(`Custom image \`${resolve(file)}\` does not exist.`);
  }
  await progress.say(`Preparing image for ${name}`);
  await backend.prepare((text) => void progress.say(text));
  await delay(valueFor(knobs.launchDelayMs, name) ?? 0);
  await progress.say(`Configuring ${name}`);
  const { publicKey } = await daemonKey(folder);
  const failing = named(knobs.cloudInitError, name);
  const { makeSeed } = await import('../seed.ts');
  const seed = makeSeed({ ...instance, userData, timezone, publicKey, failing });
  await backend.create(instance, seed);
}

async function bringUp(call: Call, { name, timeoutMs }: LaunchRequest, progress: Progress): Promise<void> {
  const { backend } = theDaemon(call);
  // The backend may have added to it.
  await save(call.folder, { ...(await claimed(call.folder, name)), preparing: false, state: 'Unknown' });
  await progress.say(`Starting ${name}`);
  await backend.start(name);
  const instance = await claimed(call.folder, name);
  await waitForSsh(call, instance, timeoutMs);
  await update(call.folder, name, { state: 'Running' });
  await progress.say('Waiting for initialization to complete');
  await waitForInitialization(call, instance, timeoutMs);
}

async function claimed(folder: string, name: string): Promise<Instance> {
  const instance = await load(folder, name);
  if (instance === undefined) throw new Error(`instance ${name} is gone while it is being launched`);
  return instance;
}
