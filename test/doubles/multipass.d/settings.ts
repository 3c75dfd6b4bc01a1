import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Call } from './io.ts';

/** Settings of the client and the daemon, with their defaults. */
export const DEFAULTS: Readonly<Record<string, string>> = {
  'client.primary-name': 'primary',
  'local.bridged-network': '',
  'local.driver': 'qemu',
  'local.image.mirror': '',
  'local.passphrase': '',
  'local.privileged-mounts': 'true',
};

/** Settings that were set. */
export function readSettings({ folder }: Pick<Call, 'folder'>): Readonly<Record<string, string>> {
  const file = join(folder, 'settings.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {};
}

/** The value of a global setting. */
export function settingOf(call: Pick<Call, 'folder'>, key: string): string {
  return readSettings(call)[key] ?? DEFAULTS[key] ?? '';
}
