import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ensureUnits } from '../../scripts/machines/deliver.ts';
import { installPackages, missingPackages } from '../../scripts/machines/packages.ts';
import { nameOf } from '../../scripts/plan/host-facts.ts';
import { type LabEvent, silent } from '../../scripts/shared/events.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';

/** What `apt-cache policy incus-base lxd` says on a Debian. */
const policy = (debian: string) =>
  readFileSync(join(import.meta.dirname, '../transcripts/apt', `${debian}.txt`), 'utf8');
const nothing = { isThere: () => false, daemonInstalled: () => false };
const CONTAINERS = { machines: 'prebuilt', building: false, fetching: false } as const;

describe('packages', () => {
  const bookworm = () => recordingExecutor(() => policy('bookworm'));

  it('are all needed on a bare host, each once and with what it is for', async () => {
    const missing = await missingPackages(bookworm(), { ...CONTAINERS, building: true }, nothing);
    expect(missing.map((need) => need.package)).toEqual([
      'lxd',
      'openssh-client',
      'iproute2',
      'dnsmasq-base',
      'btrfs-progs',
      'squashfs-tools',
      'openssl',
      'mmdebstrap',
    ]);
    expect(missing.every((need) => need.for !== '')).toBe(true);
  });

  it('for building are only needed for building', async () => {
    const missing = await missingPackages(bookworm(), CONTAINERS, nothing);
    expect(missing.map((need) => need.package)).not.toContain('mmdebstrap');
  });

  it.each([
    ['bookworm', { package: 'lxd' }],
    // apt would take it, and then not what it depends on.
    ['bookworm-backports', { package: 'lxd' }],
    ['trixie', { package: 'incus-base' }],
  ])('bring the container daemon that %s has itself', async (debian, wanted) => {
    const local = recordingExecutor(() => policy(debian));
    const [daemon] = await missingPackages(local, CONTAINERS, nothing);
    expect(daemon).toEqual({ ...wanted, for: 'the machines' });
    expect(local.calls.map(({ options }) => options.env)).toEqual([{ LC_ALL: 'C' }]);
  });

  it('bring one of two daemons as long as the lists of apt have not been fetched', async () => {
    const [daemon] = await missingPackages(
      recordingExecutor(() => ''),
      CONTAINERS,
      nothing,
    );
    expect(daemon).toEqual({ package: 'incus-base', or: 'lxd', for: 'the machines' });
  });

  it('are none where everything is there, and apt is not even asked', async () => {
    const local = bookworm();
    expect(
      await missingPackages(
        local,
        { machines: 'prebuilt', building: true, fetching: false },
        { isThere: () => true, daemonInstalled: () => true },
      ),
    ).toEqual([]);
    expect(local.lines()).toEqual([]);
  });

  it('bring Incus, in name, where there is no apt', async () => {
    const [daemon] = await missingPackages(
      recordingExecutor(() => undefined),
      { machines: 'prebuilt', building: false, fetching: false },
      nothing,
    );
    expect(daemon?.package).toBe('incus');
  });

  it('are those whose program is missing, wherever it would be', async () => {
    const isThere = (path: string) => !path.endsWith('/mkfs.btrfs') && path.startsWith('/usr/bin/');
    const missing = await missingPackages(
      bookworm(),
      { machines: 'prebuilt', building: true, fetching: false },
      {
        isThere,
        daemonInstalled: () => true,
      },
    );
    expect(missing.map((need) => need.package)).toEqual(['btrfs-progs']);
  });

  it('are few where machines come plain', async () => {
    const missing = await missingPackages(
      bookworm(),
      { machines: 'plain', building: true, fetching: false },
      nothing,
    );
    expect(missing.map((need) => need.package)).toEqual(['openssh-client', 'mmdebstrap']);
  });

  it('is skopeo where images are fetched, and no container daemon where no lab is made', async () => {
    const work = { building: true, fetching: true };
    const missing = await missingPackages(bookworm(), work, nothing);
    expect(missing.map((need) => need.package)).toEqual(['mmdebstrap', 'squashfs-tools', 'skopeo']);
  });

  it('are installed without a question, once apt has fetched its lists', async () => {
    const events: LabEvent[] = [];
    let lists = '';
    const local = recordingExecutor(([program, verb]) => {
      if (verb === 'update') lists = policy('trixie');
      return program === 'apt-cache' ? lists : 'Reading package lists...\n\n';
    });
    const missing = () => missingPackages(local, CONTAINERS, { ...nothing, isThere: () => true });
    expect((await missing()).map(nameOf)).toEqual(['incus-base or lxd']);
    await installPackages(local, missing, (event) => events.push(event));
    expect(local.lines().slice(1)).toEqual([
      'apt-get update',
      'apt-cache policy incus-base lxd',
      'apt-get install --yes --no-install-recommends incus-base',
    ]);
    const installs = local.calls.filter(({ argv }) => argv[0] === 'apt-get');
    expect(installs.every(({ options }) => options.env?.DEBIAN_FRONTEND === 'noninteractive')).toBe(true);
    expect(events).toContainEqual({ type: 'note', text: 'Reading package lists...' });
  });

  it('are not guessed where apt knows no container daemon', async () => {
    const local = recordingExecutor(() => '');
    const missing = () => missingPackages(local, CONTAINERS, nothing);
    await expect(installPackages(local, missing, silent)).rejects.toMatchObject({
      message: expect.stringContaining('neither incus-base nor lxd'),
      next: expect.stringContaining('apt-cache policy'),
    });
    expect(local.lines()).not.toContainEqual(expect.stringContaining('install'));
  });
});

describe('units', () => {
  const unit = { path: '/etc/systemd/system/lab.service', content: '[Unit]' };
  const UNITS = ['nat.service', 'bird.service'];
  const START = [
    'systemctl enable --quiet --no-reload nat.service bird.service',
    'systemctl daemon-reload',
    'systemctl restart nat.service bird.service',
  ];
  /** A machine whose systemd says these states, and whose files can be read again. */
  const machineWith = (states: string[]) => {
    const executor = recordingExecutor(([shell, , , stamp = '']) =>
      shell === 'sh' ? `${machine.files.get(stamp)?.content ?? ''}\n${states.join('\n')}\n` : '',
    );
    const machine = fakeMachine('bgp', executor);
    return { machine, verbs: () => executor.lines().filter((line) => line.startsWith('systemctl')), states };
  };

  it('are enabled and restarted with new files, after systemd has read them', async () => {
    const { machine, verbs } = machineWith(['active', 'active']);
    expect(await ensureUnits(machine, [unit], UNITS)).toBe(true);
    expect(verbs()).toEqual(START);
  });

  it('are left alone where nothing changed and all of them run', async () => {
    const { machine, verbs } = machineWith(['active', 'active']);
    await ensureUnits(machine, [unit], UNITS);
    expect(await ensureUnits(machine, [unit], UNITS)).toBe(false);
    expect(verbs()).toEqual(START);
  });

  it.each([[['active', 'inactive']], [['failed', 'active']], [['active', 'activating']], [['active']]])(
    'are started where one does not run: %j',
    async (now) => {
      const { machine, verbs, states } = machineWith(['active', 'active']);
      await ensureUnits(machine, [unit], UNITS);
      states.splice(0, 2, ...now);
      expect(await ensureUnits(machine, [unit], UNITS)).toBe(true);
      expect(verbs()).toEqual([...START, ...START]);
    },
  );

  it('are restarted where an earlier run wrote the files and was stopped before it restarted them', async () => {
    const { machine, verbs } = machineWith(['active', 'active']);
    await machine.writeFiles([unit]);
    expect(await ensureUnits(machine, [unit], UNITS)).toBe(true);
    expect(verbs()).toEqual(START);
  });
});
