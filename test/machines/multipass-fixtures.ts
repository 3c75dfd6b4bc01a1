import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CloudInit, MachineDriver } from '../../scripts/machines/driver.ts';
import { multipassDriver } from '../../scripts/machines/multipass/driver.ts';
import { type Patience, Registry } from '../../scripts/machines/multipass/host.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import type { LabError } from '../../scripts/shared/errors.ts';
import type { LabEvent } from '../../scripts/shared/events.ts';
import { type FakeMultipass, fakeMultipass } from '../fakes/multipass.ts';
import { labPlan } from '../render/fixture.ts';

/** The default lab, on Multipass. */
export function multipassPlan(change: Partial<NonNullable<LabPlan['multipass']>> = {}): LabPlan {
  const size = { cpus: 1, memory: '1G', disk: '5G' };
  return {
    ...labPlan(),
    multipass: {
      image: '24.04',
      parallel: 2,
      sizes: {
        'control-plane': { cpus: 2, memory: '2G', disk: '10G' },
        worker: size,
        router: size,
        client: size,
      },
      network: { mode: 'static' },
      ...change,
    },
  };
}

export const plan = multipassPlan();
export const NAMES = plan.machines.map(({ name }) => name);

/** User-data as a machine gets it: the owner file, and nothing that a test looks at. */
export function documents(lab = plan.lab, more = ''): ReadonlyMap<string, CloudInit> {
  const userData = (name: string) =>
    `#cloud-config\nhostname: ${name}\n${more}write_files:\n  - path: /etc/lab/owner\n    content: |\n      ${lab}\n`;
  return new Map(NAMES.map((name) => [name, { userData: userData(name), metaData: '', networkConfig: '' }]));
}

const waits = (ms: number): Patience => ({
  poll: 1,
  ...{ daemon: ms, blocked: ms, imageServers: ms, guest: ms, firstBoot: ms, launch: ms, lateLaunch: ms },
});
/** Waits that no test comes to the end of. */
const PATIENT = waits(60_000);
/** No wait is longer than a look or two: for what does not come. */
export const IMPATIENT = waits(20);

/** A driver on a fake, with a registry of its own. */
export interface Bench {
  readonly fake: FakeMultipass;
  readonly driver: MachineDriver;
  readonly registry: Registry;
  readonly events: LabEvent[];
  up(made?: ReadonlyMap<string, CloudInit>, wanted?: LabPlan): Promise<boolean>;
  /** Puts an instance there, and a note about it where it was launched by a lab. */
  put(
    name: string,
    state: string,
    change?: { owner?: string; noted?: string; finished?: boolean },
  ): Promise<void>;
}

export function bench(patience: Partial<Patience> = {}): Bench {
  const fake = fakeMultipass();
  const folder = mkdtempSync(join(tmpdir(), 'registry-'));
  const registry = new Registry(folder);
  const driver = multipassDriver(fake.local, {
    registryFolder: folder,
    patience: { ...PATIENT, ...patience },
  });
  const events: LabEvent[] = [];
  return {
    fake,
    driver,
    registry,
    events,
    up: (made = documents(), wanted = plan) =>
      driver.ensureMachines(wanted, { cloudInit: made, clientKey: '' }, (event) => events.push(event)),
    async put(name, state, { owner, noted, finished = true } = {}) {
      fake.vms.set(name, { state, owner, address: '10.97.0.9', finished, errors: [] });
      if (noted !== undefined) {
        await registry.write(name, { lab: noted, launched: true, launchedAt: '2026-01-01T00:00:00.000Z' });
      }
    },
  };
}

/** What a piece of work fails with. Throws where it does not fail. */
export function failureOf(work: Promise<unknown>): Promise<LabError> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (reason: LabError) => reason,
  );
}
