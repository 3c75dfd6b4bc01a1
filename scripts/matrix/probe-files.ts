import { readdirSync } from 'node:fs';
import type { RemoteMachine } from '../exec/ssh.ts';
import { assetPath, readAsset } from '../shared/files.ts';

/** Where the probe and the watcher are on every machine. */
export const PROBE_DIR = '/usr/local/lib/lab/probe';

/** The command that runs the probe on a machine, and inside the echo image. */
export const MACHINE_PROBE = ['python3', '-B', `${PROBE_DIR}/probe.py`] as const;
export const POD_PROBE = ['python3', '-B', '/probe/probe.py'] as const;

/** Puts the probe on a machine, unless it is there as it should be. */
export async function ensureProbe(machine: RemoteMachine): Promise<void> {
  const files = readdirSync(assetPath('probe')).filter((name) => name.endsWith('.py'));
  await machine.writeFiles(
    files.map((name) => ({ path: `${PROBE_DIR}/${name}`, content: readAsset('probe', name) })),
  );
}
