/** The executable itself: processes, pipes, and a daemon that outlives its clients. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import type { Ran } from './support.ts';

const PROGRAM = 'test/doubles/multipass';
// The first call compiles the double.
const COMPILING_MS = 60_000;

let folder: string;
let env: NodeJS.ProcessEnv;

function multipass(argv: readonly string[], stdin = ''): Promise<Ran> {
  return new Promise((done) => {
    const child = execFile(PROGRAM, argv, { env }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin?.end(stdin);
  });
}

function knobs(more: object = {}): void {
  writeFileSync(join(folder, 'knobs.json'), JSON.stringify({ backend: 'sandbox', ...more }));
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'multipass-double-'));
  env = { ...process.env, MULTIPASS_DOUBLE_STATE: folder };
  return multipass(['version', '--format', 'json']).then(({ stderr }) => expect(stderr).toBe(''));
}, COMPILING_MS);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'multipass-double-'));
  env = { ...process.env, MULTIPASS_DOUBLE_STATE: folder };
  knobs();
});

it('says that it is a test double', async () => {
  expect(readFileSync(PROGRAM, 'utf8')).toContain('A TEST DOUBLE');
  expect((await multipass(['help'])).stdout).toContain('This is a test double, not Multipass');
  expect(statSync(PROGRAM).mode & 0o111).not.toBe(0);
});

it('launches with user-data from a pipe, and passes bytes and exit codes through exec', async () => {
  knobs({ sandboxRuns: true });
  const launched = await multipass(
    ['launch', '--name', 'a', '--cloud-init', '-', '24.04'],
    'packages: [frr]\n',
  );
  expect(launched).toMatchObject({ code: 0, stderr: '' });
  expect(launched.stdout).toContain('Launched: a\n');
  const seed = join(folder, 'sandbox/a/var/lib/cloud/seed/nocloud-net/user-data');
  expect(readFileSync(seed, 'utf8')).toBe('#cloud-config\npackages:\n  - frr\n');
  const big = 'x'.repeat(300_000);
  const ran = await multipass(['exec', '-n', 'a', '--', 'sh', '-c', 'cat; echo e >&2; exit 9'], big);
  expect({ ...ran, stdout: ran.stdout.length }).toEqual({ code: 9, stdout: 300_000, stderr: 'e\n' });
});

it('goes on launching when the client is killed', async () => {
  knobs({ launchDelayMs: { '*': 300 } });
  const client = spawn(PROGRAM, ['launch', '--name', 'a'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise<void>((said) => {
    client.stdout.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('Preparing image')) said();
    });
  });
  client.kill('SIGKILL');
  const state = async () => {
    const { stdout } = await multipass(['list', '--format', 'json']);
    return JSON.parse(stdout).list[0]?.state;
  };
  await expect.poll(state, { timeout: 15_000 }).toBe('Running');
});

it('repeats a command that ends with 4 until it is killed', async () => {
  knobs({ sandboxRuns: true });
  await multipass(['launch', '--name', 'a']);
  const client = spawn(PROGRAM, ['exec', '-n', 'a', '--', 'sh', '-c', 'echo again; exit 4'], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise<void>((enough) => {
    let seen = '';
    client.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
      if (seen.split('again').length > 3) enough();
    });
  });
  expect(client.exitCode).toBeNull();
  client.kill('SIGKILL');
});
