import { describe, expect, it } from 'vitest';
import { alone } from '../../scripts/machines/alone.ts';
import { UserError } from '../../scripts/shared/errors.ts';

const where = `test ${process.pid}`;

describe('work on the machines of a lab', () => {
  it('is refused while other work is at it, and not afterwards, however that ended', async () => {
    const outer = alone(where, 'a', async () => {
      const inner = await alone(where, 'a', async () => 'both').catch((error: unknown) => error);
      expect(inner).toBeInstanceOf(UserError);
      expect((inner as UserError).next).toContain('wait for it');
      throw new Error('it failed');
    });
    await expect(outer).rejects.toThrow('it failed');
    expect(await alone(where, 'a', async () => 'free')).toBe('free');
  });

  it('of another lab, or in another place, is not concerned', async () => {
    const nested = () => alone(where, 'b', () => alone(`${where} else`, 'a', async () => 'all of them'));
    expect(await alone(where, 'a', nested)).toBe('all of them');
  });
});
