import { beforeEach, describe, expect, it } from 'vitest';
import type { Action, Fault } from '../../scripts/selftest/fault.ts';
import { runFault, type Surroundings, undo } from '../../scripts/selftest/run.ts';
import { HarnessError, Interrupted } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';
import { endpointsOf } from '../matrix/fixtures.ts';
import { POSITIVE, runOf, TIMEOUT } from '../report/fixtures.ts';

const HEALTHY = endpointsOf();
const RED = runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: TIMEOUT } });

const FAULT: Fault = {
  id: 'drop',
  title: 'a rule drops packets',
  moment: 'before',
  inject: [
    { on: 'k8sworker1', argv: ['break', 'a'] },
    { on: 'k8sworker1', argv: ['break', 'b'] },
  ],
  revert: [
    { on: 'k8sworker1', argv: ['mend', 'b'] },
    { on: 'k8sworker1', argv: ['mend', 'a'] },
  ],
  cells: [POSITIVE],
  expect: [{ kind: 'cell', id: POSITIVE, verdict: 'failed', finding: { reason: 'other-outcome' } }],
  alsoRed: [],
};

/** A lab in which "break X" breaks and "mend X" mends; it is red while anything is broken. */
class World implements Surroundings {
  readonly log: string[] = [];
  readonly broken = new Set<string>();
  readonly controller = new AbortController();
  readonly signal = this.controller.signal;
  pending: string | undefined;
  reconnects = 0;
  failing: (text: string) => boolean = () => false;
  onTest: () => void = () => {};

  async act({ on, argv }: Action): Promise<string> {
    const [verb, what = ''] = argv;
    const text = argv.join(' ');
    if (this.failing(text)) throw new HarnessError(`${text} failed`);
    this.log.push(`${on}: ${text}${this.pending === undefined ? ' (nothing written down)' : ''}`);
    if (verb === 'break') this.broken.add(what);
    if (verb === 'mend') this.broken.delete(what);
    return [...this.broken].join();
  }

  async reconnect(): Promise<void> {
    this.reconnects += 1;
  }

  async save(pending: string | undefined): Promise<void> {
    this.pending = pending;
  }

  async test(_cells: readonly string[], during?: () => Promise<void>) {
    await during?.();
    this.onTest();
    this.log.push('test');
    if (this.signal.aborted) throw new Interrupted();
    return this.broken.size > 0 ? RED : runOf();
  }

  async state() {
    return HEALTHY;
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});
const run = (fault: Fault = FAULT) => runFault(fault, world, HEALTHY, silent);

describe('a fault', () => {
  it('is written down, made, looked at, undone, and the lab looked at again', async () => {
    expect(await run()).toMatchObject({ id: 'drop', verdict: 'found' });
    expect(world.log).toEqual([
      'k8sworker1: break a',
      'k8sworker1: break b',
      'test',
      'k8sworker1: mend b',
      'k8sworker1: mend a',
      'test',
    ]);
    expect(world.pending).toBeUndefined();
  });

  it('is made between predicting and probing where that is its moment', async () => {
    world.onTest = () => world.log.push(`broken: ${[...world.broken].join()}`);
    await run({ ...FAULT, moment: 'during' });
    expect(world.log.slice(0, 4)).toEqual([
      'k8sworker1: break a',
      'k8sworker1: break b',
      'broken: a,b',
      'test',
    ]);
  });

  it('is waited for until it has come to effect', async () => {
    const condition = { on: 'k8sworker1', argv: ['look'], what: 'it to be broken', until: /^a,b$/ };
    await run({ ...FAULT, effective: [condition] });
    expect(world.log[2]).toBe('k8sworker1: look');
  });

  it('that labtest does not see is missed', async () => {
    world.test = async () => runOf();
    expect(await run()).toMatchObject({
      verdict: 'missed',
      text: expect.stringContaining('did not turn red'),
    });
  });

  it('that the lab is too small for is not made', async () => {
    const result = await runFault({ id: 'x', title: 'y', skipped: 'too small' }, world, HEALTHY, silent);
    expect([result.verdict, result.text, world.log]).toEqual(['skipped', 'too small', []]);
  });
});

describe('a fault that its owner puts right', () => {
  const stillThere = { on: 'k8sworker1', argv: ['look'], until: /a/ };

  it('before labtest has looked is made again', async () => {
    let looks = 0;
    world.onTest = () => {
      looks += 1;
      if (looks === 1) world.broken.clear();
    };
    expect(await run({ ...FAULT, stillThere })).toMatchObject({ verdict: 'found' });
    expect(world.log.filter((line) => line.includes('break a'))).toHaveLength(2);
  });

  it('each time is no fault that labtest has missed', async () => {
    world.onTest = () => world.broken.clear();
    expect(await run({ ...FAULT, stillThere })).toMatchObject({
      verdict: 'skipped',
      text: '3 times it was put right by its owner before labtest had looked',
    });
  });

  it('and that is still there was missed', async () => {
    world.test = async () => runOf();
    expect(await run({ ...FAULT, stillThere })).toMatchObject({ verdict: 'missed' });
  });
});

describe('whatever happens, it is undone', () => {
  it.each(['before', 'during'] as const)('where making it fails half-way: %s the test', async (moment) => {
    world.failing = (text) => text === 'break b';
    expect(await run({ ...FAULT, moment })).toMatchObject({
      verdict: 'missed',
      text: 'it could not be made, so nothing is known: break b failed',
    });
    expect([world.broken.size, world.pending]).toEqual([0, undefined]);
  });

  it('where the test fails', async () => {
    world.onTest = () => {
      throw new HarnessError('no API');
    };
    await expect(run()).rejects.toThrow('no API');
    expect([world.broken.size, world.pending]).toEqual([0, undefined]);
  });

  it('on Ctrl-C', async () => {
    world.onTest = () => world.controller.abort();
    await expect(run()).rejects.toBeInstanceOf(Interrupted);
    expect([world.broken.size, world.pending]).toEqual([0, undefined]);
  });

  it('where the connection was lost meanwhile', async () => {
    let lost = true;
    world.failing = (text) => {
      const fails = text.startsWith('mend') && lost;
      if (fails) lost = false;
      return fails;
    };
    expect(await run()).toMatchObject({ verdict: 'found' });
    expect([world.broken.size, world.reconnects]).toEqual([0, 1]);
  });

  it('stays written down where it cannot be', async () => {
    world.reconnect = async () => {
      throw new HarnessError('gone for good');
    };
    world.failing = (text) => text.startsWith('mend');
    await expect(undo(FAULT, world, 300)).rejects.toMatchObject({
      exitCode: 1,
      message: '"a rule drops packets" could not be undone on k8sworker1, so the lab is broken.',
      details: expect.arrayContaining(['to be done there: mend b']),
    });
  });
});
