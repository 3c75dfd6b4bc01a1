import type { MachineDriver, ObservedThing } from '../../scripts/machines/driver.ts';

/** A driver whose machines, bridge and project are names in memory. */
export interface FakeDriver extends MachineDriver {
  readonly calls: string[];
  things: ObservedThing[];
  /** What a removal leaves. */
  stubborn: string[];
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
