/** Streams, exit codes and texts of what goes wrong, as the Multipass sources and their tests have them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { RECORDED, recorded } from '../fakes/multipass-recorded.ts';
import { Double } from './support.ts';

let double: Double;
beforeEach(() => {
  double = new Double();
});

const PREAMBLE = 'The following errors occurred:\n';

describe('a command line that is wrong', () => {
  it.each([
    [['frob'], 1, `Error: Unknown command or alias 'frob' (try "multipass help" or "multipass aliases")\n`],
  ])('%s is told on standard output', async (argv, code, stdout) => {
    expect(await double.run(argv)).toEqual({ code, stdout, stderr: '' });
  });

  it.each([
    [['list', '--foo'], "Unknown option 'foo'.\n"],
    [['list', '-la'], 'Unknown options: l, a.\n'],
    [['launch', '--name'], "Missing value after '--name'.\n"],
    [['list', 'x'], 'This command takes no arguments\n'],
    [['list', '--format', 'xml'], 'Invalid format type given.\n'],
    [['delete'], 'Name argument or --all is required\n'],
    [['exec', 'x'], 'Wrong number of arguments\n'],
    [
      ['exec', '-n', '-d', '/', 'x', 'true'],
      'Options --working-directory and --no-map-working-directory clash\n',
    ],
    [
      ['exec', 'x', 'ls', '-l'],
      `Unknown option 'l'.\n\nOptions to the inner command should come after "--", like this:\nmultipass exec <instance> -- <command> <arguments>\n`,
    ],
    [['launch', '--cpus', '0'], "Error: invalid CPU count '0', need a positive integer value.\n"],
    [['launch', '--timeout', 'x'], 'error: --timeout value has to be a positive integer\n'],
    [['launch', '--network', 'mode=auto'], "error: Bad network definition, need at least a 'name' field\n"],
    [['launch', '--network', 'name=a,mode=x'], "error: Bad network mode 'x', need 'auto' or 'manual'\n"],
    [['launch', '--network', 'name=a,mac=x'], 'error: Invalid MAC address: x\n'],
    [['launch', '--zone', 'zone1'], "Unknown option 'zone'.\n"],
    [['launch', 'a:b:c'], 'Invalid remote and source image name supplied\n'],
    [
      ['launch', '--cloud-init', '/none.yaml'],
      'Could not load cloud-init configuration: bad file: /none.yaml\nPlease ensure that Multipass can read it.\n',
    ],
  ])('%j is told on standard error, code 1', async (argv, stderr) => {
    expect(await double.run(argv)).toEqual({ code: 1, stdout: '', stderr });
  });

  it('a size that is none is an exception that nobody catches', async () => {
    const { code, stderr } = await double.run(['launch', '--memory', '1CiG']);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\] \[error\] \[client\] Caught an unhandled exception: 1CiG is not a valid memory size - need a non-negative integer \(in base 10\) or a decimal followed by K, M, or G \(e\.g\. 1234B, 42MiB, 0\.5G\)\n$/,
    );
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

  it.each(['stop', 'restart', 'delete'])('%s of a missing one', async (command) => {
    const { code, stdout, stderr } = await double.run([command, 'x']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe(`${command} failed: ${PREAMBLE}instance "x" does not exist\n`);
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
    [['--name', 'bad_name'], {}, 'Invalid arguments supplied\nInvalid instance name supplied: bad_name'],
    [['--memory', '64M'], {}, 'Invalid arguments supplied\nInvalid memory size value supplied: 64M.'],
    [['--disk', '100M'], {}, 'Invalid arguments supplied\nInvalid disk size value supplied: 100M.'],
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
    [
      ['nope:24.04'],
      {},
      "Remote 'nope' is not found. Please use `multipass find` for supported remotes and images.",
    ],
    [['24.04'], { imageServers: false }, 'Remote "" is unknown or unreachable.'],
    [['--network', 'nope'], {}, 'Invalid arguments supplied\nInvalid network options supplied'],
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
  /** The last line of what is told, and the code; log lines and progress are the real one's alone. */
  const end = ({ code, stderr }: { readonly code: number; readonly stderr: string }) => ({
    code,
    said: stderr
      .split('\n')
      .filter((line) => line !== '' && !/^\[\d.*\] \[(url downloader|blueprint provider)\]/.test(line)),
  });

  it.each([
    ['down-list-json', { daemon: 'never-started' }],
    ['down-version', { daemon: 'never-started' }],
    ['find-2404-json', { imageServers: false }],
    ['launch-2404-noserver', { imageServers: false }],
    ['launch-remote-nosuch', {}],
    ['bad-file-2', {}],
    ['bad-name', { noImage: true }],
    ['bad-cpus', {}],
    ['bad-timeout', {}],
    ['bad-network3', {}],
    ['missing-stop', {}],
    ['missing-restart', {}],
    ['missing-delete', {}],
    ['missing-delete-purge-two', {}],
    ['missing-start', {}],
    ['missing-exec-n', {}],
    ['get-unknown', {}],
    ['get-driver', {}],
    ['get-primary', {}],
    ['arity-list', {}],
    ['arity-exec', {}],
    ['zone-option', {}],
    ['ud-nofile', {}],
    ['unknown-option', {}],
  ])(
    '%s',
    async (label, { noImage, ...knobs }: { noImage?: boolean; daemon?: string; imageServers?: boolean }) => {
      const real = RECORDED.find((each) => each.label === label);
      if (real === undefined) throw new Error(label);
      double.set(knobs);
      // What is asked for is there on no other host.
      const argv = real.argv.slice(1).map((word) => (noImage && word.startsWith('file:') ? '24.04' : word));
      const said = await double.run(argv);
      expect(end(said)).toEqual(end({ code: real.exit, stderr: real.stderr }));
      if (real.exit === 0) expect(said.stdout).toBe(real.stdout);
    },
  );

  it('a machine that boots is Unknown, taken, not to be entered, and blocks who would shut it down', async () => {
    double.set({ sshTimeout: ['mpcp'], giveUpMs: 1_500 });
    const launched = double.run(['launch', '--name', 'mpcp']);
    await expect.poll(() => double.state('mpcp')).toBe('Unknown');
    expect(end(await double.run(['launch', '--name', 'mpcp']))).toEqual(ofRecord('launching-again-2'));
    expect(end(await double.run(['start', 'mpcp']))).toEqual(ofRecord('launching-start'));
    expect(end(await double.run(['exec', '-n', 'mpcp', '--', 'true']))).toEqual(
      ofRecord('during-launch-exec-starting'),
    );
    expect(end(await launched)).toEqual(ofRecord('launching-again'));
    double.set({ giveUpMs: 1 });
    expect(end(await double.run(['delete', 'mpcp']))).toEqual(ofRecord('delete-stopped'));
    expect((await double.run(['delete', '--purge', 'mpcp'])).code).toBe(0);
  });

  function ofRecord(label: string): ReturnType<typeof end> {
    const { exitCode, stderr } = recorded(label);
    return end({ code: exitCode, stderr });
  }
});
