import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Given } from '../arguments.ts';
import { usage } from '../failures.ts';
import type { ExtraInterface } from '../instance.ts';
import { type Call, readAll } from '../io.ts';
import { isModern } from '../knobs.ts';
import { mayTouch, stdinIsDenied } from '../snap.ts';

const COULD_NOT = 'Could not load cloud-init configuration:';

/** A network as asked for; its hardware address may be left to the daemon. */
export interface WantedNetwork extends Omit<ExtraInterface, 'mac'> {
  readonly mac: string | undefined;
}

/** --network, as src/client/cli/cmd/launch.cpp reads it. */
export function parseNetwork(text: string): WantedNetwork {
  const bad = (what: string) => usage(`error: ${what}`);
  const parts = text.split(',').filter((part) => part !== '');
  let network = '';
  let mode: WantedNetwork['mode'] = 'auto';
  let mac: string | undefined;
  for (const part of parts) {
    const [key = '', value, ...more] = part.split('=').filter((word) => word !== '');
    if (more.length > 0 || (value === undefined && parts.length > 1))
      throw bad(`Bad network field definition: ${part}`);
    if (value === undefined) network = key;
    else if (key.toLowerCase() === 'name') network = value;
    else if (key.toLowerCase() === 'mode') mode = modeOf(value);
    else if (key.toLowerCase() === 'mac') mac = macOf(value);
    else throw bad(`Bad network field: ${key.toLowerCase()}`);
  }
  if (network === '') throw bad("Bad network definition, need at least a 'name' field");
  return { network, mode, mac };
}

function modeOf(text: string): WantedNetwork['mode'] {
  const mode = text.toLowerCase();
  if (mode === 'auto' || mode === 'manual') return mode;
  throw usage(`error: Bad network mode '${mode}', need 'auto' or 'manual'`);
}

function macOf(text: string): string {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) throw usage(`error: Invalid MAC address: ${text}`);
  return text.toLowerCase();
}

/** --cpus. */
export function parseCpus(text: string | undefined): number {
  const count = text ?? '1';
  if (!/^\s*\+?\d+\s*$/.test(count) || Number(count) < 1) {
    throw usage(`Error: invalid CPU count '${count}', need a positive integer value.`);
  }
  return Number(count);
}

/** --cloud-init: a file, a URL or standard input up to its end; loaded and dumped again. Nothing at all is no error. */
export async function readUserData(call: Call, given: Given): Promise<string> {
  const source = given.value('cloud-init');
  if (source === undefined) return '';
  const text = await load(call, source);
  const { BadYaml, redump } = await import('../seed.ts');
  try {
    return redump(text, isModern(call.knobs));
  } catch (error) {
    throw error instanceof BadYaml ? usage(`${COULD_NOT} ${error.message}`) : error;
  }
}

async function load(call: Call, source: string): Promise<string> {
  if (source === '-') return stdinIsDenied(call) ? '' : (await readAll(call.stdin())).toString();
  if (/^https?:\/\//.test(source)) return (await fetch(source)).text();
  const path = resolve(call.cwd, source);
  const found = mayTouch(call, source) ? statSync(path, { throwIfNoEntry: false }) : undefined;
  if (found === undefined || !(found.isFile() || found.isFIFO())) throw badFile(call, source);
  try {
    return readFileSync(path, 'utf8');
  } catch {
    throw badFile(call, source);
  }
}

function badFile({ knobs }: Call, source: string): Error {
  const [, minor = 0] = knobs.version.split('.').map(Number);
  return minor < 15
    ? usage('error loading cloud-init config: bad file')
    : usage(`${COULD_NOT} bad file: ${source}\nPlease ensure that Multipass can read it.`);
}
