/** What a real Multipass 1.16.3 said, given to the readers that meet it: every recorded call has its reader here. */
import { describe, expect, it } from 'vitest';
import { CommandError } from '../../scripts/exec/executor.ts';
import { classify, type FailureKind, kindOf, multipass } from '../../scripts/machines/multipass/client.ts';
import { EXIT } from '../../scripts/shared/errors.ts';
import { RECORDED, type Recorded, recorded } from '../fakes/multipass-recorded.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';

/** What the failed calls failed of, by what their labels begin with; the first that fits counts. */
const KINDS: readonly (readonly [RegExp, FailureKind])[] = [
  [/^(down|start)-/, 'daemon-down'],
  // The driver stops machines first, and gives --destructive and --purge.
  [/^snapshot-running$|^stopped-(snapshot-taken|restore|delete-snapshot)$/, 'other'],
  [/^find-|^launch-(2404-noserver|nosuch|default)$/, 'remote-unreachable'],
  [/^launch-remote-nosuch$|^bad-file(-url)?-2$/, 'image-unknown'],
  [/^(bad-file(-url)?|ud-scalar|launching-again-2|del-launch|same-name-while-preparing)$/, 'name-taken'],
  [/^bad-(mem2?|disk|cpus)$|^small-disk$/, 'size-refused'],
  [/^(bad-network2?|ether-network)$/, 'network-refused'],
  [/^ud-(badyaml|nofile|scalar-2)$/, 'user-data-refused'],
  [/^(during-launch-exec-starting|exec-while-launching)$/, 'guest-unreachable'],
  [/^launching-again$/, 'no-ssh'],
  [/^(launch-timeout5|restart-two)$/, 'timeout'],
  [/^(stop-starting|delete-starting|launching-start|stop-one|stop-stopped|delete-stopped)$/, 'busy'],
  [/^(restart-stopped|stopped-restart)$/, 'busy'],
  [/^(missing-|deleted-|clone-delete$|noargs-stop$)/, 'missing'],
  // The guest's own exit codes, a command line that the driver never writes, or a state that it looks at beforehand.
  [/^(exec|arity|noargs|unknown|get-unknown|bad-(name|timeout|network3)|zone-option|del-)/, 'other'],
];

const failures = RECORDED.filter(({ exit }) => exit !== 0);
const failureOf = ({ argv, exit, stdout, stderr }: Recorded) =>
  classify(new CommandError('this host', argv, { exitCode: exit, stdout, stderr }), 'do it');

describe('a recorded failure', () => {
  // 127 of exec is the guest's, and the driver runs nothing there that may be missing; 5 of the guest's likewise.
  const own = failures.filter(({ label }) => !['exec-notfound', 'exec-code5'].includes(label));

  it.each(own.map((each) => [each.label, each] as const))('is understood: %s', (label, call) => {
    const kind = KINDS.find(([pattern]) => pattern.test(label))?.[1];
    const error = failureOf(call);
    expect(kindOf(error)).toBe(kind);
    // The daemon's log of other things is not its reason.
    expect([error.message, ...error.details].join('\n')).not.toContain('Blueprints');
  });

  it.each([
    ['find-2404-json', 'could not reach the image server', 'multipass find --force-update'],
    ['launch-2404-noserver', 'could not reach the image server', 'multipass find --force-update'],
    ['launch-remote-nosuch', 'no such image', 'set multipass.image'],
    ['bad-file-2', 'no such image file', 'set multipass.image'],
    ['down-launch', 'the daemon, multipassd, does not answer', 'sudo snap start multipass'],
    ['delete-stopped', 'did not shut down', 'multipass stop --force'],
  ])('is the user’s, with what to do next: %s', (label, says, next) => {
    const call = failures.find((each) => each.label === label);
    if (call === undefined) throw new Error(label);
    const error = failureOf(call);
    expect(error.exitCode).toBe(EXIT.userMustAct);
    expect(error.message).toContain(says);
    expect(error.next).toContain(next);
  });

  it('that nobody foresaw is told in Multipass’ own words', () => {
    const call = failures.find(({ label }) => label === 'bad-name');
    if (call === undefined) throw new Error('bad-name');
    expect(failureOf(call).message).toBe(
      'Multipass could not do it: Invalid arguments supplied Invalid instance name supplied: bad_name.',
    );
  });
});

describe('a recorded answer', () => {
  const client = ({ stdout, stderr }: Pick<Recorded, 'stdout' | 'stderr'>) =>
    multipass(recordingExecutor(() => ({ stdout, stderr })));
  const answers = (verb: string) =>
    RECORDED.filter(
      ({ argv, exit }) => argv[1] === verb && exit === 0 && (verb === 'get' || argv.includes('json')),
    ).map((each) => [each.label, each] as const);

  it.each(answers('list').filter(([label]) => !label.includes('snapshots')))(
    'of list is read: %s',
    async (_, call) => {
      const { list } = JSON.parse(call.stdout) as { list: readonly { name: string; state: string }[] };
      expect([...(await client(call).list()).values()].map(({ name, state }) => [name, state])).toEqual(
        list.map(({ name, state }) => [name, state]),
      );
    },
  );

  it('of list --snapshots is read', async () => {
    expect(await client(recorded('list-snapshots-json')).snapshots()).toEqual(new Map());
    expect(await client(recorded('stopped-snapshots-json')).snapshots()).toEqual(
      new Map([['mprtr', ['s1']]]),
    );
  });

  it('was given to the very commands that the driver runs for snapshots', async () => {
    const local = recordingExecutor(() => '');
    await multipass(local).takeSnapshot('mprtr', 's1');
    await multipass(local).removeSnapshot('mprtr', 's1');
    const argvOf = (wanted: string) => RECORDED.find(({ label }) => label === wanted)?.argv;
    expect(local.calls.map(({ argv }) => argv)).toEqual([
      argvOf('stopped-snapshot-taken'),
      argvOf('stopped-delete-snapshot-purge'),
    ]);
  });

  it.each(answers('version'))('of version is read: %s', async (label, call) => {
    const daemon = label === 'restarted-version' ? undefined : '1.16.3';
    expect(await client(call).versions()).toEqual({ client: '1.16.3', daemon });
  });

  it('of networks and get is read', async () => {
    const networks = await client(recorded('networks-json')).networks();
    expect(networks.map(({ name, type }) => [name, type])).toEqual([
      ['br0', 'bridge'],
      ['mpqemubr0', 'bridge'],
    ]);
    expect(await client(recorded('get-driver')).setting('local.driver')).toBe('qemu');
    expect(await client(recorded('get-primary')).setting('client.primary-name')).toBe('primary');
  });

  it('of a machine that boots is Unknown', async () => {
    const all = await client(recorded('during-launch-list')).list();
    expect([...all.values()].map(({ name, state }) => [name, state])).toEqual([
      ['mpcp', 'Unknown'],
      ['n1', 'Running'],
    ]);
  });
});
