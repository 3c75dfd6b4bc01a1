import { beforeEach, describe, expect, it } from 'vitest';
import type { Snapshots } from '../../scripts/machines/driver.ts';
import { silent } from '../../scripts/shared/events.ts';
import { once, refused } from '../fakes/multipass.ts';
import { type Bench, bench, failureOf, NAMES, plan } from './multipass-fixtures.ts';

let b: Bench;
let snapshots: Snapshots;
const machines = () => NAMES.flatMap((name) => b.fake.vms.get(name) ?? []);
const states = () => [...new Set(machines().map(({ state }) => state))];

beforeEach(async () => {
  b = bench();
  if (b.driver.snapshots === undefined) throw new Error('no snapshots');
  snapshots = b.driver.snapshots;
  await b.up();
  await b.put('mine', 'Stopped');
});

describe('a snapshot', () => {
  it('is taken of every machine once all of them have shut down', async () => {
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    const done = b.fake.lines().filter((line) => /^(stop|snapshot) /.test(line));
    expect(done).toEqual([`stop ${NAMES.join(' ')}`, ...NAMES.map((name) => `snapshot ${name} -n s1`)]);
    expect([snapshots.stops, states()]).toEqual([true, ['Stopped']]);
    expect(await snapshots.list(plan)).toEqual(
      [...NAMES].sort().map((machine) => ({ snapshot: 's1', machine })),
    );
  });

  it('gives every machine its disk back, whatever state it is in', async () => {
    for (const each of machines()) each.disk = 'good';
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    await snapshots.start(plan, silent);
    expect(states()).toEqual(['Running']);
    for (const each of machines()) each.disk = 'broken';
    const [first] = machines();
    if (first !== undefined) first.state = 'Suspended';
    await snapshots.putBack(plan, 's1', silent);
    expect([states(), machines().map(({ disk }) => disk)]).toEqual([['Stopped'], NAMES.map(() => 'good')]);
  });

  it("is removed of every machine that has it, and nobody else's", async () => {
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    const other = b.fake.vms.get('mine');
    if (other !== undefined) other.snapshots = new Map([['s1', 'precious']]);
    await snapshots.remove(plan, 's1', silent);
    await snapshots.remove(plan, 's1', silent);
    expect([await snapshots.list(plan), [...(other?.snapshots?.keys() ?? [])]]).toEqual([[], ['s1']]);
  });

  it('is refused by a driver of Multipass that has none, with what to do', async () => {
    const text = 'The snapshots feature is not implemented on this backend.';
    b.fake.hooks.push(once('snapshot', refused('snapshot', text), NAMES[0]));
    const error = await failureOf(snapshots.save(plan, 's1', 'at-one-time', silent));
    expect(error.message).toBe(`Not saved: ${NAMES[0]}.`);
    expect(error.details.join()).toContain("Multipass' present driver has no snapshots");
  });
});
