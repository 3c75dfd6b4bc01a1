/**
 * Every knob of the stand-in for Multipass, one by one, against the whole driver: the machines are made, or one error names
 * the machine, the cause and the next command, again and again until the knob is turned back; then labup completes and
 * labdown leaves nothing. Without machines (sandbox) and in this process; what takes real ones is in test/lab/.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { multipassDriver } from '../../scripts/machines/multipass/driver.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { EXIT, type ExitCode, LabError, messageOf } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';
import type { Secrets } from '../../scripts/shared/secrets.ts';
import { KNOB_NAMES } from '../doubles/multipass.d/knobs.ts';
import { Double } from '../doubles/support.ts';
import { type FakeVm, guestAnswer } from '../fakes/multipass.ts';
import { documents, failureOf, multipassPlan } from './multipass-fixtures.ts';

const MACHINES = ['k8smaster1', 'k8sworker1', 'bgp'];
/** The machine that a knob is about. Not the first, which is launched alone. */
const VICTIM = 'k8sworker1';
const SECRET = 'hunter2-in-the-user-data';
const BRIDGED = { network: { mode: 'bridge', bridge: 'br0' } } as const;

interface Case {
  readonly knobs: Readonly<Record<string, unknown>>;
  /** What the guest says of itself meanwhile, beside what a machine that is well says. */
  readonly guest?: Partial<FakeVm>;
  readonly plan?: LabPlan;
  /** How labup ends; without it the machines are made. */
  readonly fails?: {
    readonly says: RegExp;
    readonly next: RegExp;
    readonly code: ExitCode;
    /** Only this machine is named; the others are there. */
    readonly victim?: true;
  };
  /** How the next labup ends, where not in the same way. */
  readonly later?: Case['fails'];
  /** More that must hold once the machines are made. */
  readonly made?: (bench: Bench) => Promise<void>;
  /** The daemon answers nothing meanwhile, so nothing can be removed. */
  readonly silent?: true;
}

/** A knob for which a test with real machines says more than one without can. */
interface Elsewhere {
  readonly file: string;
  /** What in the file does it. */
  readonly by: string;
  /** Why not here. */
  readonly because: string;
}

const refusal = (
  says: RegExp,
  next: RegExp,
  code: ExitCode = EXIT.userMustAct,
): NonNullable<Case['fails']> => ({
  says,
  next,
  code,
});
const ofVictim = (says: RegExp, next: RegExp): NonNullable<Case['fails']> => ({
  ...refusal(says, next, EXIT.wrong),
  victim: true,
});
const GIVE_UP = { giveUpMs: 20 };
/** One that is there and cannot be started: another labup alone would not help. */
const NOT_STARTED = ofVictim(
  /The SSH of k8sworker1 does not answer/,
  /multipass delete --purge k8sworker1; then npx labup/,
);
const made = (knobs: Case['knobs']): readonly Case[] => [{ knobs }];
const CONTRACT = 'test/lab/contract/multipass.ts';

const TABLE: Readonly<Record<string, readonly Case[] | Elsewhere>> = {
  version: [
    { knobs: { version: '1.14.1' }, fails: refusal(/1\.15 or later is needed/, /snap refresh/) },
    { knobs: { version: '1.15.0' } },
    {
      knobs: { version: '1.17.0' },
      // The zone of the first.
      made: async ({ launches }) =>
        expect(launches().map((argv) => argv.includes('--zone'))).toEqual([false, true, true]),
    },
  ],
  backend: {
    file: CONTRACT,
    by: "new Double('contract-mp'",
    because: 'all here is the sandbox; the contract runs on the other one',
  },
  daemon: [
    {
      knobs: { daemon: 'down' },
      fails: refusal(/daemon, multipassd, does not answer/, /snap start/),
      silent: true,
    },
    { knobs: { daemon: 'denied' }, fails: refusal(/may not use the daemon's socket/, /\S/), silent: true },
    {
      knobs: { daemon: 'unauthenticated' },
      fails: refusal(/does not know this user/, /authenticate/),
      silent: true,
    },
  ],
  daemonDelayMs: made({ daemonDelayMs: 10 }),
  notice: made({ notice: 'warning: the driver "x" is deprecated' }),
  update: made({ update: { title: 'Multipass 2', description: 'all new', url: 'https://example.org' } }),
  imageServers: [{ knobs: { imageServers: false }, fails: refusal(/image server/i, /--force-update/) }],
  kvm: [{ knobs: { kvm: false }, fails: refusal(/KVM is missing/, /\S/) }],
  spinner: [{ knobs: { spinner: true }, made: reachedAsGuestsSay }],
  snap: made({ snap: true }),
  snapHome: made({ snap: true, snapHome: '/home/somebody' }),
  launchDelayMs: [
    {
      knobs: { launchDelayMs: { '*': 150 } },
      made: async ({ ms }) => expect(ms).toBeGreaterThan(300),
    },
  ],
  sshTimeout: [
    {
      knobs: { sshTimeout: [VICTIM], ...GIVE_UP },
      fails: ofVictim(
        /did not come up; it was launched twice[\s\S]*its state: unknown/,
        /multipass info k8sworker1/,
      ),
    },
  ],
  cloudInitTimeout: [
    {
      knobs: { cloudInitTimeout: [VICTIM], ...GIVE_UP },
      guest: { finished: false },
      fails: ofVictim(/Timed out .* cloud-init on k8sworker1 \(/, /cloud-init status --long/),
    },
    // It ended meanwhile.
    { knobs: { cloudInitTimeout: [VICTIM], ...GIVE_UP } },
  ],
  giveUpMs: [
    {
      knobs: { sshTimeout: [VICTIM], giveUpMs: 1 },
      fails: ofVictim(/launched twice/, /multipass info k8sworker1/),
    },
  ],
  cloudInitError: [
    {
      knobs: { cloudInitError: [VICTIM] },
      guest: { errors: ["('scripts_user', RuntimeError('Runparts: 1 failures'))"] },
      fails: ofVictim(/cloud-init failed on k8sworker1[\s\S]*scripts_user/, /makes it anew/),
    },
  ],
  beingPrepared: [
    {
      knobs: { beingPrepared: [VICTIM] },
      fails: ofVictim(/Timed out .* an earlier launch of k8sworker1/, /snap restart multipass/),
    },
  ],
  newIpOnRestart: {
    by: 'newIpOnRestart',
    file: CONTRACT,
    because: 'a machine without a network has no new address to be reached at',
  },
  unknownState: [
    {
      knobs: { unknownState: [VICTIM] },
      fails: ofVictim(/Timed out .* cloud-init on k8sworker1 \(/, /cloud-init status --long/),
      later: NOT_STARTED,
    },
  ],
  execFailure: [
    {
      knobs: { execFailure: [VICTIM] },
      fails: ofVictim(
        /Timed out .* cloud-init on k8sworker1 \([\s\S]*does not answer on SSH/,
        /cloud-init status --long/,
      ),
      later: ofVictim(
        /Timed out .* k8sworker1, which runs, to answer/,
        /multipass stop --force k8sworker1; npx labup/,
      ),
    },
  ],
  execRetryLoop: made({ execRetryLoop: true }),
  networks: [
    {
      knobs: { networks: [{ name: 'eth0', type: 'ethernet', description: 'Ethernet device' }] },
      plan: multipassPlan(BRIDGED),
      fails: refusal(/knows no network "br0"/, /ip link add/),
    },
    {
      knobs: { networks: [{ name: 'br0', type: 'bridge', description: 'mine' }] },
      plan: multipassPlan(BRIDGED),
      made: async ({ launches }) => expect(launches().flat().join(' ')).toMatch(/name=br0,mode=manual,mac=/),
    },
  ],
  availableDisk: [
    { knobs: { availableDisk: 2 ** 30 }, fails: refusal(/disk of this host is too full/, /\S/) },
  ],
  imageDisk: [{ knobs: { imageDisk: 100 * 2 ** 30 }, fails: refusal(/disk/, /\S/) }],
  sandboxRuns: made({ sandboxRuns: true }),
  project: made({ project: 'other-project' }),
  bridge: made({ bridge: 'other0' }),
  subnet: made({ subnet: '10.98.0.0/24' }),
  cache: made({ cache: '/nonexistent' }),
};

it('every knob is in the table, and nothing else', () => {
  expect(Object.keys(TABLE).sort()).toEqual([...KNOB_NAMES].sort());
});

/** One stand-in, one driver on it, and what was seen. */
class Bench {
  readonly double = new Double();
  readonly plan: LabPlan;
  readonly #driver;
  /** How long the last `up` took. */
  ms = 0;

  constructor(wanted: LabPlan) {
    this.plan = { ...wanted, machines: wanted.machines.filter(({ name }) => MACHINES.includes(name)) };
    const patience = Object.fromEntries(
      ['daemon', 'imageServers', 'guest', 'blocked', 'firstBoot', 'launch', 'lateLaunch'].map((key) => [
        key,
        250,
      ]),
    );
    this.#driver = () =>
      multipassDriver(this.double.local, {
        registryFolder: this.#notes,
        patience: { ...patience, poll: 5 },
      });
  }

  readonly #notes = mkdtempSync(join(tmpdir(), 'registry-'));

  /** Sets knobs; all others are as they are by default. */
  turn(knobs: Case['knobs'], guest: Partial<FakeVm> = {}): void {
    const fresh = { backend: 'sandbox', spinner: false };
    for (const key of KNOB_NAMES) if (!(key in fresh)) this.double.set({ [key]: undefined });
    this.double.set({ ...fresh, ...knobs });
    this.double.answers(
      this.plan.machines.map(({ name }, index) => ({
        match: 'bash.*-s',
        instance: name,
        stdout: guestAnswer({ ...well(this.plan.lab, index), ...(name === VICTIM ? guest : {}) }, name),
      })),
    );
  }

  /** The machines' part of a labup. */
  async up(): Promise<boolean> {
    const started = performance.now();
    const driver = this.#driver();
    await driver.ensureHost(this.plan, silent);
    await driver.ensureImage(this.plan, undefined, silent);
    const cloudInit = documents(this.plan.lab, `# ${SECRET}\nsecret: ${SECRET}\n`);
    const changed = await driver.ensureMachines(this.plan, { cloudInit, clientKey: '' }, silent);
    this.ms = performance.now() - started;
    return changed;
  }

  reach() {
    return this.#driver().reach(this.plan, SECRETS, silent);
  }

  observe() {
    return this.#driver().observe(this.plan.lab);
  }

  remove(): Promise<void> {
    return this.#driver().remove(this.plan.lab, silent);
  }

  /** Every argv, without the program. */
  readonly calls = () =>
    this.double.log().flatMap(({ event, argv }) => (event === 'call' && argv ? [argv] : []));

  /** The argv of every launch. */
  readonly launches = () => this.calls().filter(([verb]) => verb === 'launch');

  async instances(): Promise<readonly string[]> {
    const { list } = await this.double.json<{ list: readonly { name: string }[] }>('list', '--no-ipv4');
    return list.map(({ name }) => name);
  }
}

const SECRETS = { clientKey: { privateKey: 'PRIVATE', publicKey: 'PUBLIC' } } as Secrets;

function well(lab: string, index: number): FakeVm {
  return { state: 'Running', owner: lab, address: `10.97.0.${10 + index}`, finished: true, errors: [] };
}

async function reachedAsGuestsSay(bench: Bench): Promise<void> {
  const targets = await bench.reach();
  expect(targets.map(({ address }) => address)).toEqual(MACHINES.map((_, index) => `10.97.0.${10 + index}`));
}

const textOf = (error: LabError) => [error.message, ...error.details].join('\n');

function expectSaid(error: unknown, { says, next, code, victim }: NonNullable<Case['fails']>): void {
  if (!(error instanceof LabError)) throw new Error(`no error for users: ${messageOf(error)}`);
  expect(textOf(error)).toMatch(says);
  expect(error.next).toMatch(next);
  expect(error.exitCode, textOf(error)).toBe(code);
  if (victim === undefined) return;
  expect(error.message).toBe(`Not made: ${VICTIM}.`);
  // Others are named only as not begun after it.
  const told = textOf(error).replace(/^not begun after that: .*$/m, '');
  for (const other of MACHINES.filter((name) => name !== VICTIM)) expect(told).not.toContain(other);
}

/** The lab is whole, changes no more, and goes. */
async function completes(bench: Bench): Promise<void> {
  await bench.up();
  expect(await bench.up()).toBe(false);
  const running = MACHINES.map((name) => ({ kind: 'machine', name, state: 'running' }));
  expect([...(await bench.observe())].sort(byName)).toEqual([...running].sort(byName));
  for (const name of MACHINES) {
    expect(bench.double.inGuest(name, 'var/lib/cloud/seed/nocloud-net/user-data')).toContain(
      '/etc/lab/owner',
    );
  }
  await leavesNothing(bench);
}

async function leavesNothing(bench: Bench): Promise<void> {
  await bench.remove();
  expect(await bench.instances()).toEqual([]);
  expect(await bench.observe()).toEqual([]);
}

const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name);

describe.each(Object.entries(TABLE))('knob %s', (_knob, entry) => {
  if ('file' in entry) {
    it(`is turned in ${entry.file}: ${entry.because}`, () => {
      expect(readFileSync(entry.file, 'utf8')).toContain(entry.by);
    });
    return;
  }

  it.each(entry.map((each) => [JSON.stringify(each.knobs), each] as const))('%s', async (_, each) => {
    const { knobs, guest, fails } = each;
    const bench = new Bench(each.plan ?? multipassPlan());
    bench.turn(knobs, guest);
    if (fails === undefined) {
      expect(await bench.up()).toBe(true);
      await each.made?.(bench);
      await completes(bench);
    } else {
      expectSaid(await failureOf(bench.up()), fails);
      expectSaid(await failureOf(bench.up()), each.later ?? fails);
      if (each.silent === undefined) {
        // Whatever is half made goes, too.
        await leavesNothing(bench);
        expectSaid(await failureOf(bench.up()), fails);
      }
      bench.turn({});
      await completes(bench);
    }
    expect(bench.calls().flat().join('\n')).not.toContain(SECRET);
  });
});
