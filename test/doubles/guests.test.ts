/** exec and transfer: streams, exit codes, quoting, what a snap cannot see, and the log of calls. */
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
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
    expect(code).toBe(255);
    expect(stderr).toMatch(/ \[error\] \[ssh client\] Process terminated by signal\n$/);
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

describe('transfer', () => {
  it('copies files both ways with their modes, into folders by their names', async () => {
    const path = double.file('tool', 'x');
    chmodSync(path, 0o750);
    await double.ok('transfer', path, 'a:');
    await double.ok('transfer', 'tool', 'a:/opt-tool');
    expect(double.inGuest('a', 'opt-tool')).toBe('x');
    await double.ok('transfer', 'a:tool', 'back');
    expect(statSync(join(double.home, 'back')).mode & 0o777).toBe(0o750);
  });

  it('streams to and from a guest', async () => {
    expect((await double.run(['transfer', '-', 'a:notes'], 'text')).code).toBe(0);
    expect(statSync(join(double.folder, 'sandbox/a/home/ubuntu/notes')).mode & 0o777).toBe(0o664);
    expect(await double.ok('transfer', 'a:notes', '-')).toBe('text');
  });

  it('copies folders if asked to, and links as links', async () => {
    double.file('tree/sub/file', 'x');
    symlinkSync('sub/file', join(double.home, 'tree/link'));
    const { code, stderr } = await double.run(['transfer', 'tree', 'a:']);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      / \[error\] \[sftp\] omitting local directory "tree": recursive mode not specified\n$/,
    );
    await double.ok('transfer', '--recursive', 'tree', 'a:');
    expect(double.inGuest('a', 'home/ubuntu/tree/link')).toBe('x');
    expect(lstatSync(join(double.folder, 'sandbox/a/home/ubuntu/tree/link')).isSymbolicLink()).toBe(true);
    await double.ok('transfer', '-rp', 'a:tree', 'deep/er/copy');
    expect(readFileSync(join(double.home, 'deep/er/copy/sub/file'), 'utf8')).toBe('x');
  });

  it('goes on after a file that is missing, and fails in the end', async () => {
    mkdirSync(join(double.folder, 'sandbox/a/home/ubuntu/in'));
    double.file('good', 'x');
    const { code, stderr } = await double.run(['transfer', 'none', 'good', 'a:in']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/\[sftp\] cannot open local file "none": No such file or directory\n$/);
    expect(double.inGuest('a', 'home/ubuntu/in/good')).toBe('x');
    expect((await double.run(['transfer', 'good', 'good', 'a:new'])).stderr).toBe(
      'Target "new" is not a directory\n',
    );
  });

  it('starts nothing', async () => {
    await double.ok('stop', 'a');
    expect((await double.run(['transfer', '-', 'a:x'])).stderr).toBe(
      'transfer failed: instance "a" is not running\n',
    );
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
    const { code, stderr } = await double.run(['transfer', hidden, 'a:']);
    expect(code).toBe(2);
    expect(stderr).toContain(`[sftp] cannot open local file "${hidden}": Permission denied\n`);
  });

  it('sees nothing of a home outside /home', async () => {
    double.set({ snapHome: undefined });
    const path = double.file('init.yaml', '{}');
    expect((await double.run(['launch', '--cloud-init', path])).stderr).toBe(badFile(path));
  });

  it('finds an inherited file empty, and a pipe not', async () => {
    expect((await double.run(['transfer', '-', 'a:x'], 'text', 'file')).code).toBe(0);
    expect(double.inGuest('a', 'home/ubuntu/x')).toBe('');
    expect((await double.run(['transfer', '-', 'a:x'], 'text', 'pipe')).code).toBe(0);
    expect(double.inGuest('a', 'home/ubuntu/x')).toBe('text');
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
