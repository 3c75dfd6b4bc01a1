import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newKeyPair } from '../../scripts/exec/keys.ts';
import { connectSsh, HostKeyError, type SshTarget } from '../../scripts/exec/ssh.ts';
import type { JumpHost } from '../../scripts/exec/ssh-connection.ts';
import { EXIT, LabError, messageOf } from '../../scripts/shared/errors.ts';
import { type SshServer, startSshServer } from '../fakes/ssh-server.ts';

let jumpServer: SshServer;
let servers: readonly [SshServer, SshServer];
let jump: JumpHost & { readonly keyFile: string };

beforeAll(async () => {
  jumpServer = await startSshServer();
  servers = [await startSshServer(), await startSshServer()];
  const { address, port = 22, user, hostKey, privateKey = '' } = jumpServer.target;
  const keyFile = join(mkdtempSync(join(tmpdir(), 'jump-')), 'key');
  writeFileSync(keyFile, privateKey);
  jump = { address, port, user, hostKey, keyFile };
});
beforeEach(async () => {
  for (const server of [jumpServer, ...servers]) server.reset();
  await expect.poll(() => jumpServer.clients()).toBe(0);
});
afterAll(() => Promise.all([jumpServer, ...servers].map((server) => server.close())));

const behind = (server: SshServer, through: JumpHost = jump): SshTarget => ({
  ...server.target,
  jump: through,
});

async function failure(target: SshTarget, timeoutMs = 5_000): Promise<unknown> {
  return connectSsh(target, timeoutMs).then(
    (machine) => {
      machine.close();
      throw new Error('it was let in');
    },
    (error: unknown) => error,
  );
}

function expectSaid(error: unknown, exitCode: number, message: RegExp, next: RegExp): void {
  if (!(error instanceof LabError)) throw new Error(`no LabError: ${messageOf(error)}`);
  expect(error.exitCode).toBe(exitCode);
  expect(error.message).toMatch(message);
  expect(error.message).toContain(`root@127.0.0.1:${jump.port}`);
  expect(error.next).toMatch(next);
}

describe('machines behind a jump host', () => {
  it('share one connection to it, on which nothing runs; the last one ends it', async () => {
    const machines = await Promise.all(servers.map((server) => connectSsh(behind(server), 5_000)));
    expect(jumpServer.clients()).toBe(1);
    for (const [index, machine] of machines.entries()) {
      expect((await machine.run(['echo', String(index)])).stdout).toBe(`${index}\n`);
    }
    expect(jumpServer.forwarded.sort()).toEqual(
      servers.map(({ target }) => `127.0.0.1:${target.port}`).sort(),
    );
    expect(jumpServer.commands).toEqual([]);
    machines[0]?.close();
    expect((await machines[1]?.run(['echo', 'still']))?.stdout).toBe('still\n');
    machines[1]?.close();
    await expect.poll(() => [jumpServer, ...servers].map((each) => each.clients())).toEqual([0, 0, 0]);
    const again = await connectSsh(behind(servers[0]), 5_000);
    expect(jumpServer.clients()).toBe(1);
    again.close();
  });

  it('carry much in both directions', async () => {
    const machine = await connectSsh(behind(servers[0]), 5_000);
    const text = 'x'.repeat(3_000_000);
    expect((await machine.run(['cat'], { input: text })).stdout.length).toBe(text.length);
    machine.close();
  });

  it('are trusted by their own host key, whatever the jump host says', async () => {
    const error = await failure({ ...behind(servers[0]), hostKey: newKeyPair('other').publicKey });
    expect(error).toBeInstanceOf(HostKeyError);
    expect(servers[0].commands).toEqual([]);
  });

  it('lose their connection with it, and get a new one', async () => {
    const machine = await connectSsh(behind(servers[0]), 5_000);
    servers[0].onExec = () => jumpServer.cut();
    const error = await machine.run(['sleep', '30']).catch((thrown: unknown) => thrown);
    expect(messageOf(error)).toMatch(/^sleep failed on k8sworker1 \(/);
    machine.close();
    servers[0].reset();
    const again = await connectSsh(behind(servers[0]), 5_000);
    expect((await again.run(['echo', 'back'])).stdout).toBe('back\n');
    again.close();
  });

  it('that it cannot reach are named with it; others are not in the way', async () => {
    const gone = await startSshServer();
    await gone.close();
    const [error, machine] = await Promise.all([
      failure(behind(gone)),
      connectSsh(behind(servers[0]), 5_000),
    ]);
    expect(error).not.toBeInstanceOf(LabError);
    expect(messageOf(error)).toMatch(
      new RegExp(
        `^the jump host root@127.0.0.1:${jump.port} cannot reach 127.0.0.1 port ${gone.target.port}: `,
      ),
    );
    expect((await machine.run(['echo', 'there'])).stdout).toBe('there\n');
    machine.close();
  });
});

describe('a jump host', () => {
  it('with another key than the pinned one is not entered', async () => {
    const error = await failure(behind(servers[0], { ...jump, hostKey: newKeyPair('other').publicKey }));
    expectSaid(error, EXIT.userMustAct, /shows another SSH host key/, /^ssh-keygen -R '\[127.0.0.1\]:\d+' /);
    expect(jumpServer.forwarded).toEqual([]);
  });

  it('that is not there is named, with what to try by hand', async () => {
    const gone = await startSshServer();
    await gone.close();
    const port = gone.target.port ?? 22;
    const error = (await failure(behind(servers[0], { ...jump, port }))) as LabError;
    expect(error.exitCode).toBe(EXIT.harness);
    expect(error.message).toMatch(
      new RegExp(`^SSH login to the jump host root@127.0.0.1:${port} failed: .*ECONNREFUSED`),
    );
    expect(error.next).toBe(
      `ssh -i ${jump.keyFile} -p ${port} root@127.0.0.1   (must work without a question), then run this again`,
    );
  });

  it('that does not know the key is named', async () => {
    const keyFile = join(mkdtempSync(join(tmpdir(), 'jump-')), 'key');
    writeFileSync(keyFile, newKeyPair('nobody').privateKey);
    const error = await failure(behind(servers[0], { ...jump, keyFile }));
    expectSaid(
      error,
      EXIT.harness,
      /login to the jump host .* failed: .*authentication/,
      /^ssh -i .*without a question/,
    );
    const unreadable = await failure(behind(servers[0], { ...jump, keyFile: '/nonexistent/key' }));
    expectSaid(unreadable, EXIT.userMustAct, /key for the jump host .* cannot be read/, /"jumpKey"/);
  });

  it('that forwards nothing is named, with what must work', async () => {
    jumpServer.forwards = false;
    const error = await failure(behind(servers[0]));
    expectSaid(
      error,
      EXIT.userMustAct,
      /refuses to forward connections/,
      new RegExp(`^ssh -i \\S+ -p ${jump.port} -W 127.0.0.1:${servers[0].target.port} root@127.0.0.1 `),
    );
    expect((error as LabError).details.join('\n')).toContain('AllowTcpForwarding');
  });

  it('is found well again after it was not', async () => {
    jumpServer.forwards = false;
    await failure(behind(servers[0]));
    jumpServer.forwards = true;
    const machine = await connectSsh(behind(servers[0]), 5_000);
    machine.close();
  });
});
