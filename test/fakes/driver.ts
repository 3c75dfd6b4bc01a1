import type { KeptDisk, MachineDriver, ObservedThing, Snapshots } from '../../scripts/machines/driver.ts';

/** A driver whose machines, bridge and project are names in memory. */
export interface FakeDriver extends Omit<MachineDriver, 'snapshots'> {
  snapshots?: Snapshots;
  readonly calls: string[];
  things: ObservedThing[];
  /** What a removal leaves. */
  stubborn: string[];
  /** The snapshots of its machines. */
  kept: KeptDisk[];
  /** What a snapshot costs. */
  cost: string | undefined;
}

export function fakeDriver(): FakeDriver {
  const note = (call: string) => driver.calls.push(call);
  const ensure = (wanted: readonly ObservedThing[]): boolean => {
    const missing = wanted.filter(({ name }) => !driver.things.some((thing) => thing.name === name));
    driver.things = [...driver.things, ...missing];
    return missing.length > 0;
  };
  const driver: FakeDriver = {
    name: 'incus',
    machines: 'prebuilt',
    usesCloudInit: true,
    steps: {
      host: { title: 'Bridge, storage and image', why: 'names in memory' },
      machines: { title: 'Machines', why: 'names in memory' },
    },
    calls: [],
    things: [],
    stubborn: [],
    kept: [],
    cost: undefined,
    snapshots: {
      stops: false,
      list: async () => driver.kept,
      cost: async () => driver.cost,
      async save(plan, snapshot) {
        note(`save ${snapshot}`);
        const at = `2026-11-26T20:00:0${driver.kept.length % 10}Z`;
        driver.kept.push(
          ...plan.machines.map(({ name: machine }) => ({ snapshot, machine, at, bytes: 2 ** 20 })),
        );
      },
      async putBack(_plan, snapshot) {
        note(`putBack ${snapshot}`);
        driver.things = driver.things.map((each) =>
          each.kind === 'machine' ? { ...each, state: 'stopped' } : each,
        );
      },
      async start() {
        note('start');
        driver.things = driver.things.map((each) =>
          each.kind === 'machine' ? { ...each, state: 'running' } : each,
        );
      },
      async remove(_plan, snapshot) {
        note(`remove ${snapshot}`);
        driver.kept = driver.kept.filter((each) => each.snapshot !== snapshot);
      },
    },
    async ensureHost(plan) {
      note('ensureHost');
      return ensure([
        { kind: 'project', name: plan.lab, state: 'present' },
        { kind: 'network', name: plan.network.bridge, state: 'present' },
      ]);
    },
    async ensureImage() {
      note('ensureImage');
      return ensure([{ kind: 'image', name: 'image', state: 'present' }]);
    },
    async ensureMachines(plan) {
      note('ensureMachines');
      return ensure(plan.machines.map(({ name }) => ({ kind: 'machine', name, state: 'running' })));
    },
    async reach(plan, { clientKey, hostKeys }) {
      return plan.machines.map(({ name, address }) => ({
        name,
        address,
        user: 'root',
        privateKey: clientKey.privateKey,
        hostKey: hostKeys[name]?.publicKey ?? '',
      }));
    },
    async observe() {
      return driver.things;
    },
    changes: () => ['what the fake driver changes'],
    asks: () => [],
    async remove(_lab, _emit, { elsewhere = false } = {}) {
      note(elsewhere ? 'remove, made elsewhere' : 'remove');
      driver.things = driver.things.filter(({ name }) => driver.stubborn.includes(name));
    },
  };
  return driver;
}
