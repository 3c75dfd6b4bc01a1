import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newSecrets } from '../../scripts/exec/keys.ts';
import type { MachineDriver, MachineImage } from '../../scripts/machines/driver.ts';
import { incusDriver } from '../../scripts/machines/incus/driver.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { type LabEvent, silent } from '../../scripts/shared/events.ts';
import { OWNER_KEY } from '../../scripts/shared/labels.ts';
import { type FakeInstance, type IncusServer, startIncusServer } from '../fakes/incus-server.ts';
import type { RecordingExecutor } from '../fakes/recording-executor.ts';
import { documents, fakeIpRules, hostWith, imageOf, plan } from './fixtures.ts';

let server: IncusServer;
let local: RecordingExecutor;
let driver: MachineDriver;
const image = imageOf();
const NAMES = plan.machines.map(({ name }) => name);
/** Those that the driver has said of that they run. */
const running: string[] = [];

beforeEach(async () => {
  server = await startIncusServer();
  local = fakeIpRules();
  driver = incusDriver(local, hostWith(server.stateDir));
});
afterEach(() => server.close());

/** Everything up to running machines; tells whether anything changed. */
async function up(made: MachineImage = image, userData?: string): Promise<boolean> {
  const host = await driver.ensureHost(plan, silent);
  const imported = await driver.ensureImage(plan, made, silent);
  running.length = 0;
  const machines = await driver.ensureMachines(
    plan,
    { image: made, cloudInit: documents(userData), clientKey: '' },
    silent,
    (name) => running.push(name),
  );
  return host || imported || machines;
}

function instance(name: string): FakeInstance {
  const found = server.projects.get(plan.lab)?.instances.get(name);
  if (found === undefined) throw new Error(`no instance ${name}`);
  return found;
}

const foreign = (name: string, config: Record<string, string> = {}) => ({ name, config });

describe('a lab from nothing', () => {
  it('has a project, a pool, a bridge, an image and every machine, all with its label', async () => {
    expect(await up()).toBe(true);
    const project = server.projects.get(plan.lab);
    expect([...(project?.instances.values() ?? [])].map(({ name, status }) => [name, status])).toEqual(
      NAMES.map((name) => [name, 'Running']),
    );
    expect(project?.images.map(({ aliases }) => aliases)).toEqual([[{ name: `machine-${'a'.repeat(16)}` }]]);
    const labelled = [
      project,
      server.pools.get(plan.lab),
      server.networks.get('labbr0'),
      ...(project?.instances.values() ?? []),
    ];
    expect(labelled.map((each) => each?.config[OWNER_KEY])).toEqual(labelled.map(() => plan.lab));
    expect([...running].sort()).toEqual([...NAMES].sort());
    expect(await up()).toBe(false);
    expect([...running].sort()).toEqual([...NAMES].sort());
  });

  it('gives the control plane alone more than the usual share of the processors', async () => {
    await up();
    const favoured = NAMES.filter((name) =>
      /cpu\.(shares|weight)=/.test(instance(name).config['raw.lxc'] ?? ''),
    );
    expect(favoured).toEqual(['k8smaster1']);
  });

  it('has a bridge without any way out', async () => {
    await up();
    expect(server.networks.get('labbr0')?.config).toMatchObject({
      'ipv4.address': '192.168.13.1/24',
      'ipv4.nat': 'false',
      'ipv4.dhcp': 'false',
      'ipv4.routing': 'false',
      'ipv6.address': 'none',
      'dns.mode': 'none',
    });
    expect(local.lines()).toContain('ip rule add iif labbr0 priority 13013 protocol 213 prohibit');
  });

  it('gives each machine its own documents, disk and NIC', async () => {
    await up();
    expect(instance('k8sworker2').config).toMatchObject({
      'user.user-data': 'user-data of k8sworker2',
      'user.meta-data': 'instance-id: k8sworker2',
      'user.network-config': 'version: 1',
      'security.privileged': 'true',
    });
    expect(instance('k8sworker2').devices).toMatchObject({
      root: { type: 'disk', path: '/', pool: plan.lab },
      eth0: { type: 'nic', network: 'labbr0', name: 'eth0' },
    });
  });

  it('is seen as it is', async () => {
    expect(await driver.observe(plan.lab)).toEqual([]);
    await up();
    const seen = await driver.observe(plan.lab);
    expect(seen.filter(({ kind }) => kind === 'machine')).toEqual(
      NAMES.map((name) => ({ kind: 'machine', name, state: 'running' })),
    );
    const kinds = seen.map(({ kind }) => kind).filter((kind) => kind !== 'machine');
    expect(kinds.sort()).toEqual(['image', 'network', 'project', 'routing rule', 'storage pool']);
  });

  it('is seen to be cut off where somebody has removed its bridge', async () => {
    const detached: string[] = [];
    driver = incusDriver(fakeIpRules(detached), hostWith(server.stateDir));
    await up();
    detached.push('labbr0');
    const machines = (await driver.observe(plan.lab)).filter(({ kind }) => kind === 'machine');
    expect(new Set(machines.map(({ state }) => state))).toEqual(
      new Set(['cut off: the interface labbr0 of this host is gone']),
    );
    detached.pop();
    expect((await driver.observe(plan.lab)).some(({ state }) => state === 'running')).toBe(true);
  });

  it('tells where a machine answers', async () => {
    const secrets = newSecrets(plan.lab, NAMES);
    const reach = await driver.reach(plan, secrets, silent);
    expect(reach.map(({ name }) => name)).toEqual(NAMES);
    expect(reach.find(({ name }) => name === 'bgp')).toEqual({
      name: 'bgp',
      address: '192.168.13.39',
      user: 'root',
      privateKey: secrets.clientKey.privateKey,
      hostKey: secrets.hostKeys.bgp?.publicKey,
    });
    await expect(driver.reach(plan, newSecrets(plan.lab, []), silent)).rejects.toThrow('no SSH host key');
  });
});

describe('a lab that is there, whole or in part', () => {
  it('is not changed by a second run', async () => {
    await up();
    server.changes.length = 0;
    expect(await up()).toBe(false);
    expect(server.changes).toEqual([]);
  });

  it('is continued where it was left', async () => {
    await up();
    const project = server.projects.get(plan.lab);
    project?.instances.delete('routed');
    instance('bgp').status = 'Stopped';
    server.changes.length = 0;
    expect(await up()).toBe(true);
    expect([...server.changes].sort()).toEqual([
      'POST /1.0/instances',
      'PUT /1.0/instances/bgp/state',
      'PUT /1.0/instances/routed/state',
    ]);
  });

  it('gets the pool and bridge that a killed run did not come to', async () => {
    await driver.ensureHost(plan, silent);
    server.networks.clear();
    server.pools.clear();
    server.changes.length = 0;
    expect(await driver.ensureHost(plan, silent)).toBe(true);
    expect(server.changes).toEqual(['POST /1.0/storage-pools', 'POST /1.0/networks']);
  });

  it('says that the bridge is gone from the host, and looks for no machine over another way', async () => {
    const without = incusDriver(fakeIpRules(['labbr0']), hostWith(server.stateDir));
    await expect(without.ensureHost(plan, silent)).rejects.toMatchObject({
      message: expect.stringContaining('The interface labbr0 of this host is gone'),
      next: 'npx labdown --yes && npx labup --yes',
    });
  });

  it('gets over an image import that was stopped before it had its alias', async () => {
    await driver.ensureHost(plan, silent);
    server.failures.push({ request: /^POST .*aliases$/, error: 'killed' });
    await expect(driver.ensureImage(plan, image, silent)).rejects.toThrow('killed');
    server.failures.length = 0;
    expect(await driver.ensureImage(plan, image, silent)).toBe(true);
    expect(server.projects.get(plan.lab)?.images).toHaveLength(1);
  });

  it('gets another image beside the old one', async () => {
    await driver.ensureHost(plan, silent);
    await driver.ensureImage(plan, image, silent);
    expect(await driver.ensureImage(plan, imageOf('b'.repeat(64), 'other'), silent)).toBe(true);
    expect(server.projects.get(plan.lab)?.images).toHaveLength(2);
  });
});

describe('what is not ours', () => {
  it.each([
    [
      'project',
      () => server.projects.set(plan.lab, { ...foreign(plan.lab), images: [], instances: new Map() }),
    ],
    ['storage pool', () => server.pools.set(plan.lab, foreign(plan.lab, { [OWNER_KEY]: 'other-lab' }))],
    ['network', () => server.networks.set('labbr0', foreign('labbr0'))],
  ])('is refused and not touched: %s', async (what, plant) => {
    plant();
    const error = await driver.ensureHost(plan, silent).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toContain(`The ${what} "`);
    expect(server.changes).toEqual([]);
    await driver.remove(plan.lab, silent);
    expect(server.changes).toEqual([]);
  });

  it.each([
    ['without a label', {}],
    ["with another lab's label", { [OWNER_KEY]: 'other-lab' }],
  ])('is refused and not touched: an instance %s', async (_, config) => {
    await driver.ensureHost(plan, silent);
    await driver.ensureImage(plan, image, silent);
    const project = server.projects.get(plan.lab);
    project?.instances.set('bgp', {
      ...foreign('bgp', config),
      status: 'Stopped',
      devices: {},
      disk: '',
      snapshots: new Map(),
    });
    server.changes.length = 0;
    const error = await driver
      .ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toContain('An instance named bgp exists');
    expect(server.changes).toEqual([]);
  });

  it('is not removed with the lab, and said to be in the way', async () => {
    await up();
    const project = server.projects.get(plan.lab);
    project?.instances.set('mine', {
      ...foreign('mine'),
      status: 'Running',
      devices: {},
      disk: '',
      snapshots: new Map(),
    });
    await expect(driver.remove(plan.lab, silent)).rejects.toMatchObject({
      exitCode: 1,
      details: ['mine (running)'],
    });
    expect([...(project?.instances.keys() ?? [])]).toEqual(['mine']);
  });

  it('another lab and its things stay when this one goes', async () => {
    server.pools.set('default', foreign('default'));
    server.networks.set('labbr1', foreign('labbr1', { [OWNER_KEY]: 'other-lab' }));
    const other = { ...foreign('other-lab', { [OWNER_KEY]: 'other-lab' }), images: [], instances: new Map() };
    server.projects.set('other-lab', other);
    await up();
    await driver.remove(plan.lab, silent);
    expect([...server.projects.keys()]).toEqual(['other-lab']);
    expect([...server.pools.keys()]).toEqual(['default']);
    expect([...server.networks.keys()]).toEqual(['labbr1']);
  });
});

describe('a machine that was made otherwise', () => {
  it.each([
    ['from another image', imageOf('b'.repeat(64), 'other'), 'user-data'],
    ['from other documents', image, 'changed'],
  ])('%s is refused, and nothing is touched', async (_, other, userData) => {
    await up();
    await driver.ensureImage(plan, other, silent);
    server.changes.length = 0;
    const error = await driver
      .ensureMachines(plan, { image: other, cloudInit: documents(userData), clientKey: '' }, silent)
      .catch((each: unknown) => each);
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toContain('was made from another image, plan or key');
    expect(server.changes).toEqual([]);
  });
});

describe('failures', () => {
  it('name the machine that could not be made, and leave the others made', async () => {
    await driver.ensureHost(plan, silent);
    await driver.ensureImage(plan, image, silent);
    server.failures.push({ request: /PUT .*k8sworker2\/state/, error: 'Failed to run: forkstart' });
    const error = await driver
      .ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ message: 'Not made: k8sworker2.', exitCode: 1 });
    expect((error as { details: string[] }).details.join()).toMatch(
      /^k8sworker2: .*Failed to run: forkstart/,
    );
    const states = NAMES.map((name) => instance(name).status);
    expect(states.filter((status) => status === 'Running')).toHaveLength(NAMES.length - 1);
    server.failures.length = 0;
    expect(await driver.ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent)).toBe(
      true,
    );
    expect(instance('k8sworker2').status).toBe('Running');
  });

  it('do not come from a machine that is just being rebooted from within: it is not started a second time', async () => {
    await up();
    instance('k8sworker2').status = 'Stopped';
    server.changes.length = 0;
    const made = driver.ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent);
    setTimeout(() => {
      instance('k8sworker2').status = 'Running';
    }, 300);
    expect(await made).toBe(true);
    expect(server.changes).toEqual([]);
  });

  it('do not come from a start that a killed labup had asked for', async () => {
    await driver.ensureHost(plan, silent);
    await driver.ensureImage(plan, image, silent);
    const error = 'Failed to create instance start operation: Instance is busy running a "start" operation';
    server.failures.push({ request: /PUT .*k8sworker2\/state/, error });
    const made = driver.ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent);
    const starts = () => server.changes.filter((change) => /PUT .*k8sworker2\/state/.test(change)).length;
    await expect.poll(starts).toBeGreaterThan(1);
    server.failures.length = 0;
    expect(await made).toBe(true);
    expect(instance('k8sworker2').status).toBe('Running');
  });

  it('of the daemon carry its own words', async () => {
    server.failures.push({ request: /POST .*storage-pools/, error: 'no space left on device', code: 500 });
    await expect(driver.ensureHost(plan, silent)).rejects.toThrow('no space left on device');
  });

  it('say so where the daemon is gone, or the image', async () => {
    await driver.ensureHost(plan, silent);
    await expect(
      driver.ensureMachines(plan, { image, cloudInit: documents(), clientKey: '' }, silent),
    ).rejects.toThrow('image is not imported');
    await server.close();
    await expect(driver.ensureImage(plan, image, silent)).rejects.toThrow('does not answer');
  });
});

describe('removal', () => {
  it('takes everything, running or not, and can be repeated', async () => {
    await up();
    instance('bgp').status = 'Stopped';
    const events: LabEvent[] = [];
    await driver.remove(plan.lab, (event) => events.push(event));
    expect(events).toContainEqual({ type: 'note', text: 'removing k8smaster1' });
    expect([server.projects.size, server.pools.size, server.networks.size]).toEqual([0, 0, 0]);
    expect(local.lines()).toContain('ip rule del iif labbr0 priority 13013 protocol 213 prohibit');
    expect(await driver.observe(plan.lab)).toEqual([]);
    server.changes.length = 0;
    await driver.remove(plan.lab, silent);
    expect(server.changes).toEqual([]);
  });

  it('waits for a stop that a killed labdown had asked for', async () => {
    await up();
    const error = 'Failed to create instance delete operation: Instance is busy running a "stop" operation';
    server.failures.push({ request: /DELETE .*k8sworker1/, error });
    const removed = driver.remove(plan.lab, silent);
    const tries = () => server.changes.filter((request) => /DELETE .*k8sworker1/.test(request)).length;
    await expect.poll(tries).toBeGreaterThan(1);
    server.failures.length = 0;
    await removed;
    expect(server.projects.size).toBe(0);
  });

  it('takes a half-made lab', async () => {
    await driver.ensureHost(plan, silent);
    server.networks.clear();
    await driver.remove(plan.lab, silent);
    expect([server.projects.size, server.pools.size]).toEqual([0, 0]);
  });

  it('starts no daemon to look where another driver made the lab, and says so', async () => {
    await server.close();
    const events: LabEvent[] = [];
    const installed = hostWith(server.stateDir, { program: process.execPath });
    const away = incusDriver(local, installed);
    await away.remove(plan.lab, (event) => events.push(event), { elsewhere: true });
    expect(events).toEqual([
      { type: 'note', text: expect.stringContaining('containers were not looked for') },
    ]);
    expect(local.lines()).toEqual([]);
  });

  it('has nothing to do where no daemon is installed, and starts none', async () => {
    await server.close();
    await driver.remove(plan.lab, silent);
    expect(await driver.observe(plan.lab)).toEqual([]);
    expect(local.lines().filter((line) => !line.startsWith('ip '))).toEqual([]);
  });
});
