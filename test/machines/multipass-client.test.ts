import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CommandError } from '../../scripts/exec/executor.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { classify, kindOf, type LaunchOptions, multipass } from '../../scripts/machines/multipass/client.ts';
import { askGuest, managementAddress } from '../../scripts/machines/multipass/guest.ts';
import { LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { guestAnswer } from '../fakes/multipass.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';

const saying = (reply: Reply) => multipass(recordingExecutor(() => reply));
const failure = (stderr: string, exitCode: number | null = 2, how?: string) =>
  new CommandError('this host', ['multipass', 'x'], {
    exitCode,
    stdout: '\u001b[2K\u001b[0A\u001b[0E',
    stderr,
    ...(how === undefined ? {} : { how }),
  });
const launch: LaunchOptions = {
  name: 'vm',
  image: '24.04',
  cpus: 2,
  memory: '2G',
  disk: '10G',
  userData: '#cloud-config\npassword: hunter2\n',
  timeoutSeconds: 900,
};

describe('what a call failed of', () => {
  it.each([
    ['daemon-down', 'list failed: cannot connect to the multipass socket', true],
    ['access-denied', 'list failed: multipass socket access denied', true],
    [
      'not-authenticated',
      'list failed: The user is not authenticated with the Multipass service.\n\nPlease',
      true,
    ],
    [
      'no-kvm',
      'launch failed: KVM support is not enabled on this machine.\nPlease ensure the following:',
      true,
    ],
    ['missing-bridges', 'launch failed: Missing bridges\nInvalid network options supplied', true],
    [
      'networks-unsupported',
      'networks failed: The networks feature is not implemented on this backend.',
      true,
    ],
    ['network-refused', 'launch failed: Invalid arguments supplied\nInvalid network options supplied', true],
    ['network-refused', 'launch failed: Invalid network options. To troubleshoot, see https://x', true],
    ['image-unknown', 'launch failed: Unable to find an image matching "x" in remote "".', true],
    ['remote-unreachable', 'launch failed: Remote "" is unknown or unreachable. If image mirror', true],
    ['name-taken', 'launch failed: instance "vm" already exists', true],
    [
      'size-refused',
      'launch failed: Invalid arguments supplied\nInvalid memory size value supplied: 64M.',
      true,
    ],
    ['size-refused', 'launch failed: Requested disk (1 bytes) below minimum for this image (2 bytes)', true],
    ['disk-full', 'launch failed: Available disk (1 bytes) below minimum for this image (2 bytes)', true],
    ['user-data-refused', 'Could not load cloud-init configuration: yaml-cpp: error at line 5', false],
    ['being-prepared', 'launch failed: instance "vm" is being prepared', false],
    ['missing', 'info failed: The following errors occurred:\ninstance "vm" does not exist', false],
    ['missing', "start failed: instance(s) missing\nInstance 'vm' does not exist.\n\n", false],
    [
      'busy',
      'stop failed: Cannot shut down instance vm while starting.\nUse --force to power it off.',
      false,
    ],
    ['guest-unreachable', "exec failed: ssh connection failed: 'Failed to connect: No route to host'", false],
    ['guest-unreachable', 'exec failed: Cannot retrieve credentials in unknown state', false],
    ['no-ssh', 'launch failed: The following errors occurred:\nvm: timed out waiting for response', false],
    ['timeout', 'launch failed: timed out waiting for initialization to complete', false],
    ['other', 'launch failed: something new', false],
  ])('%s: %s', (kind, stderr, user) => {
    const error = classify(failure(stderr), 'launch vm');
    expect(kindOf(error)).toBe(kind);
    expect(error instanceof UserError).toBe(user);
    expect(error.message).toMatch(/^Multipass could not launch vm: .+\.$/);
    expect(error.details.join('\n')).toContain(stderr.split('\n')[0]);
    if (user) expect(error.next).toBeDefined();
  });

  it.each([
    ['the client gave up', failure('Timed out waiting for instance launch.', 5)],
    ['our own limit', failure('', null, 'timeout after 960 s')],
  ])('timeout: %s', (_, error) => {
    expect(kindOf(classify(error, 'launch vm'))).toBe('timeout');
  });

  it('is that it is not installed where the shell finds no such program', () => {
    const error = classify(failure('bash: exec: multipass: not found', 127), 'start');
    expect([kindOf(error), error.exitCode]).toEqual(['not-installed', 2]);
    expect(error.next).toContain('snap install multipass');
  });
});

describe('the client', () => {
  it('hands over user-data by standard input and in no other way', async () => {
    const local = recordingExecutor();
    await multipass(local).launch({ ...launch, network: 'name=br0,mode=manual', zone: 'zone2' });
    const [call] = local.calls;
    expect(call?.argv.join(' ')).toBe(
      'multipass launch --name vm --cpus 2 --memory 2G --disk 10G --timeout 900 --cloud-init - ' +
        '--network name=br0,mode=manual --zone zone2 24.04',
    );
    expect(call?.options.input).toBe(launch.userData);
    expect(local.lines().join()).not.toContain('hunter2');
  });

  it('gives every call an input and a time limit, launch a longer one than its own', async () => {
    const local = recordingExecutor(([, verb]) =>
      verb === 'version' ? '{"multipass": "1.16.3"}' : verb === 'find' ? '{"images": {}}' : '{"list": []}',
    );
    const client = multipass(local);
    await client.launch(launch);
    expect(local.calls[0]?.options.timeoutMs).toBeGreaterThan(900_000);
    await client.versions();
    await client.list();
    await client.networks();
    await client.hasImage('24.04', true);
    await client.setting('local.driver');
    await client.start('vm');
    await client.powerOff('vm');
    await client.purge(['a', 'b']);
    await client.script('vm', 'date');
    for (const { argv, options } of local.calls) {
      expect([argv.join(' '), typeof options.input, (options.timeoutMs ?? 0) > 0]).toEqual([
        argv.join(' '),
        'string',
        true,
      ]);
    }
    expect(local.lines()[2]).toBe('multipass list --no-ipv4 --format json');
    expect(local.lines().slice(4)).toEqual([
      'multipass find 24.04 --force-update --format json',
      'multipass get local.driver',
      'multipass start vm --timeout 300',
      'multipass stop --force vm',
      'multipass delete --purge a b',
      'multipass exec -n vm -- bash -s',
    ]);
  });

  it('takes unknown keys and states, and both forms of a zone', async () => {
    const list = [
      { name: 'a', state: 'Hibernating', zone: { name: 'zone1', available: true }, cloud: 9 },
      { name: 'b', state: 'Running', zone: 'zone2' },
      { name: 'c', state: 'Running', zone: 7 },
    ];
    const seen = await saying({
      stdout: JSON.stringify({ list, more: 1 }),
      stderr: '*** Warning! ***',
    }).list();
    expect([...seen.values()].map(({ state, zone }) => [state, zone])).toEqual([
      ['Hibernating', 'zone1'],
      ['Running', 'zone2'],
      ['Running', undefined],
    ]);
  });

  it.each([
    ['nothing', '', /printed nothing/],
    ['no JSON', 'Name State\n', /did not answer as documented/],
    ['other JSON', '{"instances": []}', /did not answer as documented/],
  ])('tells when list prints %s', async (_, stdout, message) => {
    await expect(saying(stdout).list()).rejects.toThrow(message);
  });
});

describe('a guest', () => {
  const vm = { state: 'Running', owner: 'bgp-lab', address: '10.97.0.7', finished: true, errors: [] };
  const ask = (answer: string) => askGuest(saying(answer), 'vm');
  const LAB = { address: '192.168.13.0', length: 24 };

  it('tells whose it is, its host key, and where it is reached', async () => {
    const facts = await ask(guestAnswer(vm, 'vm'));
    expect(facts).toMatchObject({
      owner: 'bgp-lab',
      hostKey: 'ssh-ed25519 KEY-OF-vm root@vm',
      cloudInit: { finished: true, errors: [] },
      uplink: { device: 'ens3', gateway: '10.97.0.1' },
    });
    expect(managementAddress(facts, LAB)).toMatchObject({ address: '10.97.0.7', prefixLength: 24 });
  });

  it('is reached at no address of the lab, a pod bridge or another NIC', async () => {
    const facts = await ask(guestAnswer({ ...vm, address: '192.168.13.77' }, 'vm'));
    expect(managementAddress(facts, LAB)).toBeUndefined();
    expect(managementAddress(facts, undefined)?.address).toBe('192.168.13.77');
    expect(managementAddress({ ...facts, uplink: undefined }, undefined)).toBeUndefined();
  });

  it('has no verdict of cloud-init before the end, but may have errors', async () => {
    const facts = await ask(guestAnswer({ ...vm, finished: false, errors: ['no such package'] }, 'vm'));
    expect(facts.cloudInit).toEqual({ finished: false, errors: ['no such package'] });
  });

  it('may have nothing to tell', async () => {
    const facts = await ask('\n@lab owner\n\n@lab key\n\n@lab status\n{"cut\n\n@lab end\n');
    expect(facts).toEqual({
      owner: undefined,
      hostKey: undefined,
      cloudInit: { finished: false, errors: [] },
      addresses: [],
      uplink: undefined,
    });
  });

  it('is understood behind a spinner', async () => {
    const spinner = '\u001b[2K\u001b[0A\u001b[0EStarting vm |\b/\b-\b\r\n';
    expect((await ask(spinner + guestAnswer(vm, 'vm').replaceAll('\n', '\r\n'))).owner).toBe('bgp-lab');
  });

  it('is not believed where its answer is cut off', async () => {
    const answer = guestAnswer(vm, 'vm').replace('@lab end', '');
    await expect(ask(answer)).rejects.toThrow(LabFailure);
    await expect(ask('')).rejects.toThrow('vm did not answer to the end.');
  });

  it('is asked with a script that runs, by a client that takes its own options off', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multipass-'));
    const program = join(folder, 'multipass');
    // What stands after "exec -n vm --" is run here, with the input that the driver gives.
    writeFileSync(program, '#!/bin/bash\n[ "$*" = "exec -n vm -- bash -s" ] || exit 9\nshift 4\nexec "$@"\n');
    chmodSync(program, 0o755);
    const local = localExecutor();
    const client = multipass({
      where: local.where,
      run: (argv, options) => local.run([program, ...argv.slice(1)], options),
    });
    const facts = await askGuest(client, 'vm');
    expect(facts.owner).toBeUndefined();
    expect(Array.isArray(facts.addresses)).toBe(true);
  });
});
