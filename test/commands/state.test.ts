import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabState } from '../../scripts/commands/state.ts';
import { startBackground } from '../../scripts/exec/local.ts';
import { LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { fakeLab } from '../fakes/lab.ts';

let root: string;
let state: LabState;
const children: ChildProcess[] = [];
const pids: number[] = [];

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'state-'));
  state = new LabState(root, 'bgp-lab');
  await state.create();
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const pid of pids.splice(0)) process.kill(pid, 'SIGKILL');
});

/** The lock as another process holds it. */
async function heldByAnother(): Promise<number> {
  const process_ = await startBackground(['sleep', '60'], join(root, 'log'));
  pids.push(process_.pid);
  await state.write('lock.json', JSON.stringify({ command: 'labup', ...process_ }));
  return process_.pid;
}

describe('the state folder', () => {
  it('belongs to the user alone, and so does what is in it', async () => {
    await state.write('plan.json', '{}');
    await state.journal({ at: 'now', command: 'labup', step: 'host', outcome: 'started' });
    for (const folder of ['', 'logs', 'reports'])
      expect(statSync(state.path(folder)).mode & 0o777).toBe(0o700);
    for (const file of ['plan.json', 'journal.ndjson'])
      expect(statSync(state.path(file)).mode & 0o777).toBe(0o600);
  });

  it('replaces a file in one go', async () => {
    await state.write('kubeconfig', 'old');
    await state.write('kubeconfig', 'new');
    expect(await state.read('kubeconfig')).toBe('new');
    expect(readdirSync(state.dir).filter((name) => name.endsWith('.new'))).toEqual([]);
    expect(await state.read('nothing')).toBeUndefined();
  });

  it('says what is missing or damaged, and what to do', async () => {
    await expect(state.requirePlan()).rejects.toMatchObject({ exitCode: 2, next: 'npx labup --yes' });
    await expect(state.requireSecrets()).rejects.toBeInstanceOf(UserError);
    writeFileSync(state.path('plan.json'), '{"half');
    await expect(state.load('plan')).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('is damaged'),
    });
  });

  it('is removed with everything in it, also when it is gone', async () => {
    await state.remove();
    await state.remove();
    expect([state.exists(), existsSync(root)]).toEqual([false, true]);
  });
});

describe('the lock', () => {
  it('is held while the work goes on, and given back, also after a failure', async () => {
    const seen = await state.locked(
      'labup',
      async () => JSON.parse(readFileSync(state.path('lock.json'), 'utf8')) as object,
    );
    expect(seen).toMatchObject({ command: 'labup', pid: process.pid });
    const failing = state.locked('labup', async () => {
      throw new LabFailure('x');
    });
    await expect(failing).rejects.toThrow('x');
    expect(readdirSync(state.dir).filter((name) => name.startsWith('lock'))).toEqual([]);
  });

  it('lets one in at a time', async () => {
    let inside = 0;
    const enter = () =>
      state.locked('labup', async () => {
        inside += 1;
        await new Promise((resolve) => setImmediate(resolve));
      });
    const results = await Promise.allSettled([enter(), enter()]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(inside).toBe(1);
  });

  it('of a living process is respected, and who holds it is told', async () => {
    const pid = await heldByAnother();
    const error = await state.locked('labdown', async () => 'in').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      exitCode: 2,
      message: `labup is already running on this lab (process ${pid}).`,
    });
    expect(existsSync(state.path('lock.json'))).toBe(true);
  });

  it('of a dead process, of another with its id, or that nobody can read is taken over', async () => {
    for (const content of [
      JSON.stringify({ command: 'labup', pid: 2 ** 22 + 1, startTime: '1' }),
      JSON.stringify({ command: 'labup', pid: process.pid, startTime: '1' }),
      '',
      '{"comm',
    ]) {
      writeFileSync(state.path('lock.json'), content);
      expect(await state.locked('labup', async () => 'in')).toBe('in');
    }
  });

  it('keeps labup and labdown from each other', async () => {
    const lab = fakeLab();
    await lab.run('labup', ['--yes']);
    state = new LabState(lab.cwd, 'bgp-lab');
    await heldByAnother();
    lab.driver.calls.length = 0;
    for (const command of ['labup', 'labdown'] as const) {
      const { code, err } = await lab.run(command, ['--yes']);
      expect(code).toBe(2);
      expect(err).toContain('labup is already running on this lab');
    }
    expect(lab.driver.calls).toEqual([]);
    expect(existsSync(state.path('plan.json'))).toBe(true);
  });

  it('is not needed where there is no folder', async () => {
    await state.remove();
    expect(await state.lockedIfThere('labdown', async () => 'in')).toBe('in');
    expect(state.exists()).toBe(false);
  });

  it('is free after its holder was killed', async () => {
    const child = spawn('sleep', ['60']);
    children.push(child);
    await state.write(
      'lock.json',
      JSON.stringify({ command: 'labup', pid: child.pid, startTime: startTime(child.pid) }),
    );
    await expect(state.locked('labup', async () => 'in')).rejects.toBeInstanceOf(UserError);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    expect(await state.locked('labup', async () => 'in')).toBe('in');
  });
});

/** Field 22 of /proc/PID/stat (proc(5)); sleep has no blank in its name. */
function startTime(pid: number | undefined): string {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21] ?? '';
}
