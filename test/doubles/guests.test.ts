/** exec: streams, exit codes, quoting, what a snap cannot see, and the log of calls. */
import { existsSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { newKeyPair } from '../../scripts/exec/keys.ts';
import { connect } from './multipass.d/backends/guest.ts';
import { escapeCommand } from './multipass.d/quote.ts';
import { Double } from './support.ts';

let double: Double;
beforeEach(async () => {
  double = new Double();
  await double.ok('launch', '--name', 'a');
});

describe('exec', () => {
  it('passes streams and the exit code on', async () => {
    double.answers([
      { match: '^cat', echo: true },
      { match: 'fail', stdout: 'out\n', stderr: 'err\n', code: 3 },
    ]);
    expect(await double.run(['exec', '-n', 'a', '--', 'cat', '-'], 'in\0put')).toEqual({
      code: 0,
      stdout: 'in\0put',
      stderr: '',
    });
    expect(await double.run(['exec', 'a', 'fail'])).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' });
    expect((await double.run(['exec', 'a', 'nope'])).code).toBe(127);
  });

  it('runs commands here where a knob lets it', async () => {
    double.set({ sandboxRuns: true });
    const { code, stdout } = await double.run(
      ['exec', '-n', 'a', '--', 'sh', '-c', 'cat; pwd; exit 5'],
      'hello ',
    );
    expect(code).toBe(5);
    expect(stdout).toBe(`hello ${join(double.folder, 'sandbox/a/home/ubuntu')}\n`);
  });

  it('changes folder before the command, and gives sudo its words unquoted', async () => {
    double.answers([
      { match: '^cd /srv && ls -l$', stdout: '1' },
      { match: '^sudo sh -c cd /srv && sudo -u ubuntu sudo id$', stdout: '2' },
    ]);
    expect(await double.ok('exec', '-d', '/srv', 'a', '--', 'ls', '-l')).toBe('1');
    expect(await double.ok('exec', '-d', '/srv', 'a', '--', 'sudo', 'id')).toBe('2');
  });

  it('runs code 4 again and again up to 1.16', async () => {
    const folder = join(double.folder, 'sandbox/a/home/ubuntu');
    const script = 'echo x >> runs; if [ "$(wc -l < runs)" -lt 3 ]; then exit 4; fi; exit 6';
    double.set({ sandboxRuns: true });
    expect((await double.run(['exec', '-n', 'a', '--', 'sh', '-c', script])).code).toBe(6);
    expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('x\nx\nx\n');
    double.set({ version: '1.17.0' });
    expect((await double.run(['exec', '-n', 'a', '--', 'sh', '-c', 'exit 4'])).code).toBe(4);
  });

  it('tells a guest that a signal ended', async () => {
    double.answers([{ match: '^dies$', signal: 'KILL' }]);
    const { code, stderr } = await double.run(['exec', '-n', 'a', 'dies']);
    expect({ code, stderr }).toEqual({ code: 255, stderr: '' });
  });

  it.each([
    ['1.16.3', 2],
    ['1.17.0', 255],
  ])('that cannot connect ends with its own code in %s', async (version, code) => {
    double.set({ version, execFailure: ['a'] });
    expect(await double.run(['exec', '-n', 'a', 'true'])).toEqual({
      code,
      stdout: '',
      stderr: "exec failed: ssh connection failed: 'Failed to connect: No route to host'\n",
    });
  });

  it.each([
    [['echo', 'a b', '$HOME', "it's"], "echo a\\ b \\$HOME it\\'s"],
    [['', '~', '*', 'x|y', 'a=b:c/d_e-f.g+h@i%j'], "'' \\~ \\* x\\|y a=b:c/d_e-f.g+h@i%j"],
    [['a\nb', '!#"', '[x]{y}', '\\'], 'a"\n"b \\!\\#\\" \\[x\\]\\{y\\} \\\\'],
  ])('quotes %j for the guest', (argv, line) => {
    expect(escapeCommand(argv)).toBe(line);
  });
});

describe('a snap', () => {
  beforeEach(() => double.set({ snap: true, snapHome: double.home }));
  const badFile = (path: string) =>
    `Could not load cloud-init configuration: bad file: ${path}\nPlease ensure that Multipass can read it.\n`;

  it('reads what is in the home folder', async () => {
    await double.ok('launch', '-n', 'b', '--cloud-init', double.file('init.yaml', 'packages: [x]'));
    expect(double.inGuest('b', 'var/lib/cloud/seed/nocloud-net/user-data')).toContain('packages');
  });

  it('does not see hidden folders, nor what is outside', async () => {
    const hidden = double.file('.lab/init.yaml', '{}');
    expect((await double.run(['launch', '--cloud-init', hidden])).stderr).toBe(badFile(hidden));
    const outside = join(double.folder, 'knobs.json');
    expect((await double.run(['launch', '--cloud-init', outside])).stderr).toBe(badFile(outside));
  });

  it('sees nothing of a home outside /home', async () => {
    double.set({ snapHome: undefined });
    const path = double.file('init.yaml', '{}');
    expect((await double.run(['launch', '--cloud-init', path])).stderr).toBe(badFile(path));
  });

  it('finds an inherited file empty, and a pipe not', async () => {
    double.answers([{ match: '^cat', echo: true }]);
    const cat = ['exec', '-n', 'a', '--', 'cat'];
    expect((await double.run(cat, 'text', 'file')).stdout).toBe('');
    expect((await double.run(cat, 'text', 'pipe')).stdout).toBe('text');
  });
});

describe('the log of calls', () => {
  it('has argv and exit code, and what came on standard input apart from it', async () => {
    double.answers([{ match: '^cat', echo: true }]);
    await double.run(['exec', '-n', 'a', '--', 'cat'], 'a secret');
    await double.run(['list', '--nope'], 'not read');
    const log = double.log();
    const [call] = log.filter(({ argv }) => argv?.[0] === 'exec');
    expect(call?.argv).toEqual(['exec', '-n', 'a', '--', 'cat']);
    expect(log.filter(({ id }) => id === call?.id)[1]).toMatchObject({
      event: 'end',
      code: 0,
      stdinBytes: 8,
    });
    expect(log.at(-1)).toMatchObject({ event: 'end', code: 1, stdinBytes: 0 });
    const stdin = join(double.folder, 'stdin');
    expect(readFileSync(join(stdin, call?.id ?? ''), 'utf8')).toBe('a secret');
    expect(existsSync(join(stdin, log.at(-1)?.id ?? ''))).toBe(false);
    expect(readFileSync(join(double.folder, 'argv.jsonl'), 'utf8')).not.toContain('secret');
  });
});

describe('knobs', () => {
  it('that nobody knows are an error of the double', async () => {
    double.set({ frob: 1 });
    const { code, stderr } = await double.run(['list']);
    expect(code).toBe(70);
    expect(stderr).toContain('frob');
  });
});

it('a server that goes away after its greeting, as one that is restarted, is one that does not answer', async () => {
  const server = createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2p1 Debian\r\n'));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await expect(connect('127.0.0.1', newKeyPair('test').privateKey, port)).rejects.toThrow(
    'closed before the login',
  );
  server.close();
});
