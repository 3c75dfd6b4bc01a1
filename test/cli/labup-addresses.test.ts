/** labup where only the running machines know the lab's addresses. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { FoundAddresses } from '../../scripts/plan/found.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';
import { MULTIPASS } from '../plan/doctor/good-host.ts';
import { defaultPlan } from '../plan/fixtures.ts';

const SPEC = 'version: 1\ndriver: multipass\nmultipass: { network: { mode: dhcp } }\n';

/** What the machines of the transcripts have. */
const RECORDED: FoundAddresses = {
  subnet: defaultPlan.network.subnet,
  hostAddress: defaultPlan.network.hostAddress,
  machines: new Map(defaultPlan.machines.map(({ name, address }) => [name, address])),
};

let lab: FakeLab;
let found: () => Promise<FoundAddresses>;

const savedPlan = () => JSON.parse(readFileSync(join(lab.cwd, '.lab/bgp-lab/plan.json'), 'utf8')) as LabPlan;

/** The node on that machine was made with an address, as its kubelet's flags say. */
function nodeMadeAt(machine: string, address: string): void {
  const { connect } = lab;
  lab.connect = async (target, timeoutMs) => {
    const remote = await connect(target, timeoutMs);
    if (target.name !== machine) return remote;
    return {
      ...remote,
      run: async (argv, options) =>
        argv.includes('/var/lib/kubelet/kubeadm-flags.env')
          ? { exitCode: 0, stdout: `--node-ip=${address}\n`, stderr: '' }
          : remote.run(argv, options),
    };
  };
}

beforeEach(() => {
  lab = fakeLab(SPEC);
  found = async () => RECORDED;
  Object.assign(lab.driver, { name: 'multipass', machines: 'plain', findAddresses: () => found() });
  lab.facts = { multipass: MULTIPASS };
});

describe('before there are machines', () => {
  it('no address is made up', async () => {
    const { code, out } = await lab.run('labup', ['--dry-run']);
    expect(code).toBe(0);
    expect(out).toContain('found at run time');
    expect(out).not.toMatch(/192\.168\.13\.|labbr0|:6443/);
    expect(out).toContain('via bgp');
  });
});

describe('the addresses that were found', () => {
  it('are those of the plan that is kept, also by a second labup', async () => {
    const first = await lab.run('labup', ['--yes']);
    expect([first.code, first.err]).toEqual([0, expect.stringContaining('the lab is in 192.168.13.0/24')]);
    expect(savedPlan()).toMatchObject({
      network: { subnet: '192.168.13.0/24', hostAddress: '192.168.13.1' },
      kubernetes: { apiServer: '192.168.13.30:6443' },
    });
    expect(savedPlan().bgp.peerings).toEqual(defaultPlan.bgp.peerings);
    const before = savedPlan();
    const second = await lab.run('labup', ['--yes']);
    expect([second.code, second.err]).toEqual([0, expect.stringContaining('Machines: ok, nothing changed')]);
    expect(savedPlan()).toEqual(before);
  });

  it('are what --json tells', async () => {
    const { out } = await lab.run('labup', ['--yes', '--json']);
    expect(out).not.toContain('found at run time');
  });

  it('stay known where a later labup does not come to asking', async () => {
    await lab.run('labup', ['--yes']);
    const before = savedPlan();
    found = async () => {
      throw new LabFailure('Not running: bgp.');
    };
    expect((await lab.run('labup', ['--yes'])).code).toBe(1);
    expect(savedPlan()).toEqual(before);
  });

  it('are no other plan, but another lab.yaml is', async () => {
    await lab.run('labup', ['--yes']);
    writeFileSync(join(lab.cwd, 'lab.yaml'), `${SPEC}bgp: { clusterAsn: 65010 }\n`);
    const { code, err } = await lab.run('labup', ['--yes']);
    expect(code).toBe(2);
    expect(err).toContain('  bgp.clusterAsn: 65001 when the lab was made, now 65010\nnext:');
  });
});

describe('addresses that the lab cannot have', () => {
  it('end labup before anything is done in a machine', async () => {
    const at = (n: number) => `10.97.0.${n}`;
    const machines = new Map([...RECORDED.machines.keys()].map((name, index) => [name, at(10 + index)]));
    found = async () => ({ subnet: at(0).concat('/24'), hostAddress: at(1), machines });
    const { code, err } = await lab.run('labup', ['--yes']);
    expect([code, lab.asked]).toEqual([2, []]);
    expect(err).toContain('10.96.0.0/12 of kubernetes.serviceCidr overlaps 10.97.0.0/24');
    expect(err).toMatch(/next: {2}npx labdown --yes, change lab\.yaml, then npx labup --yes/);
  });

  it('are those of a control plane that has moved; the plan that was kept stays', async () => {
    await lab.run('labup', ['--yes']);
    const before = savedPlan();
    nodeMadeAt('k8smaster1', '192.168.13.30');
    lab.asked.length = 0;
    found = async () => ({
      ...RECORDED,
      machines: new Map([...RECORDED.machines, ['k8smaster1', '192.168.13.99']]),
    });
    for (const _ of ['once', 'and again']) {
      const { code, err } = await lab.run('labup', ['--yes']);
      expect(code).toBe(2);
      expect(err).toContain(
        'k8smaster1 has 192.168.13.99 now, and the cluster on it was made with 192.168.13.30',
      );
      expect(err).toMatch(/next: {2}npx labdown --yes && npx labup --yes/);
    }
    expect(savedPlan()).toEqual(before);
    expect(lab.asked.filter((line) => !/: (cat \/run\/cloud-init|test -e)/.test(line))).toEqual([]);
  });
});
