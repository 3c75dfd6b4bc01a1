import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandError, type RunOptions } from '../../scripts/exec/executor.ts';
import { newKeyPair } from '../../scripts/exec/keys.ts';
import { connectSsh, HostKeyError, type RemoteMachine } from '../../scripts/exec/ssh.ts';
import { Interrupted } from '../../scripts/shared/errors.ts';
import { missingPrograms } from '../fakes/certificates.ts';
import { ownChildren } from '../fakes/processes.ts';
import { type SshServer, startSshServer } from '../fakes/ssh-server.ts';

let server: SshServer;
let machine: RemoteMachine;

beforeAll(async () => {
  server = await startSshServer();
});
beforeEach(async () => {
  server.reset();
  machine = await connectSsh(server.target, 5_000);
});
afterEach(async () => {
  machine.close();
  await expect.poll(() => ownChildren().filter((line) => line.includes('sh -c'))).toEqual([]);
});

async function failureOf(argv: readonly string[], options?: RunOptions): Promise<CommandError> {
  const error = await machine.run(argv, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CommandError);
  return error as CommandError;
}

afterAll(() => server.close());

describe('the connection', () => {
  it('is refused to a machine with another host key', async () => {
    const impostor = { ...server.target, hostKey: newKeyPair('other').publicKey };
    const error = await connectSsh(impostor, 5_000).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HostKeyError);
    expect(String(error)).toContain('k8sworker1');
    expect(server.commands).toEqual([]);
  });

  it('is refused where no key is pinned', async () => {
    await expect(connectSsh({ ...server.target, hostKey: '' }, 5_000)).rejects.toBeInstanceOf(HostKeyError);
  });

  it('fails without the right client key, and that is no matter of host keys', async () => {
    const stranger = { ...server.target, privateKey: newKeyPair('other').privateKey };
    const error = await connectSsh(stranger, 5_000).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(HostKeyError);
  });

  it('fails where nothing listens', async () => {
    const other = await startSshServer();
    await other.close();
    await expect(connectSsh(other.target, 5_000)).rejects.toThrow('ECONNREFUSED');
  });
});

describe('a command', () => {
  it('gets its argv as it is', async () => {
    const words = ["it's", '"', '$HOME', '*', 'a\nb', '', '\\', ';', 'ü'];
    const { stdout } = await machine.run(['printf', '%s\\0', ...words]);
    expect(stdout.split('\0').slice(0, -1)).toEqual(words);
  });

  it('gets its input, and the end of it', async () => {
    expect((await machine.run(['cat'], { input: 'a\nb\n' })).stdout).toBe('a\nb\n');
    expect((await machine.run(['wc', '-c'], { input: 'x'.repeat(400_000) })).stdout.trim()).toBe('400000');
    expect(await machine.run(['cat'])).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  });

  it('does not have to read it', async () => {
    await machine.run(['true'], { input: 'x'.repeat(1_000_000) });
  });

  it('keeps the two streams apart, as they are', async () => {
    const result = await machine.run(['sh', '-c', 'printf " out \n\n"; printf "err\n" >&2; exit 4'], {
      okCodes: [4],
    });
    expect(result).toEqual({ exitCode: 4, stdout: ' out \n\n', stderr: 'err\n' });
  });

  it('hands over complete lines', async () => {
    const lines: string[] = [];
    await machine.run(['printf', 'ä\nb\n\nlast'], { onLine: (line) => lines.push(line) });
    expect(lines).toEqual(['ä', 'b', '', 'last']);
  });

  it('has environment and folder', async () => {
    const { stdout } = await machine.run(['sh', '-c', 'pwd; echo "$A"'], { cwd: '/usr', env: { A: 'b c' } });
    expect(stdout).toBe('/usr\nb c\n');
  });

  it('says where and how it failed, and no environment', async () => {
    const error = await failureOf(['sh', '-c', 'echo why >&2; exit 9'], { env: { TOKEN: 'hunter2' } });
    expect(error.message).toBe('sh failed on k8sworker1 (exit code 9).');
    expect(error.details).toEqual([`command: sh -c 'echo why >&2; exit 9'`, 'why']);
    expect(JSON.stringify([error.message, error.details, error.argv, error.stack])).not.toContain('hunter2');
  });

  it('says which signal ended it', async () => {
    server.onExec = (_, channel) => {
      channel.exit('KILL');
      channel.end();
    };
    expect((await failureOf(['etcd'])).message).toBe('etcd failed on k8sworker1 (SIGKILL).');
  });

  it('can run beside others over the one connection', async () => {
    const all = Array.from({ length: 8 }, (_, index) => machine.run(['echo', String(index)]));
    expect((await Promise.all(all)).map(({ stdout }) => stdout.trim())).toEqual([...'01234567']);
  });
});

describe('a command that does not come back', () => {
  it('fails when its time is up, with what it said until then', async () => {
    const error = await failureOf(['sh', '-c', 'echo so far; exec sleep 30'], { timeoutMs: 3000 });
    expect(error.message).toBe('sh failed on k8sworker1 (timeout after 3 s).');
    expect(error.details.at(-1)).toBe('so far');
    expect((await machine.run(['echo', 'the connection lives'])).exitCode).toBe(0);
  });

  it('fails when its time is up even if the machine answers nothing at all', async () => {
    server.deaf = true;
    expect((await failureOf(['true'], { timeoutMs: 200 })).message).toContain('timeout after 0.2 s');
  });

  it('fails when its time is up even if the machine does not let go of it', async () => {
    server.onExec = (_, channel) => channel.write('started\n');
    expect((await failureOf(['true'], { timeoutMs: 3000 })).details.at(-1)).toBe('started');
  });

  it('ends with Ctrl-C, before and while it runs', async () => {
    const controller = new AbortController();
    const onLine = () => controller.abort();
    const running = machine.run(['sh', '-c', 'echo go; exec sleep 30'], {
      signal: controller.signal,
      onLine,
    });
    await expect(running).rejects.toBeInstanceOf(Interrupted);
    const count = server.commands.length;
    await expect(machine.run(['true'], { signal: controller.signal })).rejects.toBeInstanceOf(Interrupted);
    expect(server.commands).toHaveLength(count);
  });

  it('fails when the connection is lost, and so do those after it', async () => {
    server.onExec = (_, channel) => {
      channel.write('alive\n');
      setImmediate(() => server.cut());
    };
    const error = await failureOf(['sleep', '30']);
    expect(error.message).toBe('sleep failed on k8sworker1 (connection lost).');
    expect((await failureOf(['true'])).message).toContain('true failed on k8sworker1');
  });

  it('fails when what comes is no SSH any more, and takes nothing else with it', async () => {
    server.onExec = () => server.garble();
    const error = await failureOf(['sleep', '30']);
    expect(error.message).toMatch(/^sleep failed on k8sworker1 \(/);
    await failureOf(['true']);
  });

  it('fails after the connection was closed', async () => {
    machine.close();
    await failureOf(['true']);
  });
});

describe.skipIf(missingPrograms('python3').length > 0)('writeFiles (needs python3)', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'files-'));
  });

  it('writes what is missing or different, and says so', async () => {
    const made = { path: join(folder, 'deep', 'er', 'a.conf'), content: 'ä\n' };
    const script = { path: join(folder, 'run'), content: '#!/bin/sh\n', mode: 0o750 };
    const same = { path: join(folder, 'same'), content: 'as it is', mode: 0o600 };
    writeFileSync(same.path, same.content, { mode: 0o600 });
    expect(await machine.writeFiles([made, script, same])).toEqual([made.path, script.path]);
    expect(readFileSync(made.path, 'utf8')).toBe('ä\n');
    expect(statSync(made.path).mode & 0o7777).toBe(0o644);
    expect(statSync(script.path).mode & 0o7777).toBe(0o750);
    expect(await machine.writeFiles([made, script, same])).toEqual([]);
  });

  it('puts a mode right without a change of content', async () => {
    const file = { path: join(folder, 'secret'), content: 'x', mode: 0o600 };
    await machine.writeFiles([file]);
    chmodSync(file.path, 0o644);
    expect(await machine.writeFiles([file])).toEqual([file.path]);
    expect(statSync(file.path).mode & 0o7777).toBe(0o600);
  });

  it('takes an owner', async () => {
    const file = {
      path: join(folder, 'owned'),
      content: 'x',
      owner: userInfo().username,
    };
    await machine.writeFiles([file]);
    expect(statSync(file.path).uid).toBe(userInfo().uid);
  });

  it('replaces in one go, and leaves nothing beside', async () => {
    const path = join(folder, 'unit');
    writeFileSync(path, 'old');
    const before = statSync(path).ino;
    await machine.writeFiles([{ path, content: 'new' }]);
    expect(statSync(path).ino).not.toBe(before);
    expect(readdirSync(folder)).toEqual(['unit']);
  });

  it('leaves the old file where the new one cannot be finished', async () => {
    const path = join(folder, 'unit');
    writeFileSync(path, 'old');
    const wrong = { path, content: 'new', owner: 'no-such-user:no-such-group' };
    await expect(machine.writeFiles([wrong])).rejects.toBeInstanceOf(CommandError);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  it('puts no content into a command line', async () => {
    await machine.writeFiles([{ path: join(folder, 'key'), content: 'hunter2', mode: 0o600 }]);
    const encoded = Buffer.from('hunter2').toString('base64');
    expect(server.commands.filter((line) => line.includes('hunter2') || line.includes(encoded))).toEqual([]);
  });

  it('runs nothing for no files', async () => {
    expect(await machine.writeFiles([])).toEqual([]);
    expect(server.commands).toEqual([]);
    expect(existsSync(folder)).toBe(true);
  });
});
