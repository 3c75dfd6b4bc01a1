/** Streams, exit codes and texts of what goes wrong, as the Multipass sources and their tests have them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { RECORDED } from '../fakes/multipass-recorded.ts';
import { Double } from './support.ts';

let double: Double;
beforeEach(() => {
  double = new Double();
});

const PREAMBLE = 'The following errors occurred:\n';

describe('a command line that is wrong', () => {
  it.each([
    [['list', '-la'], 'Unknown options: l, a.\n'],
    [['launch', '--name'], "Missing value after '--name'.\n"],
    [['list', '--format', 'xml'], 'Invalid format type given.\n'],
    [['launch', '--network', 'name=a,mode=x'], "error: Bad network mode 'x', need 'auto' or 'manual'\n"],
    [['launch', '--network', 'name=a,mac=x'], 'error: Invalid MAC address: x\n'],
    [['launch', 'a:b:c'], 'Invalid remote and source image name supplied\n'],
  ])('%j is told on standard error, code 1', async (argv, stderr) => {
    expect(await double.run(argv)).toEqual({ code: 1, stdout: '', stderr });
  });

  it('a command that is none is told on standard output', async () => {
    const stdout = `Error: Unknown command or alias 'frob' (try "multipass help" or "multipass aliases")\n`;
    expect(await double.run(['frob'])).toEqual({ code: 1, stdout, stderr: '' });
  });

  it('no command prints help on standard output, code 2', async () => {
    const { code, stdout, stderr } = await double.run([]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
    expect(stdout).toContain('Available commands:');
  });
});

describe('instances that are missing or deleted', () => {
  beforeEach(async () => {
    await double.ok('launch', '--name', 'live');
    await double.ok('launch', '--name', 'gone');
    await double.ok('delete', 'gone');
  });

  it.each(['stop', 'restart'])('%s of a deleted one', async (command) => {
    const { code, stderr } = await double.run([command, 'gone']);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: `${command} failed: ${PREAMBLE}instance "gone" is deleted\n`,
    });
  });

  it('one bad name fails the whole call, and nothing is done', async () => {
    const { code, stderr } = await double.run(['delete', '--purge', 'live', 'x', 'y']);
    expect(code).toBe(2);
    expect(stderr).toBe(
      `delete failed: ${PREAMBLE}instance "x" does not exist\ninstance "y" does not exist\n`,
    );
    expect(await double.state('live')).toBe('Running');
  });

  it('exec says it twice, unless it need not ask for mounts', async () => {
    const line = `exec failed: ${PREAMBLE}instance "x" does not exist\n`;
    expect(await double.run(['exec', 'x', 'true'])).toEqual({ code: 2, stdout: '', stderr: line + line });
    expect((await double.run(['exec', '-n', 'x', 'true'])).stderr).toBe(line);
    expect((await double.run(['exec', '-d', '/', 'x', 'true'])).stderr).toBe(line);
  });

  it('start has words of its own', async () => {
    expect(await double.run(['start', 'x'])).toEqual({
      code: 2,
      stdout: '',
      stderr: "start failed: instance(s) missing\nInstance 'x' does not exist.\n\n",
    });
    double.set({ version: '1.17.0' });
    expect((await double.run(['start', 'x', 'gone'])).stderr).toBe(
      "start failed: instance(s) missing\nInstance 'x' does not exist.\n" +
        "Instance 'gone' is deleted. Use 'recover' to recover it or 'purge' to permanently delete it.\n",
    );
  });

  it.each(['live', 'gone'])('launch of %s, whose name is taken', async (name) => {
    const { code, stderr } = await double.run(['launch', '--name', name]);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: `launch failed: instance "${name}" already exists\n`,
    });
  });
});

describe('what the daemon refuses to launch', () => {
  it.each([
    [
      ['--memory', '256M'],
      { version: '1.17.0' },
      'Invalid arguments supplied\nInvalid memory size value supplied: 256M.',
    ],
    [
      ['--disk', '1G'],
      {},
      'Requested disk (1073741824 bytes) below minimum for this image (3758096384 bytes)',
    ],
    [[], { availableDisk: 5 }, 'Available disk (5 bytes) below minimum for this image (3758096384 bytes)'],
    [['nope'], {}, 'Unable to find an image matching "nope" in remote "".'],
    [['--network', 'eth0'], {}, 'Missing bridges\nInvalid network options supplied'],
    [['--name', 'a'], { beingPrepared: ['a'] }, 'instance "a" is being prepared'],
    [
      [],
      { kvm: false },
      'KVM support is not enabled on this machine.\nPlease ensure the following:\n1. Your CPU supports KVM\n2. Virtualization is enabled in the BIOS\n3. The KVM kernel module is loaded',
    ],
  ])('%j with %j', async (argv, knobs, text) => {
    double.set(knobs);
    expect(await double.run(['launch', ...argv])).toEqual({
      code: 2,
      stdout: '',
      stderr: `launch failed: ${text}\n`,
    });
    double.set({ imageServers: true });
    expect(await double.json('list')).toEqual({ list: [] });
  });

  it('two launches of one name at a time', async () => {
    double.set({ launchDelayMs: { a: 150 } });
    const both = await Promise.all([double.run(['launch', '-n', 'a']), double.run(['launch', '-n', 'a'])]);
    expect(both.map(({ code }) => code).sort()).toEqual([0, 2]);
    expect(both.map(({ stderr }) => stderr).join('')).toBe('launch failed: instance "a" is being prepared\n');
  });
});

describe('the daemon', () => {
  const unauthenticated =
    /^list failed: The user is not authenticated with the Multipass service\.\n\nPlease authenticate before proceeding \(e\.g\. via 'multipass authenticate'\)\. Note that you first need /;

  it.each([
    ['down', 'cannot connect to the multipass socket'],
    ['denied', 'multipass socket access denied'],
  ])('that is %s', async (daemon, text) => {
    double.set({ daemon });
    expect(await double.run(['list'])).toEqual({ code: 2, stdout: '', stderr: `list failed: ${text}\n` });
    expect(await double.json('version')).toEqual({ multipass: '1.16.3' });
  });

  it('that wants to know who asks', async () => {
    double.set({ daemon: 'unauthenticated' });
    const { code, stderr } = await double.run(['list']);
    expect(code).toBe(2);
    expect(stderr).toMatch(unauthenticated);
  });
});

describe('where a real one was recorded, this one says the same', () => {
  /** Streams and exit code, but for the time and for how often the spinner turned. */
  const told = ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({
    code,
    stdout: stdout.replaceAll(/[\b][-/\\|]/g, ''),
    stderr: stderr.replace(/^\[\d[^\]]*\]/gm, '[time]'),
  });
  const call = (label: string) => {
    const found = RECORDED.find((each) => each.label === label);
    if (found === undefined) throw new Error(label);
    return { argv: found.argv.slice(1), said: told({ ...found, code: found.exit }) };
  };
  /** Makes the recorded call here; the image lies elsewhere, and a file:// without a host is looked for from here. */
  async function same(label: string, stdin = ''): Promise<void> {
    const { argv, said } = call(label);
    const image = double.file('guest.qcow2', '');
    const here = argv.map((word) => word.replace('/images/guest.qcow2', image));
    const answer = told(await double.run(here, stdin));
    expect({ ...answer, stderr: answer.stderr.replace(process.cwd(), '/home/user/lab') }, label).toEqual(
      said,
    );
  }

  beforeEach(() => double.set({ spinner: true, sandboxRuns: true }));

  it.each(['down-version', 'down-list-json', 'down-exec', 'down-launch', 'down-delete', 'start-list-0'])(
    'where the daemon never ran: %s',
    async (label) => {
      double.set({ daemon: 'never-started' });
      await same(label);
    },
  );

  it.each([
    ...[
      'find-json',
      'find-2404-json',
      'find-2404-force',
      'find-nosuch',
      'launch-2404-noserver',
      'launch-default',
    ],
    ...[
      'launch-nosuch',
      'launch-remote-nosuch',
      'bad-name',
      'bad-mem',
      'bad-disk',
      'bad-network',
      'bad-network2',
    ],
    'ether-network',
  ])('without image servers: %s', async (label) => {
    double.set({ imageServers: false });
    await same(label);
  });

  it.each([
    ...[
      'up-version-json',
      'empty-list-json',
      'empty-list-noip-json',
      'get-driver',
      'get-primary',
      'get-unknown',
    ],
    ...[
      'missing-stop',
      'missing-restart',
      'missing-delete',
      'missing-start',
      'missing-exec',
      'missing-exec-n',
    ],
    ...[
      'missing-delete-purge-two',
      'unknown-option',

      'arity-list',
      'arity-exec',
      'noargs-delete',
    ],
    ...[
      'noargs-start-all',
      'bad-mem2',
      'bad-cpus',
      'bad-timeout',
      'bad-network3',
      'ud-nofile',
      'zone-option',
    ],
    ...['bad-file-2', 'bad-file-url-2', 'launch-bridge', 'exec-no-dashes', 'exec-dir-clash'],
  ])('%s', (label) => same(label));

  it.each([
    ['ud-badyaml', 'a: [1\n'],
    ['ud-scalar-2', 'words\n'],
  ])('of user-data: %s', (label, userData) => same(label, userData));

  it.each([
    ...['exec-code3', 'exec-code5', 'exec-signal', 'exec-notfound', 'exec-quotes', 'exec-stderr', 'exec-wc'],
  ])('of a command in a guest: %s', async (label) => {
    await double.ok('launch', '--name', 'n1');
    await same(label, label === 'exec-wc' ? 'x'.repeat(300_000) : '');
  });

  it('a machine that boots is Unknown, taken, not to be entered, and blocks who would shut it down', async () => {
    await double.ok('launch', '--name', 'n1');
    double.set({ sshTimeout: ['mpcp'], giveUpMs: 2_500 });
    const launched = double.run(['launch', '--name', 'mpcp']);
    await expect.poll(() => double.state('mpcp')).toBe('Unknown');
    for (const label of ['launching-again-2', 'launching-start']) await same(label);
    await same('during-launch-exec-starting');
    expect(told(await launched)).toEqual(call('launching-again').said);
    double.set({ giveUpMs: 1, unknownState: ['mpcl'] });
    await double.ok('launch', '--name', 'mpcl');
    await same('delete-stopped');
    await same('restart-stopped');
  });

  it('a client that waits no longer', async () => {
    double.set({ sshTimeout: ['b2'], giveUpMs: 3_000 });
    const { argv, said } = call('launch-timeout5');
    const short = argv.map((word) => word.replace(/^12$/, '1').replace(/^file:.*/, '24.04'));
    expect(told(await double.run(short))).toEqual(said);
  });

  it('a machine that is stopped, deleted and purged', async () => {
    await double.ok('launch', '--name', 'mprtr');
    for (const label of ['stop-force', 'stopped-stop', 'stopped-restart']) await same(label);
    await double.ok('launch', '--name', 'mprclone', 'file:///dev/null');
    for (const label of ['rm-delete', 'del-1', 'del-again', 'del-exec', 'del-start', 'del-stop'])
      await same(label);
    await double.ok('delete', '--purge', 'mprtr');
    for (const label of ['del-list', 'del-launch', 'rec-purge', 'net-ok-list']) await same(label);
  });
});
