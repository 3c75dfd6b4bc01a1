import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ensureHostLimits, restoreHostLimits } from '../../scripts/machines/incus/host-settings.ts';
import { hostWith } from './fixtures.ts';

const host = hostWith(mkdtempSync(join(tmpdir(), 'limits-')));
const limit = () => readFileSync(host.limitFile, 'utf8').trim();

it('raises a low limit once, and puts it back to what it was', async () => {
  expect(await ensureHostLimits(host)).toBe(true);
  expect(limit()).toBe('1024');
  expect(await ensureHostLimits(host)).toBe(false);
  await restoreHostLimits(host);
  expect(limit()).toBe('128');
});

it('leaves a limit alone that is high enough, and one that somebody else set', async () => {
  writeFileSync(host.limitFile, '8192\n');
  expect(await ensureHostLimits(host)).toBe(false);
  await restoreHostLimits(host);
  expect(limit()).toBe('8192');
});
