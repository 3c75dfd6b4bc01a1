/**
 * A lab on plain machines that somebody prepared by hand, some behind another one. In the order written. What the drivers
 * do when things go wrong is in contract.lab.ts; labs on Multipass are in multipass.long.ts.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSpec } from '../../scripts/spec/load.ts';
import { whyNot } from './contract/harness.ts';
import { PreparedMachines } from './contract/prepared.ts';
import { snapshotOf } from './contract/snapshot.ts';
import { changed, expectPass, proveLab, Workplace } from './support.ts';

const reason = whyNot();
if (reason !== undefined) console.warn(`SKIPPED: the lab on plain machines: ${reason}`);

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
