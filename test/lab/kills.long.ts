/**
 * The real lab on this machine, killed: labup at every step and at random moments, labdown too, each repaired by the next
 * command. LAB_KILLS=10 makes so many random kills and proves the lab after every kill, LAB_KILL_SEED=7 draws other
 * moments. Needs what the default lab needs.
 */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { killPoints, seededRandom } from './kill-points.ts';
import { expectPass, hostSnapshot, proveLab, until, Workplace } from './support.ts';

const canRun = process.platform === 'linux' && process.getuid?.() === 0;
if (!canRun) console.warn('SKIPPED: this tier needs root on a Linux host');

const { LAB_KILLS, LAB_KILL_SEED = '1' } = process.env;
const seed = Number(LAB_KILL_SEED);
const random = seededRandom(seed);
const STEPS = [
  'packages',
  'artifacts',
  'host',
  'machines',
  'control-plane',
  'join',
  'network',
  'ready',
  'routes',
  'snapshot',
];
/** What labdown says on its way; it takes another second or more after each of them. */
const DOWN_SIGNS = ['1/2', 'removing', 'stopping'];

interface Entry {
  readonly step: string;
  readonly outcome: string;
  readonly ms?: number;
}

describe.skipIf(!canRun)(`a lab that is killed (LAB_KILL_SEED=${seed})`, () => {
  const place = new Workplace();
  const state = join(place.dir, '.lab');

  const journal = () => {
    try {
      const lines = readFileSync(join(state, 'bgp-lab', 'journal.ndjson'), 'utf8').split('\n');
      return lines.slice(0, -1).map((line) => JSON.parse(line) as Entry);
    } catch {
      return [];
    }
  };
  /** Starts a command and kills it some time after something has begun. */
  const kill = async (bin: 'labup' | 'labdown', begun: (said: string) => boolean, afterMs: number) => {
    const child = place.start(bin, '--yes');
    let said = '';
    child.stdout?.resume();
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    await until(`${bin} to get where it is killed`, 300_000, async () => {
      expect(child.exitCode, said).toBe(null);
      return begun(said);
    });
    await delay(afterMs);
    child.kill('SIGKILL');
    await closed;
    expect(child.signalCode, said).toBe('SIGKILL');
  };
  let before: ReturnType<typeof hostSnapshot>;
  let upTimes = new Map<string, number>();
  let proven = 0;

  beforeAll(async () => {
    // First, so that packages and cache are there, and every step's time is known.
    expectPass(await place.run('labup', '--yes'));
    upTimes = new Map(journal().flatMap(({ step, ms }) => (ms === undefined ? [] : [[step, ms]])));
    expect([...upTimes.keys()]).toEqual(STEPS);
    expectPass(await place.run('labdown', '--yes'));
    before = hostSnapshot();
  });

  afterAll(async () => {
    await place.run('labdown', '--yes');
    rmSync(place.dir, { recursive: true });
  });

  const last = STEPS.at(-1);
  const points = [
    ...STEPS.map((step) => ({ step, part: 0, isProven: LAB_KILLS !== undefined || step === last })),
    ...killPoints(seed, Number(LAB_KILLS ?? 2)).map((point) => ({ ...point, isProven: true })),
  ];
  it.each(points.map((point) => [`${Math.round(point.part * 100)} % into ${point.step}`, point] as const))(
    '%s: the next labup repairs it',
    async (_, { step, part, isProven }) => {
      const known = journal().length;
      const hasBegun = () =>
        journal()
          .slice(known)
          .some((entry) => entry.step === step);
      await kill('labup', hasBegun, part * (upTimes.get(step) ?? 0));
      if (!isProven) return;
      expectPass(await place.run('labup', '--yes'));
      await proveLab(place);
      proven += 1;
      if (proven % 3 === 0) {
        const sign = DOWN_SIGNS[Math.floor(random() * DOWN_SIGNS.length)] ?? '';
        await kill('labdown', (said) => said.includes(sign), random() * 500);
        renameSync(state, `${state}-${proven}`);
      }
      expectPass(await place.run('labdown', '--yes'));
      expect(hostSnapshot()).toEqual(before);
    },
  );
});
