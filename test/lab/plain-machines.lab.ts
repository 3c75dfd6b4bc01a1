/**
 * Labs on plain machines: virtual machines of Multipass, by way of the stand-in of test/doubles, and machines that
 * somebody prepared by hand. In the order written. What the drivers do when things go wrong is in contract.lab.ts.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportSchema } from '../../scripts/report/json.ts';
import { parseSpec } from '../../scripts/spec/load.ts';
import { Double } from './contract/double.ts';
import { whyNot } from './contract/harness.ts';
import { PreparedMachines } from './contract/prepared.ts';
import { snapshotOf } from './contract/snapshot.ts';
import { capture, type Ended, exemptBridged, hostSnapshot, Workplace } from './support.ts';

const reason = whyNot();
if (reason !== undefined) console.warn(`SKIPPED: the lab on plain machines: ${reason}`);

const LAB_PREFIXES = 'dst net 10.255.0.0/16 or dst net 10.96.0.0/12 or dst host 2.2.2.2 or dst host 5.5.5.5';

function expectPass({ code, stderr, stdout }: Ended): void {
  expect(code, `${stdout.slice(-3000)}\n${stderr.slice(-3000)}`).toBe(0);
}

async function proveLab(place: Workplace, cells = 90): Promise<void> {
  const ended = await place.run('labtest', '--json');
  expectPass(ended);
  const { summary } = reportSchema.parse(JSON.parse(ended.stdout));
  expect(summary.planned).toBeGreaterThanOrEqual(cells);
  expect(summary.passed).toBe(summary.planned);
}

async function changed(place: Workplace, ...args: string[]): Promise<boolean> {
  const ended = await place.run('labup', '--json', ...args);
  expectPass(ended);
  return (JSON.parse(ended.stdout) as { changed: boolean }).changed;
}

// labup asks for it as it would for the real one; the stand-in's machines do not need it.
const noVms = reason ?? (existsSync('/dev/kvm') ? undefined : 'this host has no /dev/kvm');
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

describe.skipIf(reason !== undefined)('a lab on machines that exist already', () => {
  const prepared = new PreparedMachines('lab-ssh', 6);
  const place = new Workplace({ XDG_STATE_HOME: join(prepared.double.state, 'notes') });
  // One worker of the default lab is enough: what is tried here is how machines are reached and changed.
  const machines = parseSpec('version: 1\n', 'lab.yaml').machines.filter(
    ({ name }) => !['k8sworker2', 'k8sworker3'].includes(name),
  );
  const CELLS = 60;
  /** Their users differ, and so do their names from those of the lab. */
  const host = (index: number) => `host${index + 1}`;
  const user = (index: number) => (index % 2 === 0 ? 'root' : 'admin');
  /** Some are behind this one: it is not in the lab, and this host has no other way to them. */
  const gate = 'gate';
  const isBehind = (index: number) => index % 3 === 0;
  const behind = [...machines.keys()].filter(isBehind).map((index) => host(index));
  let gateBefore: readonly string[];

  beforeAll(async () => {
    const others = [...machines.keys()];
    await prepared.add(gate);
    for (let index = 0; index < others.length; index += 2) {
      await Promise.all(others.slice(index, index + 2).map((each) => prepared.add(host(each))));
    }
    const list = machines.map((machine, index) => ({
      ...machine,
      ...(machine.role === 'client' ? {} : { routed: undefined }),
      ssh: {
        ...(isBehind(index)
          ? prepared.specBehind(gate, host(index), user(index))
          : prepared.spec(host(index), user(index))),
        knownHosts: prepared.knownHosts,
      },
    }));
    // JSON is YAML.
    writeFileSync(
      join(place.dir, 'lab.yaml'),
      JSON.stringify({ version: 1, name: 'ssh-lab', machines: list }),
    );
    gateBefore = await snapshotOf(prepared, gate);
    for (const name of behind) await prepared.hide(name);
  });

  afterAll(async () => {
    // By its name: where nothing was prepared, lab.yaml is the default lab's.
    await place.run('labdown', '--yes', '--name', 'ssh-lab');
    for (const name of [gate, ...behind]) await prepared.show(name);
    await prepared.double.remove();
    rmSync(place.dir, { recursive: true });
  });

  it('asks before it changes them', async () => {
    const { code, stderr } = await place.run('labup');
    expect(code).toBe(2);
    expect(stderr).toMatch(/would change bgp: \w+@10\.66\.6\.\d+: .*frr/);
  });

  it('comes up, and the matrix is right', async () => {
    expectPass(await place.run('labup', '--yes'));
    await proveLab(place, CELLS);
    expect(await changed(place)).toBe(false);
  });

  it('is looked at and used through the jump host', async () => {
    expectPass(await place.run('lab', 'status'));
    expectPass(await place.exec('k8smaster1', 'true'));
    const nodes = await place.kubectl('get', 'nodes', '-o', 'name');
    expectPass(nodes);
    expect(nodes.stdout.trim().split('\n')).toHaveLength(2);
    expectPass(await place.run('lab', 'logs', 'k8smaster1'));
  });

  it('says what is wrong with the jump host, and is well again with it', async () => {
    const file = '/etc/ssh/sshd_config.d/00-no-forwarding.conf';
    const reload = 'systemctl reload ssh.service';
    await prepared.root(gate, `echo 'AllowTcpForwarding no' > ${file} && ${reload}`);
    const refused = await place.run('labtest');
    await prepared.root(gate, `rm ${file} && ${reload}`);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/jump host guest@\S+ refuses to forward connections[\s\S]*next: +ssh /);
    await prepared.hide(gate);
    const unreachable = await place.run('labtest');
    const status = await place.run('lab', 'status');
    await prepared.show(gate);
    expect(unreachable.code).toBe(4);
    expect(unreachable.stderr).toMatch(/jump host guest@\S+ failed[\s\S]*next: +ssh /);
    expect(status.code).toBe(1);
    expect(status.stdout).toMatch(/k8smaster1 .*unreachable[\s\S]*jump host guest@\S+ failed/);
    expectPass(await place.run('lab', 'status'));
  });

  it('goes, and the machines stay', async () => {
    expectPass(await place.run('labdown', '--yes', '--purge'));
    for (const name of behind) await prepared.show(name);
    expect(await prepared.double.names()).toEqual([gate, ...machines.map((_, index) => host(index))].sort());
    expect(await snapshotOf(prepared, gate)).toEqual(gateBefore);
    for (const index of machines.keys()) {
      expect(
        await prepared.root(host(index), 'ls -d /etc/lab /var/lib/lab /etc/kubernetes 2>&1 || true'),
      ).not.toMatch(/^\//m);
    }
  });
});
