import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CloudInit, MachineImage } from '../../scripts/machines/driver.ts';
import type { DaemonHost } from '../../scripts/machines/incus/daemon.ts';
import { type RecordingExecutor, recordingExecutor } from '../fakes/recording-executor.ts';
import { labPlan } from '../render/fixture.ts';

export const plan = labPlan();

/** A host whose only daemon has its state, and its program, in the given folder. */
export function hostWith(stateDir: string, change: Partial<DaemonHost['kinds'][number]> = {}): DaemonHost {
  const limitFile = join(stateDir, 'max_user_instances');
  writeFileSync(limitFile, '128\n');
  return {
    kinds: [
      {
        name: 'lxd',
        program: join(stateDir, 'program'),
        stateDir,
        unit: 'lxd.service',
        start: [],
        shutdown: ['lxd', 'shutdown'],
        mounts: [join(stateDir, 'mount')],
        ...change,
      },
    ],
    systemdDir: join(stateDir, 'no-systemd'),
    runDir: join(stateDir, 'run'),
    limitFile,
  };
}

/** An image in two small files. */
export function imageOf(key = 'a'.repeat(64), content = 'image'): MachineImage {
  const folder = mkdtempSync(join(tmpdir(), 'image-'));
  const [metadataFile, rootfsFile] = [join(folder, 'metadata.tar'), join(folder, 'rootfs.squashfs')];
  writeFileSync(metadataFile, `metadata of ${key}\r\n--x`);
  writeFileSync(rootfsFile, Buffer.concat([Buffer.from(content), Buffer.from([0, 255, 13, 10, 45, 45])]));
  return { metadataFile, rootfsFile, key };
}

/** The documents of every machine of the plan. */
export function documents(userData = 'user-data'): ReadonlyMap<string, CloudInit> {
  return new Map(
    plan.machines.map(({ name }) => [
      name,
      { userData: `${userData} of ${name}`, metaData: `instance-id: ${name}`, networkConfig: 'version: 1' },
    ]),
  );
}

/** This host's `ip rule`, with the rules in memory. `detached`: interfaces that the host has not. */
export function fakeIpRules(detached: readonly string[] = []): RecordingExecutor {
  const rules = new Set<string>();
  return recordingExecutor(([ip, ...words]) => {
    if (ip !== 'ip') return undefined;
    const [verb] = words.filter((word) => ['show', 'add', 'del'].includes(word));
    const iif = words[words.indexOf('iif') + 1] ?? '';
    if (verb === 'show') {
      return JSON.stringify(
        [...rules].map((name) => ({
          priority: 13013,
          iif: name,
          protocol: '213',
          ...(detached.includes(name) ? { iif_detached: null } : {}),
        })),
      );
    }
    if (verb === 'add') rules.add(iif);
    else rules.delete(iif);
    return '';
  });
}
