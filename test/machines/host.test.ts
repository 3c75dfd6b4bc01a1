import { describe, expect, it } from 'vitest';
import { installPackages, missingPackages } from '../../scripts/machines/packages.ts';
import { ensureUnits } from '../../scripts/machines/units.ts';
import type { LabEvent } from '../../scripts/shared/events.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';

describe('packages', () => {
  const policy = (candidate: string) =>
    recordingExecutor(() => `incus:\n  Installed: (none)\n  Candidate: ${candidate}\n`);
  const nothing = { isThere: () => false, daemonInstalled: () => false };

  it('are all needed on a bare host, each once', async () => {
    const missing = await missingPackages(
      policy('(none)'),
      { machines: 'baked', building: true, fetching: false },
      nothing,
    );
    expect(missing.map((need) => need.package)).toEqual([
      'lxd',
      'openssh-client',
      'btrfs-progs',
      'squashfs-tools',
      'mmdebstrap',
    ]);
    expect(missing.every((need) => need.for !== '')).toBe(true);
  });

  it('for building are only needed for building', async () => {
    const missing = await missingPackages(
      policy('(none)'),
      { machines: 'baked', building: false, fetching: false },
      nothing,
    );
    expect(missing.map((need) => need.package)).not.toContain('mmdebstrap');
  });

  it('bring Incus where this Debian has it', async () => {
    const [daemon] = await missingPackages(
      policy('6.0.4-2'),
      { machines: 'baked', building: false, fetching: false },
      nothing,
    );
    expect(daemon?.package).toBe('incus');
  });

  it('are none where everything is there, and apt is not even asked', async () => {
    const local = policy('(none)');
    expect(
      await missingPackages(
        local,
        { machines: 'baked', building: true, fetching: false },
        { isThere: () => true, daemonInstalled: () => true },
      ),
    ).toEqual([]);
    expect(local.lines()).toEqual([]);
  });

  it('bring Incus, in name, where there is no apt', async () => {
    const [daemon] = await missingPackages(
      recordingExecutor(() => undefined),
      { machines: 'baked', building: false, fetching: false },
      nothing,
    );
    expect(daemon?.package).toBe('incus');
  });

  it('are those whose program is missing, wherever it would be', async () => {
    const isThere = (path: string) => !path.endsWith('/mkfs.btrfs') && path.startsWith('/usr/bin/');
    const missing = await missingPackages(
      policy(''),
      { machines: 'baked', building: true, fetching: false },
      {
        isThere,
        daemonInstalled: () => true,
      },
    );
    expect(missing.map((need) => need.package)).toEqual(['btrfs-progs']);
  });

  it('are few where machines come plain', async () => {
    const missing = await missingPackages(
      policy('(none)'),
      { machines: 'plain', building: true, fetching: false },
      nothing,
    );
    expect(missing.map((need) => need.package)).toEqual(['openssh-client', 'mmdebstrap']);
  });

  it('is skopeo where images are fetched, and no container daemon where no lab is made', async () => {
    const work = { building: true, fetching: true };
    const missing = await missingPackages(policy('(none)'), work, nothing);
    expect(missing.map((need) => need.package)).toEqual(['mmdebstrap', 'squashfs-tools', 'skopeo']);
  });

  it('are installed without a question', async () => {
    const events: LabEvent[] = [];
    const local = recordingExecutor(() => 'Reading package lists...\n\n');
    await installPackages(local, ['lxd', 'mmdebstrap'], (event) => events.push(event));
    expect(local.lines()).toEqual([
      'apt-get update',
      'apt-get install --yes --no-install-recommends lxd mmdebstrap',
    ]);
    expect(local.calls.every(({ options }) => options.env?.DEBIAN_FRONTEND === 'noninteractive')).toBe(true);
    expect(events).toContainEqual({ type: 'note', text: 'Reading package lists...' });
  });
});

describe('units', () => {
  const unit = { path: '/etc/systemd/system/lab.service', content: '[Unit]' };
  const UNITS = ['nat.service', 'bird.service'];
  const START = [
    'systemctl daemon-reload',
    'systemctl enable --quiet nat.service bird.service',
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
