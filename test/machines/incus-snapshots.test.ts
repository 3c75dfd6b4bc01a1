import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MachineDriver, Snapshots } from '../../scripts/machines/driver.ts';
import { incusDriver } from '../../scripts/machines/incus/driver.ts';
import { silent } from '../../scripts/shared/events.ts';
import { type FakeInstance, type IncusServer, startIncusServer } from '../fakes/incus-server.ts';
import { documents, fakeIpRules, hostWith, imageOf, plan } from './fixtures.ts';

let server: IncusServer;
let driver: MachineDriver;
let snapshots: Snapshots;
const image = imageOf();
const NAMES = plan.machines.map(({ name }) => name);

beforeEach(async () => {
  server = await startIncusServer();
  driver = incusDriver(fakeIpRules(), hostWith(server.stateDir));
  if (driver.snapshots === undefined) throw new Error('no snapshots');
  snapshots = driver.snapshots;
  await driver.ensureHost(plan, silent);
  await driver.ensureImage(plan, image, silent);
  await up();
});
afterEach(() => server.close());

const up = () => driver.ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent);

function all(): FakeInstance[] {
  return [...(server.projects.get(plan.lab)?.instances.values() ?? [])];
}

function one(name: string): FakeInstance {
  const found = all().find((each) => each.name === name);
  if (found === undefined) throw new Error(`no instance ${name}`);
  return found;
}

const states = () => [...new Set(all().map(({ status }) => status))];

describe('a snapshot of all machines', () => {
  it('is taken of each while all of them are frozen, and all run afterwards', async () => {
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    const taken = all().map((each) => [...new Set(each.snapshots.get('s1')?.statuses)]);
    expect(taken).toEqual(NAMES.map(() => ['Frozen']));
    expect(states()).toEqual(['Running']);
    expect(
      (await snapshots.list(plan)).map(({ snapshot, machine, bytes }) => [snapshot, machine, bytes]),
    ).toEqual(NAMES.map((name) => ['s1', name, 1000]));
  });

  it('is taken of each for itself where nothing has to stand still', async () => {
    await snapshots.save(plan, 's1', 'each', silent);
    const taken = all().map((each) => [...new Set(each.snapshots.get('s1')?.statuses)]);
    expect(taken).toEqual(NAMES.map(() => ['Running']));
  });

  it('leaves no machine frozen where it cannot be taken of one', async () => {
    server.failures.push({ request: /^POST .*k8sworker2\/snapshots/, error: 'no space left' });
    await expect(snapshots.save(plan, 's1', 'at-one-time', silent)).rejects.toThrow(/Not saved: k8sworker2/);
    expect(states()).toEqual(['Running']);
    expect((await snapshots.list(plan)).map(({ machine }) => machine)).not.toContain('k8sworker2');
  });

  it('is refused while a machine does not run', async () => {
    one('bgp').status = 'Stopped';
    await expect(snapshots.save(plan, 's1', 'at-one-time', silent)).rejects.toThrow(/Not running: bgp/);
    expect(await snapshots.list(plan)).toEqual([]);
  });

  it('is not looked for on instances of somebody else', async () => {
    one('ubuntu').config = {};
    await expect(snapshots.save(plan, 's1', 'at-one-time', silent)).rejects.toThrow(/Not running: ubuntu/);
    expect(one('ubuntu').status).toBe('Running');
  });
});

describe('putting back', () => {
  it('gives every machine its disk back, whatever state it was in; the control plane runs by then, and then all', async () => {
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    for (const each of all()) each.disk = 'broken';
    one('bgp').status = 'Stopped';
    one('routed').status = 'Frozen';
    await snapshots.putBack(plan, 's1', silent);
    expect(all().filter(({ status }) => status !== 'Stopped')).toEqual([one('k8smaster1')]);
    expect(all().map(({ disk }) => disk)).toEqual(NAMES.map(() => 'new'));
    await snapshots.start(plan, silent);
    expect(states()).toEqual(['Running']);
  });

  it('stops all machines before the first disk is put back', async () => {
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    server.changes.length = 0;
    await snapshots.putBack(plan, 's1', silent);
    const isStop = server.changes.map((line) => line.endsWith('/state'));
    expect(isStop.slice(0, NAMES.length + 1)).toEqual([...NAMES.map(() => true), false]);
    expect(isStop.filter(Boolean)).toHaveLength(NAMES.length + 1);
    expect(server.changes[NAMES.length]).toMatch(/k8smaster1$/);
  });

  it('names the machine whose disk could not be put back, and the command that does it again', async () => {
    await snapshots.save(plan, 's1', 'at-one-time', silent);
    server.failures.push({ request: /^PUT .*\/instances\/bgp$/, error: 'disk error' });
    await expect(snapshots.putBack(plan, 's1', silent)).rejects.toMatchObject({
      message: 'Not put back: bgp.',
      next: 'npx lab snapshot restore s1',
    });
  });
});

it('is removed of every machine that has it, and again is content', async () => {
  await snapshots.save(plan, 's1', 'at-one-time', silent);
  await snapshots.save(plan, 's2', 'at-one-time', silent);
  one('bgp').snapshots.delete('s1');
  await snapshots.remove(plan, 's1', silent);
  await snapshots.remove(plan, 's1', silent);
  expect([...new Set((await snapshots.list(plan)).map(({ snapshot }) => snapshot))]).toEqual(['s2']);
});

it('what a killed command had asked for is waited for', async () => {
  server.operations.push([{ class: 'task', description: 'Freezing instance' }]);
  server.operations.push([{ class: 'websocket', description: 'Executing command' }]);
  await up();
  expect(server.operations).toEqual([]);
});

it('labup lets machines run on that a killed snapshot has frozen', async () => {
  for (const each of all()) each.status = 'Frozen';
  expect(await up()).toBe(true);
  expect(states()).toEqual(['Running']);
});
