/**
 * One contract for every driver of machines, on real machines: containers of the daemon, Multipass' virtual machines by
 * way of the stand-in of test/doubles, and machines that somebody prepared by hand. In the order written: each part leaves
 * the lab as the next one needs it. What a driver cannot have done to it is skipped, with the reason.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newSecrets } from '../../scripts/exec/keys.ts';
import type { RemoteMachine } from '../../scripts/exec/ssh.ts';
import { connectMachines, waitForCloudInit } from '../../scripts/machines/connect.ts';
import type { Provisioning } from '../../scripts/machines/driver.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { LabError, messageOf } from '../../scripts/shared/errors.ts';
import { cloudInitFor } from './contract/cloud-init.ts';
import { collector, machines, NAMES, type Possible, whyNot } from './contract/harness.ts';
import { incusHarness } from './contract/incus.ts';
import { multipassHarness } from './contract/multipass.ts';
import { sshHarness } from './contract/ssh.ts';
import { hostSnapshot } from './support.ts';

const reason = whyNot();
if (reason !== undefined) console.warn(`SKIPPED: the contract of the machine drivers: ${reason}`);

/** How much longer a slow machine takes, in milliseconds. */
const SLOW_MS = 4_000;

const harnesses = [incusHarness(), multipassHarness(), sshHarness()].map(
  (each) => [each.name, each] as const,
);

describe.skipIf(reason !== undefined).each(harnesses)('the contract, on %s', (_, harness) => {
  const { lab } = harness.plan;
  const secrets = newSecrets(
    lab,
    harness.plan.machines.map(({ name }) => name),
  );
  const said: string[] = [];
  const emit = collector(said);

  beforeAll(() => harness.prepare());
  afterAll(() => harness.cleanUp());

  /** Runs a scenario, or says why this driver has none. */
  const scenario = <T>(title: string, able: Possible<T>, run: (able: T) => Promise<void>) => {
    if (typeof able !== 'object' || able === null || !('not' in able)) {
      it(title, () => run(able as T));
      return;
    }
    console.warn(`SKIPPED on ${harness.name}: ${title}: ${able.not}`);
    it.skip(`${title} (${able.not})`);
  };

  /** What machines are made with; that of `broken` ends in an error inside the guest. */
  const provisioning = (wanted: LabPlan, broken?: string): Provisioning => ({
    image: harness.artifacts().image,
    cloudInit: cloudInitFor(wanted, harness.driver().machines, secrets, broken),
    clientKey: secrets.clientKey.publicKey.trim(),
  });

  /** The machines' part of one labup; tells whether it changed anything and which machines it came to. */
  const up = async ({ wanted = harness.plan, broken }: { wanted?: LabPlan; broken?: string } = {}) => {
    said.length = 0;
    const driver = harness.driver();
    const host = await driver.ensureHost(wanted, emit);
    const image = await driver.ensureImage(wanted, harness.artifacts().image, emit);
    const made = await driver.ensureMachines(wanted, provisioning(wanted, broken), emit);
    const targets = await driver.reach(wanted, secrets, emit);
    const connected = await connectMachines(targets, emit);
    try {
      if (driver.usesCloudInit) await waitForCloudInit(connected, emit);
      return { changed: host || image || made, ids: await identities(connected), targets };
    } finally {
      for (const machine of connected.values()) machine.close();
    }
  };
  const states = async () =>
    Object.fromEntries(
      (await harness.driver().observe(lab))
        .filter(({ kind }) => kind === 'machine')
        .map(({ name, state }) => [name, state]),
    );
  const allRunning = Object.fromEntries(machines.map((name) => [name, 'running']));
  let ids: ReadonlyMap<string, string>;

  it('makes every machine, each one itself', async () => {
    const first = await up();
    expect(first.changed).toBe(true);
    expect(new Set(first.ids.values()).size).toBe(machines.length);
    expect(await states()).toEqual(allRunning);
    expect(await harness.driver().observe('no-such-lab')).toEqual([]);
    expect(traces()).not.toEqual([]);
    ids = first.ids;
  });

  it('changes nothing the second time', async () => {
    expect(await up()).toMatchObject({ changed: false, ids });
  });

  it('finds a machine that was stopped behind its back', async () => {
    await harness.stop(NAMES.worker);
    expect((await states())[NAMES.worker]).not.toBe('running');
    if (harness.replace !== undefined) {
      expectNamed(await refusal(up()), NAMES.worker);
      await harness.start(NAMES.worker);
    }
    expect(await up()).toMatchObject({ changed: harness.replace === undefined, ids });
  });

  const restarted: string[] = [];
  it('has nothing to do where one was restarted', async () => {
    const address = async () => {
      const targets = await harness.driver().reach(harness.plan, secrets, emit);
      return targets.find(({ name }) => name === NAMES.router)?.address ?? '';
    };
    restarted.push(await address());
    await harness.restart(NAMES.router);
    restarted.push(await address());
    expect(await up()).toMatchObject({ changed: false, ids });
  });

  scenario('has reached it at its new address', harness.newAddress, async () => {
    expect(new Set(restarted).size).toBe(2);
  });

  it('names the one machine that cannot be made; the others stand, and the next run completes', async () => {
    await harness.vanish(NAMES.worker);
    expect((await states())[NAMES.worker]).not.toBe('running');
    if (harness.replace !== undefined) {
      expectNamed(await refusal(up()), NAMES.worker);
      await harness.replace(NAMES.worker);
    }
    const allow = await harness.prevent(NAMES.worker);
    expectNamed(await refusal(up()), NAMES.worker);
    const { [NAMES.worker]: _, ...others } = allRunning;
    expect(await states()).toMatchObject(others);
    await allow();
    const now = await up();
    expect(now.changed).toBe(true);
    for (const name of machines) {
      // The one that vanished is another machine now.
      if (name in others) expect(now.ids.get(name)).toBe(ids.get(name));
      else expect(now.ids.get(name)).not.toBe(ids.get(name));
    }
  });

  scenario(
    'names the machine whose cloud-init failed, and the cause',
    harness.driver().usesCloudInit || { not: 'its machines are not made by cloud-init' },
    async () => {
      await harness.vanish(NAMES.worker);
      const error = await refusal(up({ broken: NAMES.worker }));
      expectNamed(error, NAMES.worker);
      expect(textOf(error)).toMatch(/cloud-init failed/);
      expect(textOf(error)).toMatch(/runcmd|scripts_user/);
      await harness.vanish(NAMES.worker);
    },
  );

  scenario('names the machine for which a disk is too full', harness.fullDisk, async (full) => {
    await full.during(async (wanted) => {
      const error = await refusal(up({ wanted }));
      expectNamed(error, full.machine);
      expect(textOf(error)).toMatch(full.says);
    });
  });

  scenario('waits for a machine that boots slowly', harness.slowBoot, async (slow) => {
    const asUsual = await slow(NAMES.router, SLOW_MS);
    const started = performance.now();
    expect(await up()).toMatchObject({ changed: true });
    expect(performance.now() - started).toBeGreaterThan(SLOW_MS);
    expect(await states()).toEqual(allRunning);
    await asUsual();
  });

  it.each(harness.denials.map((each) => [each.what, each] as const))(
    'says so and changes nothing where %s',
    async (_, { says, during }) => {
      const before = await states();
      await during(async () => {
        const error = await refusal(up());
        expect(textOf(error)).toMatch(says);
        expect(error.next).toBeTruthy();
      });
      expect(await states()).toEqual(before);
    },
  );

  scenario('removes everything although its notes are gone', harness.forgetNotes, async (forget) => {
    await forget();
    await harness.driver().remove(lab, emit);
    expect(await harness.existing()).toEqual([]);
  });

  it('has each machine once after two labups at the same time', async () => {
    await harness.driver().remove(lab, emit);
    const [one, other] = await Promise.allSettled([up(), up()]);
    const failed = [one, other].flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    // One may be told that the other was faster; never both.
    expect(failed.length, failed.map(textOf).join('\n')).toBeLessThan(2);
    for (const error of failed) {
      expect(error).toBeInstanceOf(LabError);
      expect((error as LabError).next, textOf(error)).toBeTruthy();
    }
    expect(await up()).toMatchObject({ changed: false });
    expect(await harness.existing()).toEqual([...machines].sort());
  });

  it('refuses the machine of somebody else that has a name of ours', async () => {
    await harness.takeName(NAMES.worker);
    expectNamed(await refusal(up()), NAMES.worker);
    expect(await harness.isForeignUntouched(NAMES.worker)).toBe(true);
  });

  it('removes all but that one, and names it', async () => {
    said.length = 0;
    const ended = await harness
      .driver()
      .remove(lab, emit)
      .then(() => '', textOf);
    expect(`${ended}\n${said.join('\n')}`).toContain(NAMES.worker);
    expect(await harness.isForeignUntouched(NAMES.worker)).toBe(true);
    expect(Object.keys(await states())).not.toContain(NAMES.router);
    await harness.giveNameBack(NAMES.worker);
  });

  it('leaves nothing behind, and is content with nothing', async () => {
    await harness.driver().remove(lab, emit);
    expect(await harness.driver().observe(lab)).toEqual([]);
    await harness.driver().remove(lab, emit);
    await harness.cleanUp();
    expect(traces()).toEqual([]);
  });

  it('told no secret to any program', async () => {
    const seen = await harness.leaks();
    expect(seen.length).toBeGreaterThan(2);
    const { clientKey, hostKeys, bgpPassword, joinToken } = secrets;
    const keys = [clientKey, ...Object.values(hostKeys)].map(({ privateKey }) => privateKey);
    // The middle of a key: its first lines are the same in every key.
    const bodies = keys.map((key) => key.split('\n').at(-4) ?? key);
    for (const secret of [...bodies, bgpPassword, joinToken]) expect(seen).not.toContain(secret);
    expect(seen).not.toContain('PRIVATE KEY');
  });
});

/** Bridges, addresses, routes, rules and mounts of this suite on this host, told by its names and its network. */
function traces(): readonly string[] {
  const { links = [], addresses = [], routes = [], rules = [], mounts = [] } = hostSnapshot();
  return [...links, ...addresses, ...routes, ...rules, ...mounts].filter((line) =>
    /\bct(incus|mp|ssh|full)\d|contract-|\b10\.66\.\d\./.test(line),
  );
}

/** What tells one machine from another, and from the one that had its name before. */
async function identities(
  connected: ReadonlyMap<string, RemoteMachine>,
): Promise<ReadonlyMap<string, string>> {
  const ids = await Promise.all(
    [...connected.values()].map(async (machine) => {
      const { stdout } = await machine.run(['sh', '-c', 'id -u; cat /etc/machine-id']);
      const [user, id = ''] = stdout.trim().split('\n');
      expect(user).toBe('0');
      return [machine.name, id] as const;
    }),
  );
  return new Map(ids);
}

/** The error that the work must end with, made for a user. */
async function refusal(work: Promise<unknown>): Promise<LabError> {
  const ended: unknown = await work.then(
    () => new Error('it ended well'),
    (error: unknown) => error,
  );
  if (ended instanceof LabError) return ended;
  throw new Error(`not an error for users: ${messageOf(ended)}`, { cause: ended });
}

function textOf(error: unknown): string {
  return error instanceof LabError ? [error.message, ...error.details].join('\n') : messageOf(error);
}

/** The error is about that machine and no other, and says what to do. */
function expectNamed(error: LabError, name: string): void {
  const text = textOf(error);
  expect(text).toContain(name);
  for (const other of machines.filter((each) => each !== name)) expect(text).not.toContain(other);
  expect(error.next, text).toBeTruthy();
}
