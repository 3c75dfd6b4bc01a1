import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type BackgroundProcess,
  backgroundWith,
  isRunning,
  runInteractive,
  startBackground,
  thisProcess,
} from '../../scripts/exec/local.ts';
import { missingPrograms } from '../fakes/certificates.ts';

let log: string;
let started: BackgroundProcess | undefined;

beforeEach(() => {
  log = join(mkdtempSync(join(tmpdir(), 'background-')), 'daemon.log');
});
afterEach(async () => {
  const process_ = started;
  started = undefined;
  if (process_ === undefined) return;
  if (isRunning(process_)) process.kill(process_.pid, 'SIGKILL');
  await expect.poll(() => isRunning(process_)).toBe(false);
});

describe('a background process', () => {
  it('runs in a session of its own, with closed input and its output in a file', async () => {
    started = await startBackground(
      ['sh', '-c', 'cat; echo "out $0"; echo err >&2; exec sleep 60', 'a b'],
      log,
    );
    await expect.poll(() => readFileSync(log, 'utf8')).toBe('out a b\nerr\n');
    expect(statSync(log).mode & 0o777).toBe(0o600);
    // Field 6 of /proc/PID/stat is the session: proc(5).
    expect(readFileSync(`/proc/${started.pid}/stat`, 'utf8').split(' ')[5]).toBe(String(started.pid));
    expect(isRunning(started)).toBe(true);
    process.kill(started.pid, 'SIGKILL');
    await expect.poll(() => isRunning(started ?? thisProcess())).toBe(false);
  });

  it('adds to the log of the one before', async () => {
    for (const word of ['one', 'two']) {
      started = await startBackground(['echo', word], log);
      await expect.poll(() => readFileSync(log, 'utf8')).toContain(word);
    }
    expect(readFileSync(log, 'utf8')).toBe('one\ntwo\n');
  });

  it("does not keep its caller's folder for temporary files", async () => {
    const before = process.env.TMPDIR;
    expect(before).toBeDefined();
    started = await startBackground(['sh', '-c', 'printenv TMPDIR || echo none'], log);
    await expect.poll(() => readFileSync(log, 'utf8')).toBe('none\n');
    expect(process.env.TMPDIR).toBe(before);
  });

  it('is found by its log, whoever has forgotten it, and its children are not', async () => {
    started = await startBackground(['sh', '-c', 'sleep 60 & echo up; wait'], log);
    await expect.poll(() => readFileSync(log, 'utf8')).toBe('up\n');
    expect(backgroundWith(log)).toEqual(started);
    expect(backgroundWith(`${log}.other`)).toBeUndefined();
    process.kill(-started.pid, 'SIGKILL');
    await expect.poll(() => backgroundWith(log)).toBeUndefined();
  });

  it('that cannot start is an error', async () => {
    await expect(startBackground(['/no/such/daemon'], log)).rejects.toThrow('ENOENT');
  });

  it('is not mistaken for a later one with the same id', () => {
    const me = thisProcess();
    expect(me.pid).toBe(process.pid);
    expect(isRunning(me)).toBe(true);
    expect(isRunning({ ...me, startTime: String(Number(me.startTime) - 1) })).toBe(false);
    expect(isRunning({ pid: 2 ** 22 + 1, startTime: me.startTime })).toBe(false);
  });

  it('has ended as a zombie, which its parent has not asked for yet', async () => {
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const stat = () =>
        readFileSync(`/proc/${Number(line)}/stat`, 'utf8')
          .split(') ')[1]
          ?.split(' ') ?? [];
      await expect.poll(() => stat()[0]).toBe('Z');
      expect(isRunning({ pid: Number(line), startTime: stat()[19] ?? '' })).toBe(false);
    } finally {
      parent.kill('SIGKILL');
    }
  });
});

describe.skipIf(missingPrograms('ps').length > 0)('where there is no /proc (needs ps)', () => {
  it('a process is known by what ps says of its start', () => {
    const me = thisProcess('darwin');
    expect(me.startTime).toMatch(/\d\d:\d\d:\d\d \d{4}$/);
    expect(isRunning(me, 'darwin')).toBe(true);
    expect(isRunning({ ...me, startTime: 'Mon Jan  1 00:00:00 1990' }, 'darwin')).toBe(false);
    expect(isRunning({ pid: 2 ** 22 + 1, startTime: me.startTime }, 'darwin')).toBe(false);
  });
});

describe("a program on the user's terminal", () => {
  it('gives its exit code, or 128 plus its signal', async () => {
    const env = process.env;
    expect(await runInteractive(['sh', '-c', 'exit 7'], env)).toBe(7);
    expect(await runInteractive(['sh', '-c', 'kill -TERM $$'], env)).toBe(143);
    expect(await runInteractive(['sh', '-c', 'kill -INT $$'], env)).toBe(130);
    expect(await runInteractive(['sh', '-c', 'kill -KILL $$'], env)).toBe(137);
  });

  it('has the environment that it is given', async () => {
    expect(
      await runInteractive(['/bin/sh', '-c', 'test "$A" = "b c" && test -z "$HOME"'], { A: 'b c' }),
    ).toBe(0);
  });

  it('that is not there is an error', async () => {
    await expect(runInteractive(['/no/such/program'], {})).rejects.toThrow('ENOENT');
  });
});
