import { describe, expect, it } from 'vitest';
import { withHostLock } from '../../scripts/machines/driver.ts';
import { UserError } from '../../scripts/shared/errors.ts';

const where = `test ${process.pid}`;

describe('work on the machines of a lab', () => {
  it('is refused while other work is at it, and not afterwards, however that ended', async () => {
    const outer = withHostLock(where, 'a', async () => {
      const inner = await withHostLock(where, 'a', async () => 'both').catch((error: unknown) => error);
      expect(inner).toBeInstanceOf(UserError);
      expect((inner as UserError).next).toContain('wait for it');
      throw new Error('it failed');
    });
    await expect(outer).rejects.toThrow('it failed');
    expect(await withHostLock(where, 'a', async () => 'free')).toBe('free');
  });

  it('of another lab, or in another place, is not concerned', async () => {
    const nested = () =>
      withHostLock(where, 'b', () => withHostLock(`${where} else`, 'a', async () => 'all of them'));
    expect(await withHostLock(where, 'a', nested)).toBe('all of them');
  });
});
