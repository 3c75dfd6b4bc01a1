/** labup --dry-run for every driver with every distribution and every source of artifacts that go together. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { fakeDriver } from '../fakes/driver.ts';
import { fakeLab, filesOf } from '../fakes/lab.ts';
import { MULTIPASS } from '../plan/doctor/good-host.ts';

const DRIVERS = ['incus', 'multipass', 'ssh'] as const;
const SOFTWARE = [
  { artifacts: 'debian', distribution: 'kubeadm', cni: 'bird', version: 'v1.20.2' },
  { artifacts: 'online', distribution: 'k3s', cni: 'calico', version: /^v1\.\d+\.\d+\+k3s\d$/ },
  { artifacts: 'online', distribution: 'kubeadm', cni: 'calico', version: /^v1\.\d+\.\d+$/ },
  { artifacts: 'bundle', distribution: 'k3s', cni: 'calico', version: 'v1.36.9+k3s1' },
  { artifacts: 'bundle', distribution: 'kubeadm', cni: 'calico', version: 'v1.36.9' },
  { artifacts: 'bundle', distribution: 'kubeadm', cni: 'bird', version: 'v1.20.2' },
] as const;

/** The default lab; for driver ssh on machines that exist. */
function specFor(driver: (typeof DRIVERS)[number]): string {
  if (driver !== 'ssh') return 'version: 1\n';
  const machine = (name: string, role: string, number: number) => ({
    name,
    role,
    address: `192.168.13.${number}`,
    ssh: { host: `${name}.example` },
  });
  const machines = [
    machine('k8smaster1', 'control-plane', 30),
    machine('k8sworker1', 'worker', 35),
    machine('bgp', 'router', 39),
  ];
  return stringify({ version: 1, machines });
}

interface BundleSoftware {
  readonly distribution: string;
  readonly cni: string;
  readonly version: string | RegExp;
}

function writeBundle(folder: string, { distribution, cni, version }: BundleSoftware): void {
  const file = (role: string) => ({ path: role, role, version: '1', sha256: '0'.repeat(64) });
  mkdirSync(folder);
  const versions = { kubernetes: String(version), ...(cni === 'calico' ? { calico: 'v3.32.1' } : {}) };
  const roles = distribution === 'k3s' ? ['k3s'] : ['kubelet', 'kubeadm'];
  const files = [...roles, 'image-archive'].map(file);
  const manifest = { schemaVersion: 1, architecture: 'amd64', distribution, cni, versions, files };
  writeFileSync(join(folder, 'bundle.yaml'), stringify(manifest));
}

const SECTIONS = [
  'Choices',
  'Machines',
  'Addresses',
  'BGP sessions',
  'Static routes',
  'Echo services',
  'Steps',
  'To install on the host',
  'To build or fetch',
  'Touched on the host',
];

describe.each(DRIVERS)('driver %s', (driver) => {
  it.each(SOFTWARE)(
    'with $distribution and $cni from $artifacts prints a complete plan',
    async (software) => {
      const { artifacts, distribution, cni, version } = software;
      const lab = fakeLab(specFor(driver));
      lab.facts = { multipass: MULTIPASS };
      lab.driver = { ...fakeDriver(), name: driver, machines: driver === 'incus' ? 'prebuilt' : 'plain' };
      if (artifacts === 'bundle') writeBundle(join(lab.cwd, 'bundle'), software);
      const before = filesOf(lab.cwd);
      const from = artifacts === 'bundle' ? 'bundle' : artifacts;
      const flags = ['--driver', driver, '--artifacts', from === 'bundle' ? './bundle' : from];
      const { code, out, err } = await lab.run('labup', [
        '--dry-run',
        ...flags,
        '--distribution',
        distribution,
      ]);
      expect(code, err).toBe(0);
      const titles = out.split('\n').filter((line) => /^\S/.test(line));
      expect(titles.filter((title) => SECTIONS.includes(title))).toEqual(SECTIONS);
      for (const [what, value] of Object.entries({ driver, distribution, artifacts, CNI: cni }))
        expect(out).toMatch(new RegExp(`^  ${what} +${value} `, 'm'));
      expect(/\(Kubernetes (\S+)\)/.exec(out)?.[1]).toMatch(version);
      expect(out).toContain(distribution === 'k3s' ? 'k3s server, while FRR' : 'kubeadm init, while FRR');
      // Only machines of the lab's own image with Debian's Kubernetes in it get nothing over SSH.
      const isPrebuilt = driver === 'incus' && artifacts === 'debian';
      expect(/^ +\d+\. Software$/m.test(out)).toBe(!isPrebuilt);
      expect(out).toContain(cni === 'calico' ? "Calico's IPAM gives to nodes" : 'a /26 per node');
      expect(out).not.toMatch(/undefined|NaN|\[object/);
      expect(filesOf(lab.cwd)).toEqual(before);
    },
  );
});

describe('a host that cannot take the lab', () => {
  it('gets the plan all the same, which says at what labup would stop', async () => {
    const lab = fakeLab();
    lab.missing = [{ name: 'k3s/k3s v1.36.9+k3s1', minutes: 1 }];
    lab.reachable = false;
    const planned = await lab.run('labup', ['--dry-run', '--artifacts', 'online']);
    expect([planned.code, planned.err]).toEqual([0, '']);
    expect(planned.out).toMatch(/^Steps$/m);
    expect(planned.out).toMatch(/^labup would stop here\n {2}- host: no internet: /m);
    const stopped = await lab.run('labup', ['--yes', '--artifacts', 'online']);
    expect(stopped.code).toBe(2);
    expect(stopped.err).toContain('these must be fetched or built: k3s/k3s v1.36.9+k3s1');
    expect(stopped.err).toContain('npx labup --artifacts debian (or the folder of a bundle)');
    expect(lab.driver.calls).toEqual([]);
  });
});

describe('choices that do not go together', () => {
  it.each([
    [['--artifacts', 'debian', '--distribution', 'k3s'], 'cannot be made from these artifacts'],
    [['--artifacts', './nothing'], 'is no bundle: there is no bundle.yaml in it'],
    [['--artifacts', 'bundle'], 'but no bundle folder is set'],
  ])('%j are refused', async (flags, says) => {
    const lab = fakeLab();
    const { code, err } = await lab.run('labup', ['--dry-run', ...flags]);
    expect(code).toBe(2);
    expect(err).toContain(says);
    expect(err).toMatch(/^next: {2}\S/m);
  });

  it.each([
    [{ distribution: 'k3s', cni: 'calico', version: 'v1.31.1+k3s1' }, 'cannot be made with k3s v1.31.1+k3s1'],
    [
      { distribution: 'k3s', cni: 'bird', version: 'v1.36.9+k3s1' },
      'cannot be made with k3s and the bird CNI',
    ],
    [{ distribution: 'kubeadm', cni: 'calico', version: 'v1.28.3' }, 'a cluster of Kubernetes v1.28.3'],
  ] as const)('a bundle of %j is refused before anything is touched', async (software, says) => {
    const lab = fakeLab();
    writeBundle(join(lab.cwd, 'bundle'), software);
    const { code, err } = await lab.run('labup', ['--dry-run', '--artifacts', './bundle']);
    expect(code).toBe(2);
    expect(err).toContain(says);
  });
});
