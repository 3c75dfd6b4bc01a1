import { describe, expect, it } from 'vitest';
import { requireRight } from '../../scripts/commands/selftest/selftest.ts';
import { checkState } from '../../scripts/matrix/state/checks.ts';
import type { LabRun } from '../../scripts/report/run.ts';
import { EXIT } from '../../scripts/shared/errors.ts';
import { endpointsOf } from '../matrix/fixtures.ts';

const STATE = endpointsOf();
const run = (mode: string): LabRun => ({
  ...{ lab: 'x', startedAt: new Date(0), durationMs: 1, cells: [] },
  checks: checkState({ ...STATE, proxy: { ...STATE.proxy, mode } }),
});

describe('a selftest', () => {
  it('begins where the lab is right', () => {
    expect(() => requireRight(run('iptables'), 'wrong')).not.toThrow();
  });

  it('does not begin where labtest would not see its faults, and says why', () => {
    try {
      requireRight(run('ipvs'), 'wrong');
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        exitCode: EXIT.userMustAct,
        message: expect.stringMatching(/^Selftest cannot begin: /),
        details: ['ipvs mode; modelled: iptables mode'],
        next: expect.stringContaining('npx labtest'),
      });
    }
  });
});
