import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lockWhenFree } from '../../../../scripts/artifacts/lock.ts';
import type { KeyPair } from '../../../../scripts/shared/secrets.ts';
import { writeWhole } from '../store.ts';

/** The daemon's own SSH key, made at first use. */
export async function daemonKey(folder: string): Promise<KeyPair> {
  const path = join(folder, 'ssh-key.json');
  const lock = await lockWhenFree(`${folder}/ssh-key`, () => {});
  try {
    if (!existsSync(path)) {
      const { newKeyPair } = await import('../../../../scripts/exec/keys.ts');
      await writeWhole(path, JSON.stringify(newKeyPair('ubuntu@localhost')));
    }
    return JSON.parse(readFileSync(path, 'utf8')) as KeyPair;
  } finally {
    await lock.release();
  }
}
