/**
 * Labs on virtual machines of Multipass, by way of the stand-in of test/doubles. In the order written. What the driver
 * does when things go wrong is in contract.lab.ts.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSpec } from '../../scripts/spec/load.ts';
import { Double } from './contract/double.ts';
import { whyNot } from './contract/harness.ts';
import { capture, changed, exemptBridged, expectPass, hostSnapshot, proveLab, Workplace } from './support.ts';

const LAB_PREFIXES = 'dst net 10.255.0.0/16 or dst net 10.96.0.0/12 or dst host 2.2.2.2 or dst host 5.5.5.5';

// labup asks for it as it would for the real one; the stand-in's machines do not need it.
const noVms = whyNot() ?? (existsSync('/dev/kvm') ? undefined : 'this host has no /dev/kvm');
if (noVms !== undefined) console.warn(`SKIPPED: the lab on Multipass: ${noVms}`);

describe.skipIf(noVms !== undefined)('the default lab on Multipass', () => {
  const double = new Double('lab-multipass', 5);
  const place = new Workplace({ ...double.env(), XDG_STATE_HOME: join(double.state, 'notes') });
  const driver = ['--driver', 'multipass'];
  const names = parseSpec('version: 1\n', 'lab.yaml').machines.map(({ name }) => name);
  let before: ReturnType<typeof hostSnapshot>;

  beforeAll(() => {
    before = hostSnapshot();
  });

  afterAll(async () => {
    await place.run('labdown', '--yes');
    await double.remove();
    rmSync(place.dir, { recursive: true });
  });

  it('comes up, and the matrix is right', async () => {
    expectPass(await place.run('labup', '--yes', ...driver));
    expect(await double.names()).toEqual([...names].sort());
    await proveLab(place);
    expect(await changed(place, ...driver)).toBe(false);
  });

  it('gives no secret to the command line or to what Multipass is told', () => {
    const secrets = JSON.parse(readFileSync(join(place.dir, '.lab/bgp-lab/secrets.json'), 'utf8')) as {
      clientKey: { privateKey: string };
      bgpPassword: string;
      joinToken: string;
    };
    const heard = double.heard();
    expect(heard).toContain('/etc/lab/owner');
    for (const secret of [secrets.bgpPassword, secrets.joinToken, 'PRIVATE KEY']) {
      expect(heard).not.toContain(secret);
    }
  });

  it('sends nothing for a lab prefix to its uplink, though every machine has a default route', async () => {
    const { stdout } = await place.exec('ubuntu', 'ip', 'route', 'show', 'default');
    const gateway = /default via (\S+)/.exec(stdout)?.[1];
    expect(gateway).toBeDefined();
    const link = await place.exec('ubuntu', 'ip', '-j', 'neigh', 'show', gateway ?? '');
    const [{ lladdr = '' } = {}] = JSON.parse(link.stdout) as { lladdr?: string }[];
    let inside: string[] = [];
    const outside = await capture(double.bridge, `ether dst ${lladdr} and (${LAB_PREFIXES})`, async () => {
      inside = await capture(double.bridge, LAB_PREFIXES, () => proveLab(place));
    });
    // The same filter without the gateway shows that it would have seen them.
    expect(inside.length).toBeGreaterThan(100);
    expect(outside).toEqual([]);
  });

  it('survives a restart of every machine', async () => {
    await double.call(['restart', ...names]);
    expectPass(await place.run('labup', ...driver));
    await proveLab(place);
  });

  it('goes with .lab/ deleted, and nothing is left', async () => {
    rmSync(join(place.dir, '.lab'), { recursive: true });
    expectPass(await place.run('labdown', '--yes'));
    expect(await double.names()).toEqual([]);
    await double.remove();
    expect(hostSnapshot()).toEqual(before);
  });
});

describe.skipIf(noVms !== undefined)('a small lab at the addresses that Multipass gives', () => {
  const double = new Double('lab-dhcp', 8);
  const place = new Workplace({ ...double.env(), XDG_STATE_HOME: join(double.state, 'notes') });
  const roles = { dmaster: 'control-plane', dworker: 'worker', dbgp: 'router', dclient: 'client' };
  const CELLS = 60;
  let takeBack: (() => void) | undefined;

  const plan = () =>
    JSON.parse(readFileSync(join(place.dir, '.lab/dhcplab/plan.json'), 'utf8')) as {
      machines: readonly { name: string; address: string }[];
    };
  const addressOf = (name: string) => plan().machines.find((each) => each.name === name)?.address;
  /** Another lease for each of them, one after the other. */
  const move = (...names: string[]) =>
    double.with({ newIpOnRestart: names }, async () => {
      await double.call(['stop', ...names]);
      for (const name of names) await double.call(['start', name]);
    });

  beforeAll(() => {
    const machines = Object.entries(roles).map(([name, role], index) => ({
      ...{ name, role, address: `192.168.13.${30 + index}` },
      ...(role === 'client' ? { routed: true } : {}),
    }));
    const multipass = { network: { mode: 'dhcp' } };
    const spec = { version: 1, name: 'dhcplab', driver: 'multipass', machines, multipass };
    writeFileSync(join(place.dir, 'lab.yaml'), JSON.stringify(spec));
  });

  afterAll(async () => {
    takeBack?.();
    await place.run('labdown', '--yes');
    await double.remove();
    rmSync(place.dir, { recursive: true });
  });

  it('comes up there, and the matrix is right', async () => {
    expectPass(await place.run('labup', '--yes'));
    takeBack = exemptBridged(double.bridge);
    for (const { address } of plan().machines) expect(address).toMatch(/^10\.66\.8\.\d+$/);
    await proveLab(place, CELLS);
  });

  it('follows machines that got other addresses, and sends nothing for a lab prefix to its uplink', async () => {
    const moved = ['dworker', 'dbgp', 'dclient'];
    const before = moved.map(addressOf);
    await move(...moved);
    expect(await changed(place)).toBe(true);
    for (const [index, name] of moved.entries()) expect(addressOf(name)).not.toBe(before[index]);
    const mac = readFileSync(`/sys/class/net/${double.bridge}/address`, 'utf8').trim();
    let inside: string[] = [];
    const outside = await capture(double.bridge, `ether dst ${mac} and (${LAB_PREFIXES})`, async () => {
      inside = await capture(double.bridge, LAB_PREFIXES, () => proveLab(place, CELLS));
    });
    expect(inside.length).toBeGreaterThan(50);
    expect(outside).toEqual([]);
  });

  it('refuses a control plane that got another one, and says what to do', async () => {
    const before = addressOf('dmaster');
    await move('dmaster');
    const { code, stderr } = await place.run('labup');
    expect(code).toBe(2);
    expect(stderr).toContain(`and the cluster on it was made with ${before}.`);
    expect(stderr).toContain('next:  npx labdown --yes && npx labup --yes');
    expect(addressOf('dmaster')).toBe(before);
  });

  it('goes, and nothing is left', async () => {
    expectPass(await place.run('labdown', '--yes'));
    expect(await double.names()).toEqual([]);
  });
});
