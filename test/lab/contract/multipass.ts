import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LabArtifacts } from '../../../scripts/commands/deps.ts';
import { multipassDriver } from '../../../scripts/machines/multipass/driver.ts';
import { silent } from '../../../scripts/shared/events.ts';
import { Double } from './double.ts';
import { type Denial, ensureReady, type Harness, NAMES, recordedHost, smallPlan } from './harness.ts';

/** The stand-in answers at once, and nothing here is minutes away; the waits themselves are the driver's own. */
const PATIENCE = { poll: 250, daemon: 3_000, imageServers: 3_000, lateLaunch: 3_000, firstBoot: 60_000 };

/** Virtual machines of Multipass, by way of the stand-in. */
export function multipassHarness(): Harness {
  const plan = smallPlan('multipass', 3);
  const double = new Double('contract-mp', 2);
  const { local, ran } = recordedHost(() => double.env());
  const registryFolder = mkdtempSync(join(tmpdir(), 'contract-registry-'));
  const vanish = async (name: string) => {
    if ((await double.names()).includes(name)) await double.call(['delete', '--purge', name]);
  };
  const denial = (what: string, daemon: string, says: RegExp): Denial => ({
    what,
    says,
    during: (work) => double.with({ daemon }, work),
  });
  let made: LabArtifacts;
  let heard = '';

  return {
    name: 'multipass',
    plan,
    async prepare() {
      made = await ensureReady('plain', silent);
    },
    cleanUp: async () => {
      heard ||= double.heard();
      await double.remove();
    },
    driver: () => multipassDriver(local, { registryFolder, patience: PATIENCE }),
    artifacts: () => made,
    stop: async (name) => void (await double.call(['stop', name])),
    start: async (name) => void (await double.call(['start', name])),
    restart: (name) =>
      double.with({ newIpOnRestart: [name] }, async () => void (await double.call(['restart', name]))),
    newAddress: true,
    vanish,
    async prevent(name) {
      // SSH never comes up in it.
      double.turn({ sshTimeout: [name], giveUpMs: Double.GIVE_UP_MS });
      return async () => double.turn({});
    },
    async slowBoot(name, ms) {
      await vanish(name);
      double.turn({ launchDelayMs: { [name]: ms } });
      return async () => double.turn({});
    },
    fullDisk: {
      machine: NAMES.worker,
      says: /disk of this host is too full/,
      async during(work) {
        await vanish(NAMES.worker);
        await double.with({ availableDisk: 2 ** 30 }, () => work(plan));
      },
    },
    denials: [
      denial('the daemon does not run', 'down', /multipassd, does not answer/),
      denial("the daemon's socket may not be opened", 'denied', /may not use the daemon's socket/),
      denial('the daemon does not know the user', 'unauthenticated', /does not know this user/),
    ],
    async forgetNotes() {
      rmSync(registryFolder, { recursive: true });
    },
    async takeName(name) {
      await vanish(name);
      await double.call(['launch', '--name', name]);
      await double.call(['exec', '-n', name, '--', 'touch', 'whose']);
    },
    isForeignUntouched: async (name) =>
      (await double.call(['exec', '-n', name, '--', 'ls'])).stdout.includes('whose'),
    giveNameBack: vanish,
    existing: () => double.names(),
    leaks: async () => `${JSON.stringify(ran)}\n${heard || double.heard()}`,
  };
}
