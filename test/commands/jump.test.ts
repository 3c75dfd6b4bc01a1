import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BinName } from '../../scripts/cli/program.ts';
import { connectSsh } from '../../scripts/exec/ssh.ts';
import { EXIT, HarnessError } from '../../scripts/shared/errors.ts';
import { missingPrograms } from '../fakes/certificates.ts';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';
import { type SshServer, startSshServer } from '../fakes/ssh-server.ts';

const JUMP = {
  user: 'ops',
  address: '10.9.9.9',
  port: 2222,
  keyFile: '/home/me/key of mine',
  hostKey: 'ssh-ed25519 AAAAJump',
};

/** A lab whose control plane and one worker are behind a jump host; its API server is a port of this host. */
let lab: FakeLab;
let server: SshServer;
let api: Server;

beforeAll(async () => {
  server = await startSshServer();
  api = createServer((socket) => socket.on('error', () => {}).end('api\n'));
  await new Promise<void>((done) => api.listen(0, '127.0.0.1', done));
  lab = fakeLab();
  const { reach } = lab.driver;
  lab.driver.reach = async (...args) =>
    (await reach(...args)).map((target) =>
      ['k8smaster1', 'k8sworker2'].includes(target.name) ? { ...target, jump: JUMP } : target,
    );
  const usual = lab.connect;
  lab.connect = async (target, timeoutMs) => {
    const machine = await usual(target, timeoutMs);
    if (target.jump === undefined) return machine;
    const real = await connectSsh(server.target, timeoutMs);
    return {
      ...machine,
      // The lab's own address is nowhere here.
      dial: (address, port) => {
        expect([address, port]).toEqual(['192.168.13.30', 6443]);
        return real.dial('127.0.0.1', (api.address() as AddressInfo).port);
      },
      close: () => real.close(),
    };
  };
  const { code, err } = await lab.run('labup', ['--yes']);
  expect(code, err).toBe(0);
});
afterAll(async () => {
  api.close();
  await server.close();
});

const dir = () => join(lab.cwd, '.lab', 'bgp-lab');

/** What the forward of a kubectl command leads to, while the command runs. */
async function answerOf(argv: string): Promise<string> {
  const port = Number(
    /--server https:\/\/127\.0\.0\.1:(\d+) --tls-server-name 192\.168\.13\.30 /.exec(argv)?.[1],
  );
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', (data) => resolve(data.toString()));
    socket.once('error', reject);
  });
}

describe('a lab behind a jump host', () => {
  const hasSsh = missingPrograms('ssh').length === 0;
  it.skipIf(!hasSsh)("has an ssh_config that ssh understands, with the user's own key on the way", () => {
    const ask = (host: string) => {
      const said = execFileSync('ssh', ['-G', '-F', join(dir(), 'ssh_config'), host], { encoding: 'utf8' });
      const lines = said.split('\n').map((line) => [line.split(' ')[0], line.split(' ').slice(1).join(' ')]);
      return (key: string) => lines.flatMap(([name, value]) => (name === key ? [value] : []));
    };
    const master = ask('k8smaster1');
    expect(master('proxyjump')).toEqual(['jump_host_1']);
    expect(master('identityfile')).toEqual([join(dir(), 'id_ed25519')]);
    const bgp = ask('bgp');
    expect(bgp('proxyjump')).toEqual([]);
    expect(bgp('identityfile')).toEqual([join(dir(), 'id_ed25519')]);
    const jump = ask('jump_host_1');
    expect(jump('hostname')).toEqual(['10.9.9.9']);
    expect(jump('port')).toEqual(['2222']);
    expect(jump('user')).toEqual(['ops']);
    expect(jump('identityfile')).toEqual(['/home/me/key of mine']);
    for (const host of [master, bgp, jump]) expect(host('stricthostkeychecking')).toEqual(['true']);
    expect(readFileSync(join(dir(), 'known_hosts'), 'utf8')).toContain('jump_host_1 ssh-ed25519 AAAAJump\n');
  });

  it('is asked by kubectl through a forward, which ends with the command', async () => {
    const said: string[] = [];
    lab.reply = async (line) => {
      if (line.startsWith('/cache/kubectl')) said.push(await answerOf(line));
      return undefined;
    };
    const { code } = await lab.run('lab', ['status']);
    lab.reply = () => undefined;
    expect(code).toBe(0);
    expect(said).toEqual(['api\n']);
    await expect.poll(() => server.clients()).toBe(0);
  });

  it('is asked by lab kubectl in the same way', async () => {
    lab.interactive.length = 0;
    const { code } = await lab.run('lab', ['kubectl', 'get', 'pods']);
    expect(code).toBe(0);
    expect(lab.interactive[0]?.join(' ')).toMatch(
      /^\/cache\/kubectl --kubeconfig \S+ --cache-dir \S+ --server https:\/\/127.0.0.1:\d+ --tls-server-name 192.168.13.30 get pods$/,
    );
    await expect.poll(() => server.clients()).toBe(0);
  });

  it('keeps nothing secret of the way', () => {
    expect(readFileSync(join(dir(), 'reach.json'), 'utf8')).not.toContain('PRIVATE KEY');
    expect(JSON.parse(readFileSync(join(dir(), 'reach.json'), 'utf8'))[0].jump).toEqual(JUMP);
  });
});

describe('a lab behind a jump host that is not well', () => {
  const wrong = new HarnessError('The jump host ops@10.9.9.9:2222 cannot be entered.', { next: 'ssh to it' });
  let usual: FakeLab['connect'];
  let things: FakeLab['driver']['things'];

  beforeEach(() => {
    usual = lab.connect;
    things = lab.driver.things;
    lab.connect = async (target, timeoutMs) => {
      if (target.jump !== undefined) throw wrong;
      return usual(target, timeoutMs);
    };
  });
  afterEach(() => {
    lab.connect = usual;
    lab.driver.things = things;
  });

  it.each([[['labtest']], [['lab', 'kubectl', 'get', 'pods']], [['lab', 'logs', 'k8sworker2']]])(
    'is told so by %j at once',
    async ([bin = '', ...argv]) => {
      const { code, err } = await lab.run(bin as BinName, argv);
      expect(code).toBe(EXIT.harness);
      expect(err).toContain('The jump host ops@10.9.9.9:2222 cannot be entered.');
      expect(err).toMatch(/next: +ssh to it/);
    },
  );

  it('is not taken for one that is half up', async () => {
    lab.driver.things = things.map((thing) =>
      thing.name === 'k8sworker2' ? { ...thing, state: 'unreachable' } : thing,
    );
    const { code, err } = await lab.run('labtest', []);
    expect(code).toBe(EXIT.harness);
    expect(err).toContain('The jump host ops@10.9.9.9:2222 cannot be entered.');
  });

  it('shows what it can of its status, and why not more', async () => {
    const { code, out } = await lab.run('lab', ['status']);
    expect(code).toBe(EXIT.wrong);
    expect(out).toContain('The jump host ops@10.9.9.9:2222 cannot be entered.');
  });
});
