// How near labup's launching of virtual machines comes to its critical path, on the stand-in for Multipass without machines
// (test/doubles, backend sandbox, in this process), where a launch takes a set time: `npm run bench`. Two at a time against
// one after another, both measured, and at the same time, for they only wait.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { multipassDriver } from '../scripts/machines/multipass/driver.ts';
import type { LabPlan } from '../scripts/plan/types.ts';
import { silent } from '../scripts/shared/events.ts';
import { Double } from '../test/doubles/support.ts';
import { guestAnswer } from '../test/fakes/multipass.ts';
import { documents, multipassPlan } from '../test/machines/multipass-fixtures.ts';

/** How much longer than its critical path launching may take. */
const TARGET = 1.15;
const AT_ONCE = 2;

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '30' } } });
const launchMs = Number(values.seconds) * 1000;

interface Measured {
  readonly ms: number;
  readonly launches: number;
}

/** Makes the plan's machines on a stand-in of its own, and removes them; how long making them took, in milliseconds. */
async function launch(plan: LabPlan): Promise<Measured> {
  const double = new Double();
  double.set({ launchDelayMs: { '*': launchMs } });
  const vm = { state: 'Running', owner: plan.lab, finished: true, errors: [] };
  double.answers(
    plan.machines.map(({ name }, index) => ({
      match: 'bash.*-s',
      instance: name,
      stdout: guestAnswer({ ...vm, address: `10.97.0.${10 + index}` }, name),
    })),
  );
  const driver = multipassDriver(double.local, {
    registryFolder: join(double.folder, 'notes'),
  });
  try {
    await driver.ensureHost(plan, silent);
    const started = performance.now();
    await driver.ensureMachines(plan, { cloudInit: documents(plan.lab), clientKey: '' }, silent);
    const ms = performance.now() - started;
    const launches = (await driver.observe(plan.lab)).filter((each) => each.state === 'running').length;
    await driver.remove(plan.lab, silent);
    return { ms, launches };
  } finally {
    for (const folder of [double.folder, double.home]) rmSync(folder, { recursive: true });
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

async function main(): Promise<number> {
  const machines = multipassPlan().machines.length;
  // The first launch warms the image by itself; the others go in pairs.
  const rounds = 1 + Math.ceil((machines - 1) / AT_ONCE);
  const critical = rounds * launchMs;
  print(
    `${machines} machines, a launch takes ${seconds(launchMs)}, ${AT_ONCE} at a time after the first one`,
  );
  const [ours, single] = await Promise.all(
    [AT_ONCE, 1].map((parallel) => launch(multipassPlan({ parallel }))),
  );
  if (ours?.launches !== machines || single?.launches !== machines)
    throw new Error('not every machine was made');
  const ratio = ours.ms / critical;
  print(`critical path: ${rounds} rounds, ${seconds(critical)}`);
  print(`measured: ${seconds(ours.ms)}, ${ratio.toFixed(3)} of the critical path (at most ${TARGET} wanted)`);
  print(
    `one after another: ${seconds(single.ms)}; ${(single.ms / ours.ms).toFixed(2)} times faster than that ` +
      `(${(machines / rounds).toFixed(2)} is what ${AT_ONCE} at a time can give)`,
  );
  return ratio <= TARGET ? 0 : 1;
}

process.exitCode = await main();
