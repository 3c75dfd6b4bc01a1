import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { ObservedThing } from '../../scripts/machines/driver.ts';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';

let lab: FakeLab;
const dir = () => join(lab.cwd, '.lab', 'bgp-lab');
const ssh = (...words: string[]) => ['ssh', '-F', join(dir(), 'ssh_config'), ...words];
const kubectl = (...words: string[]) => [
  '/cache/kubectl',
  '--kubeconfig',
  join(dir(), 'kubeconfig'),
  '--cache-dir',
  join(dir(), 'kubectl-cache'),
  ...words,
];

let things: readonly ObservedThing[];

beforeAll(async () => {
  lab = fakeLab();
  await lab.run('labup', ['--yes']);
  things = lab.driver.things;
});
beforeEach(() => {
  lab.driver.things = [...things];
  lab.reply = () => undefined;
  lab.missing = [];
  lab.interactive.length = 0;
});

/** What one verb ran on the user's terminal. */
async function ran(...argv: string[]): Promise<readonly string[]> {
  const { code, out } = await lab.run('lab', argv);
  expect([code, out, lab.interactive.length]).toEqual([0, '', 1]);
  return lab.interactive[0] ?? [];
}

describe('lab ssh', () => {
  it("opens a session with the lab's key and pinned host keys", async () => {
    expect(await ran('ssh', 'bgp')).toEqual(ssh('bgp'));
    const config = readFileSync(join(dir(), 'ssh_config'), 'utf8');
    expect(config).toContain(
      'Host bgp\n  HostName 192.168.13.39\n  Port 22\n  User root\n  HostKeyAlias bgp\n',
    );
    expect(config).toContain('StrictHostKeyChecking yes');
    const hosts = readFileSync(join(dir(), 'known_hosts'), 'utf8').trim().split('\n');
    expect(hosts).toHaveLength(7);
    for (const line of hosts) expect(line).toMatch(/^[a-z0-9]+ ssh-ed25519 \S+$/);
  });

  it('knows its machines', async () => {
    const { code, err } = await lab.run('lab', ['ssh', 'nobody']);
    expect(code).toBe(2);
    expect(err).toContain('There is no machine "nobody" in this lab.');
    expect(err).toContain('machines: k8smaster1, ');
  });

  it('has no JSON, and says what has', async () => {
    const { code, out } = await lab.run('lab', ['ssh', '--json', 'bgp']);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error: { next: 'npx lab exec --json bgp -- COMMAND' } });
  });
});

describe('lab manifests', () => {
  it('prints whole objects for kubectl, with the ports and the namespace of lab.yaml, and needs no lab', async () => {
    const other = fakeLab();
    const spec = 'version: 1\necho: { namespace: demo, tcpPort: 7, udpPort: 8 }\n';
    writeFileSync(join(other.cwd, 'lab.yaml'), spec);
    const { code, out } = await other.run('lab', ['manifests']);
    const objects = parseAllDocuments(out).map((each) => each.toJS());
    expect([code, JSON.stringify(objects).includes('null')]).toEqual([0, false]);
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? metadata.name}`)).toEqual([
      'Namespace demo',
      ...Array(5).fill('Service demo'),
      ...Array(4).fill('Pod demo'),
    ]);
    const ports = objects.flatMap(({ spec }) => spec?.ports ?? []);
    expect(ports.map(({ port, targetPort }) => [port, targetPort])).toEqual([
      [7, 7],
      [7, 7],
      [7, 7],
      [8, 8],
    ]);
    const json = JSON.parse((await other.run('lab', ['manifests', '--json'])).out);
    expect(json).toEqual({ schemaVersion: 1, lab: 'bgp-lab', objects });
  });

  it('prints the other variant', async () => {
    const { out } = await lab.run('lab', ['manifests', '--echo', 'simple']);
    expect(out).toContain('externalTrafficPolicy: Cluster');
    expect(out).not.toContain('LoadBalancer');
  });
});

describe('lab exec', () => {
  it.each([
    [
      ['exec', 'bgp', '--', 'cat', '--help'],
      ['cat', '--help'],
    ],
    [
      ['exec', 'bgp', '--', 'curl', '--json', 'x'],
      ['curl', '--json', 'x'],
    ],
    [['exec', 'bgp', 'uptime'], ['uptime']],
    [
      ['exec', 'bgp', '--', 'sh', '-c', 'echo "a  b" | cat; exit 3'],
      ['sh', '-c', `'echo "a  b" | cat; exit 3'`],
    ],
    [
      ['exec', 'bgp', '--', 'echo', "it's", '', '*'],
      ['echo', `'it'\\''s'`, "''", "'*'"],
    ],
    [
      ['exec', 'bgp', '--', 'vtysh', '-c', 'show bgp summary'],
      ['vtysh', '-c', "'show bgp summary'"],
    ],
  ])('%j', async (argv, words) => {
    expect(await ran(...argv)).toEqual(ssh('bgp', ...words));
  });

  it('needs -- before options of the command', async () => {
    const { code, err } = await lab.run('lab', ['exec', 'bgp', 'ls', '-l']);
    expect(code).toBe(2);
    expect(err).toContain("unknown option '-l'");
    expect(lab.interactive).toEqual([]);
  });

  it('needs a command', async () => {
    const { code, err } = await lab.run('lab', ['exec', 'bgp']);
    expect([code, err.includes("missing required argument 'command'")]).toEqual([2, true]);
  });

  it.each([
    [['exec', '--json', 'bgp', '--', 'uptime', '-s']],
    [['exec', 'bgp', '--json', '--', 'uptime', '-s']],
  ])('%j gives one JSON document, and the code of the command', async (argv) => {
    lab.reply = (line) =>
      line.endsWith('uptime -s') ? { exitCode: 7, stdout: 'a\n', stderr: 'b\n' } : undefined;
    const { code, out } = await lab.run('lab', argv);
    expect(code).toBe(7);
    expect(JSON.parse(out)).toEqual({
      schemaVersion: 1,
      machine: 'bgp',
      command: ['uptime', '-s'],
      exitCode: 7,
      stdout: 'a\n',
      stderr: 'b\n',
    });
  });
});

describe('lab kubectl', () => {
  it.each([
    [['get', 'pods', '-A', '-o', 'json']],
    [['get', 'pods', '--json']],
    [['-n', 'echo-server', 'get', 'pods', '-f', 'x.yaml']],
    [['exec', 'echo-client1', '--', 'nc', '--help']],
    [['--help']],
    [[]],
  ])('hands on %j', async (words) => {
    expect(await ran('kubectl', ...words)).toEqual(kubectl(...words));
  });

  it('gives one JSON document where --json is ours', async () => {
    lab.reply = (line) => (line.endsWith('get pods') ? { exitCode: 1, stderr: 'forbidden' } : undefined);
    const { code, out } = await lab.run('lab', ['kubectl', '--json', 'get', 'pods']);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toEqual({
      schemaVersion: 1,
      command: ['kubectl', 'get', 'pods'],
      exitCode: 1,
      stdout: '',
      stderr: 'forbidden',
    });
  });

  it('does not start to build where the cache is gone', async () => {
    lab.missing = [{ name: 'Kubernetes', minutes: 5 }];
    const { code, err } = await lab.run('lab', ['kubectl', 'get', 'pods']);
    expect([code, lab.missing.length, lab.interactive]).toEqual([2, 1, []]);
    expect(err).toContain('npx labup --yes');
  });

  it("says an error of ours as text where --json is kubectl's", async () => {
    lab.missing = [{ name: 'Kubernetes', minutes: 5 }];
    const { code, out, err } = await lab.run('lab', ['kubectl', 'get', 'pods', '--json']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('missing: Kubernetes');
  });
});

describe('lab status', () => {
  it('shows machines, nodes and sessions of a lab that is up', async () => {
    const { code, out } = await lab.run('lab', ['status']);
    expect(code).toBe(0);
    expect(out).toMatch(/^lab "bgp-lab": up\n/);
    expect(out).toMatch(/k8sworker1 +worker +192\.168\.13\.35 +running +Ready +4\/4 established/);
    expect(out).toMatch(/ubuntu +client +192\.168\.13\.104 +running +- +-\n/);
  });

  it('shows what is wrong, does not wait for a machine that does not run, and exits 1', async () => {
    lab.driver.things = lab.driver.things.map((each) =>
      each.name === 'k8sworker2' ? { ...each, state: 'stopped' } : each,
    );
    lab.asked.length = 0;
    const { code, out } = await lab.run('lab', ['status', '--json']);
    expect(code).toBe(1);
    const status = JSON.parse(out) as { state: string; machines: { name: string; state: string }[] };
    expect(status).toMatchObject({ schemaVersion: 1, state: 'partial', problems: [] });
    expect(status.machines.find(({ name }) => name === 'k8sworker2')).toMatchObject({ state: 'stopped' });
    expect(lab.asked.join()).not.toContain('k8sworker2: ');
    expect(lab.asked.join()).toContain('k8sworker1: ');
  });

  it('says what could not be looked at, and starts no build for it', async () => {
    lab.missing = [{ name: 'Kubernetes', minutes: 5 }];
    const { code, out } = await lab.run('lab', ['status']);
    expect([code, lab.missing.length]).toEqual([1, 1]);
    expect(out).toContain("problem: The cache does not hold this lab's images and binaries any more.");
  });

  it('is absent, or partial without a state folder, where there is no plan', async () => {
    const empty = fakeLab();
    expect(await empty.run('lab', ['status'])).toMatchObject({ code: 1, out: 'lab "bgp-lab": absent\n' });
    empty.driver.things = lab.driver.things;
    expect((await empty.run('lab', ['status'])).out).toContain('lab "bgp-lab": partial');
  });
});

describe('lab logs', () => {
  it('shows the steps, the last of them', async () => {
    const { code, out } = await lab.run('lab', ['logs', '-n', '1']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ command: 'labup', step: 'snapshot', outcome: 'changed' });
    const all = (await lab.run('lab', ['logs', '--json'])).out;
    expect((JSON.parse(all) as { lines: string[] }).lines).toHaveLength(20);
  });

  it("shows a machine's journal", async () => {
    lab.asked.length = 0;
    expect((await lab.run('lab', ['logs', 'bgp', '-n', '50'])).code).toBe(0);
    expect(lab.asked).toEqual(['bgp: journalctl --boot --no-pager --lines 50']);
    expect((await lab.run('lab', ['logs', 'nobody'])).code).toBe(2);
    expect((await lab.run('lab', ['logs', '-n', '0'])).code).toBe(2);
  });
});

describe('the command line', () => {
  it('explains itself', async () => {
    for (const argv of [['--help'], ['exec', '--help'], ['help', 'status']]) {
      const { code, out, err } = await lab.run('lab', argv);
      expect([code, err]).toEqual([0, '']);
      expect(out).toContain('Usage: lab');
    }
    for (const bin of ['labup', 'labtest', 'labdown'] as const) {
      expect((await lab.run(bin, ['--help'])).out).toContain(`Usage: ${bin} [options]`);
    }
    expect((await lab.run('labup', ['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([[[]], [['bananas']], [['status', 'now']], [['status', '--bananas']]])(
    'refuses %j on standard error',
    async (argv) => {
      const { code, out, err } = await lab.run('lab', argv);
      expect([code, out]).toEqual([2, '']);
      expect(err).not.toBe('');
    },
  );

  it('finds the spec from any folder by an absolute path', async () => {
    const other = fakeLab();
    const { code } = await other.run('lab', ['up', '--dry-run', '--file', join(lab.cwd, 'lab.yaml')]);
    expect(code).toBe(0);
  });
});
