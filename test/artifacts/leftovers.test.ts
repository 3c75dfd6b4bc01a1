import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  buildFolder,
  buildLock,
  lockWhenFree,
  removeLeftovers,
  tryLock,
} from '../../scripts/artifacts/lock.ts';
import { localExecutor } from '../../scripts/exec/local.ts';

let cache: string;
let folder: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'cache-'));
  folder = buildFolder(cache, 'thing-0123');
  mkdirSync(join(folder, 'work'), { recursive: true });
  writeFileSync(join(folder, 'work', 'half'), 'half');
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

describe('lock', () => {
  it.each(['linux', 'darwin'] as const)('is held by one at a time: %s', async (platform) => {
    const first = await tryLock(cache, platform);
    expect(first).toBeDefined();
    expect(await tryLock(cache, platform)).toBeUndefined();
    await first?.release();
    const second = await tryLock(cache, platform);
    expect(second).toBeDefined();
    await second?.release();
  });

  it('of a killed process is free at once, without anybody cleaning up', async () => {
    const holder = holdInChild(buildLock(cache, 'thing-0123'));
    await holder.ready;
    expect(await tryLock(buildLock(cache, 'thing-0123'))).toBeUndefined();
    holder.child.kill('SIGKILL');
    let waits = 0;
    const lock = await lockWhenFree(buildLock(cache, 'thing-0123'), () => {
      waits += 1;
    });
    expect(waits).toBeLessThanOrEqual(1);
    await lock.release();
  });

  it('can be given up on', async () => {
    const held = await tryLock(cache);
    const abort = new AbortController();
    const waiting = lockWhenFree(cache, () => abort.abort(), abort.signal);
    await expect(waiting).rejects.toThrow('Interrupted');
    await held?.release();
  });
});

describe('what a killed build leaves', () => {
  it('is removed, and its children are ended', async () => {
    const child = run('sleep', ['600'], join(folder, 'work'));
    const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    expect(await removeLeftovers(localExecutor(), cache)).toEqual([folder]);
    expect(await ended).toBe('SIGKILL');
    expect(existsSync(folder)).toBe(false);
  });

  it('is left alone while its build still runs', async () => {
    const holder = holdInChild(buildLock(cache, 'thing-0123'));
    await holder.ready;
    expect(await removeLeftovers(localExecutor(), cache)).toEqual([]);
    expect(existsSync(join(folder, 'work', 'half'))).toBe(true);
  });

  it('is nothing where there is no cache yet', async () => {
    expect(await removeLeftovers(localExecutor(), join(cache, 'none'))).toEqual([]);
  });
});

function run(command: string, args: string[], cwd: string): ChildProcess {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

/** Another process that holds the lock, as a labup would: the same abstract socket name. */
function holdInChild(name: string): { child: ChildProcess; ready: Promise<void> } {
  const script = `
    const name = '\\0k8s-bgp-lab/' + require('crypto').createHash('sha256').update(process.argv[1]).digest('hex');
    require('net').createServer().listen(name, () => console.log('held'));`;
  const child = run(process.execPath, ['-e', script, name], cache);
  const ready = new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
  return { child, ready };
}
