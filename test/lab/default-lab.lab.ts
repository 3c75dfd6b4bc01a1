/**
 * The real lab on this machine: brought up, proven, broken, repaired, removed. In the order written; each part leaves
 * the lab as the next one needs it. Needs root on Debian and, for the first run, a package mirror.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { reportSchema } from '../../scripts/report/json.ts';
import { packageRoot } from '../../scripts/shared/files.ts';
import { proveCalicoResources } from './calico-crds.ts';
import { proveJoinedNode } from './joined-node.ts';
import {
  capture,
  changed,
  expectPass,
  host,
  hostSnapshot,
  until,
  Workplace,
  writtenSince,
} from './support.ts';

const canRun = process.platform === 'linux' && process.getuid?.() === 0;
if (!canRun) console.warn('SKIPPED: the lab tier needs root on a Linux host');

describe.skipIf(!canRun)('the default lab', () => {
  // Nothing of the lab belongs in the home folder but the cache.
  const home = mkdtempSync(join(tmpdir(), 'home-'));
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const place = new Workplace({ HOME: home, XDG_CACHE_HOME: cache });
  const { dir } = place;
  /** As old as the second labup. */
  const marker = join(dir, 'marker');

  afterAll(async () => {
    await place.run('labdown', '--yes');
    for (const each of [dir, home]) rmSync(each, { recursive: true });
  });

  const proveLab = async () => {
    const ended = await place.run('labtest', '--json');
    expectPass(ended);
    const report = reportSchema.parse(JSON.parse(ended.stdout));
    expect(report.summary.harness).toBe(0);
    return report;
  };

  let before: ReturnType<typeof hostSnapshot>;

  it('labup builds what is missing and brings the lab up', async () => {
    // First, so that packages and cache are there and "before" is the host between two labs.
    expectPass(await place.run('labup', '--yes'));
    expectPass(await place.run('labdown', '--yes'));
    before = hostSnapshot();
    writeFileSync(marker, '');
    expectPass(await place.run('labup', '--yes'));
  });

  it('labup again changes nothing', async () => {
    const ended = await place.run('labup', '--json');
    expectPass(ended);
    const { changed, durationMs } = JSON.parse(ended.stdout) as { changed: boolean; durationMs: number };
    console.info(`labup on a lab that is up: ${durationMs} ms`);
    expect(changed).toBe(false);
  });

  it('labtest proves it, in at least 90 cells and without a harness error', async () => {
    const report = await proveLab();
    console.info(`labtest: ${report.summary.planned} cells in ${report.durationMs} ms`);
    expect(report.summary.planned).toBeGreaterThanOrEqual(90);
    expect(report.summary.passed).toBe(report.summary.planned);
  });

  it('labup, labtest and kubectl write nothing outside .lab/ and the cache', async () => {
    expectPass(await place.kubectl('get', 'nodes'));
    expectPass(await place.run('lab', 'status'));
    expect([...writtenSince(marker), ...readdirSync(home, { recursive: true })]).toEqual([]);
  });

  proveJoinedNode(place, 'k8sworker3');

  proveCalicoResources(place);

  describe('by hand, with nc', () => {
    const nc = (machine: string, address: string, port: string) =>
      place.exec(machine, 'sh', '-c', `echo hello | nc -w 2 ${address} ${port}`);
    const pod = async (name: string) =>
      (
        await place.kubectl('get', 'pod', '-n', 'echo-server', name, '-o', 'jsonpath={.status.podIP}')
      ).stdout.trim();

    it.each([1, 2, 3])('ubuntu reaches worker %i: its own pod answers and sees ubuntu', async (n) => {
      const { stdout } = await nc('ubuntu', `192.168.13.3${4 + n}`, '31234');
      expect(stdout).toMatch(/^\w{3} \w{3} +\d+ \d\d:\d\d:\d\d UTC \d{4}$/m);
      expect(stdout).toContain(`Server: ${await pod(`echo-server${n}`)}:1234`);
      expect(stdout).toContain('Client: 192.168.13.104:');
      expect(stdout).toContain('hello');
    });

    it("the master's NodePort does not answer", async () => {
      const { code, stdout } = await nc('ubuntu', '192.168.13.30', '31234');
      expect(stdout).toBe('');
      expect(code).not.toBe(0);
    });

    it('ubuntu has no way to 2.2.2.2', async () => {
      const { code, stderr } = await place.exec('ubuntu', 'nc', '-v', '-w', '2', '2.2.2.2', '1234');
      expect(code).not.toBe(0);
      expect(stderr).toContain('unreachable');
    });

    it.each([
      ['bgp', '192.168.13.39'],
      ['routed', '192.168.13.40'],
    ])('%s reaches 2.2.2.2 and is seen as itself', async (machine, address) => {
      const { stdout } = await nc(machine, '2.2.2.2', '1234');
      expect(stdout).toContain(`Client: ${address}:`);
    });

    it('the client pod reaches a server by name, on TCP and UDP', async () => {
      const inPod = (command: string) =>
        place.kubectl('exec', '-n', 'echo-server', 'echo-client1', '--', 'sh', '-c', command);
      expect((await inPod('echo hello | nc -w 2 server2.headless 1234')).stdout).toContain('hello');
      const udp = await inPod('echo hello | nc -u -w 1 server2.headless 5678');
      expect(udp.stdout).toContain(`Server: ${await pod('echo-server2')}:5678`);
      expect((await inPod('nslookup headless.echo-server.svc.cluster.local')).stdout).toContain(
        await pod('echo-server3'),
      );
    });
  });

  describe('safety', () => {
    const uplink = /default .*?dev (\S+)/.exec(host('ip', 'route'))?.[1];
    // The host's own name server may lie in one of the prefixes; that is not lab traffic.
    const resolvers = [...host('cat', '/etc/resolv.conf').matchAll(/^nameserver (\S+)/gm)].map(
      ([, ip]) => ip,
    );
    const prefixes = 'net 10.255.0.0/16 or net 10.96.0.0/12 or host 2.2.2.2 or host 5.5.5.5';
    const filter = [`(${prefixes})`, ...resolvers.map((ip) => `not host ${ip}`)].join(' and ');

    it.skipIf(uplink === undefined)('no packet for a lab prefix leaves by the uplink', async () => {
      let inside: string[] = [];
      const outside = await capture(uplink ?? '', filter, async () => {
        inside = await capture('labbr0', filter, async () => {
          await proveLab();
        });
      });
      // The same filter on the lab's own bridge shows that it would have seen them.
      expect(inside.length).toBeGreaterThan(100);
      expect(outside).toEqual([]);
    });

    it('the host refuses to forward for the lab', () => {
      const lookup = ['route', 'get', '2.2.2.2', 'from', '192.168.13.104', 'iif', 'labbr0'];
      expect(host('ip', ...lookup)).toBe('');
      expect(host('ip', 'rule')).toMatch(/iif labbr0 .*prohibit/);
    });

    it('no machine has a default route', async () => {
      for (const machine of ['k8smaster1', 'k8sworker1', 'bgp', 'routed', 'ubuntu']) {
        expect((await place.exec(machine, 'ip', 'route', 'show', 'default')).stdout).toBe('');
      }
    });
  });

  it('selftest finds every fault that it makes, and leaves the lab as it was', {
    timeout: 10 * 60_000,
  }, async () => {
    const { code, stdout, stderr } = await place.run('labtest', 'selftest', '--json');
    expect(code, `${stdout.slice(-3000)}\n${stderr.slice(-3000)}`).toBe(0);
    const { faults } = JSON.parse(stdout) as { faults: readonly { id: string; verdict: string }[] };
    // It takes Calico.
    const others = faults.filter(({ verdict }) => verdict !== 'found').map(({ id }) => id);
    expect(others).toEqual(['pod-gateway-missing']);
  });

  it('every scenario shows what it must, and leaves the lab as it was', {
    timeout: 30 * 60_000,
  }, async () => {
    expectPass(await place.run('lab', 'scenario', 'run', '--all', '--strict', '--junit', 'scenarios.xml'));
    expect(readFileSync(join(dir, 'scenarios.xml'), 'utf8')).toMatch(/<testsuites [^>]*failures="0"/);
    const { stdout } = await place.kubectl('get', 'namespaces', '-o', 'name');
    expect(stdout).not.toContain('namespace/lab-');
    await proveLab();
  });

  describe('when things change', () => {
    const nextHops = async (): Promise<readonly string[]> => {
      const { stdout } = await place.exec('bgp', 'ip', 'route', 'show', '2.2.2.2');
      return [...stdout.matchAll(/via (\S+)/g)].map(([, ip]) => ip ?? '').sort();
    };
    const endpoints = async () =>
      (
        await place.kubectl(
          'get',
          'endpoints',
          '-n',
          'echo-server',
          'echo-lb-tcp',
          '-o',
          'jsonpath={.subsets}',
        )
      ).stdout;

    it("the router's next hops follow within 3 s when a worker's last pod goes", async () => {
      expect(await nextHops()).toEqual(['192.168.13.35', '192.168.13.36', '192.168.13.37']);
      expectPass(await place.kubectl('delete', 'pod', '-n', 'echo-server', 'echo-server3', '--wait=false'));
      await until(
        'the endpoint to be gone',
        60_000,
        async () => !(await endpoints()).includes('echo-server3'),
      );
      const took = await until(
        'the next hop to be gone',
        30_000,
        async () => (await nextHops()).length === 2,
      );
      console.info(`next hop withdrawn ${Math.round(took)} ms after the endpoint`);
      expect(took).toBeLessThan(3000);
      expect(await nextHops()).toEqual(['192.168.13.35', '192.168.13.36']);
      // kubelet 1.20 keeps a pod whose containers are gone until its next garbage collection (every minute), and tells the
      // API up to 10 s later.
      await until('the pod to be gone', 90_000, async () =>
        (await place.kubectl('get', 'pod', '-n', 'echo-server', 'echo-server3')).stderr.includes('NotFound'),
      );
    });

    it('labtest passes on what is there now', async () => {
      const report = await proveLab();
      expect(report.summary.passed).toBe(report.summary.planned);
    });

    it('labup brings the pod back', async () => {
      expectPass(await place.run('labup'));
      expect((await nextHops()).length).toBe(3);
    });

    it('a worker that was restarted behind our back is healed by labup', async () => {
      expectPass(await place.exec('k8sworker2', 'true'));
      await place.exec('k8sworker2', 'systemctl', 'reboot', '--force');
      expectPass(await place.run('labup'));
      await proveLab();
    });

    it('the echo-simple variant works, and back', async () => {
      expectPass(await place.run('labup', '--echo', 'simple'));
      const simple = await proveLab();
      expect(simple.cells.some(({ to }) => to.includes('echo-lb-tcp'))).toBe(false);
      expectPass(await place.run('labup'));
      await proveLab();
    });
  });

  describe('nginx, in a namespace of its own', () => {
    /** Every cell is as predicted, and every answer came from a known pod that saw a known client. */
    const proveNginx = async (pods: number) => {
      const { code, stdout, stderr } = await place.run('labtest', '--namespace', 'web', '--json');
      // 0 or 1: there is a report.
      expect([0, 1], `${stdout.slice(-3000)}\n${stderr.slice(-3000)}`).toContain(code);
      const { checks, cells } = reportSchema.parse(JSON.parse(stdout));
      const right = ['passed', 'skipped'];
      expect([...cells, ...checks].filter(({ verdict }) => !right.includes(verdict))).toEqual([]);
      expect(code).toBe(0);
      const answered = cells.filter(({ expected }) => expected.outcome === 'ok');
      for (const { id, observed, expected } of answered) {
        expect(observed?.httpStatus, id).toBe(200);
        expect(expected.servers, id).toContain(observed?.server);
        expect(expected.clients, id).toContain(observed?.client);
      }
      const targets = new Set(answered.map(({ id }) => id.slice(id.indexOf('>') + 1)));
      for (const to of ['inside/cluster-ip:80', 'outside/2.2.2.2:80'])
        expect(targets).toContain(`web/${to}/tcp`);
      expect([...targets].filter((to) => to.startsWith('pod/web/'))).toHaveLength(pods);
      // From outside: with policy Local a node's own processes are led to any pod.
      return answered.filter(({ id }) => id.startsWith('ubuntu>web/node-port/k8s')).length;
    };
    const settle = async () => {
      expectPass(await place.kubectl('rollout', 'status', 'deployment/nginx', '-n', 'web', '--timeout=60s'));
      // A rollout is over when the new pods are Ready; kube-proxy's rules on each node follow within about a second.
      await until('the rules of all nodes to lead to the endpoints only', 20_000, async () => {
        const path = 'jsonpath={.subsets[*].addresses[*].ip}';
        const { stdout: ready } = await place.kubectl('get', 'endpoints', '-n', 'web', 'inside', '-o', path);
        const rules = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'].map((node) =>
          place.exec(node, 'iptables-save', '-t', 'nat'),
        );
        return (await Promise.all(rules)).every(({ stdout }) => {
          const backends = [...stdout.matchAll(/"web\/inside:http".*--to-destination ([\d.]+):/g)];
          return (
            backends
              .map(([, ip]) => ip)
              .sort()
              .join(' ') === ready.split(' ').sort().join(' ')
          );
        });
      });
    };

    it('is followed through a scale, a rollout and a change of policy', async () => {
      expectPass(await place.kubectl('apply', '-f', join(packageRoot, 'test/lab/nginx.yaml')));
      await settle();
      expect(await proveNginx(1)).toBe(4);
      expectPass(await place.kubectl('scale', 'deployment/nginx', '-n', 'web', '--replicas=2'));
      await settle();
      await proveNginx(2);
      expectPass(await place.kubectl('rollout', 'restart', 'deployment/nginx', '-n', 'web'));
      await settle();
      await proveNginx(2);
      const local = JSON.stringify({ spec: { externalTrafficPolicy: 'Local' } });
      expectPass(await place.kubectl('patch', 'service', 'node-port', '-n', 'web', '-p', local));
      expect(await proveNginx(2)).toBeLessThan(4);
    });
  });

  describe('lab snapshot and lab reset', () => {
    const namespaces = async () => (await place.kubectl('get', 'namespaces', '-o', 'name')).stdout;
    const back = async (...command: string[]) => {
      const ended = await place.run('lab', ...command, '--json');
      expectPass(ended);
      const { durationMs } = JSON.parse(ended.stdout) as { durationMs: number };
      console.info(`lab ${command.join(' ')}: ${durationMs} ms`);
      await proveLab();
    };

    it('brings back a lab that has lost a namespace, the Kubernetes of a worker and the sessions of its router', async () => {
      expectPass(await place.kubectl('create', 'namespace', 'mine'));
      expectPass(await place.run('lab', 'snapshot', 'save', 'mine'));
      expectPass(await place.kubectl('delete', 'namespace', 'mine', 'echo-server', '--wait=false'));
      const gone =
        'systemctl stop kubelet && rm -rf /etc/kubernetes && iptables -I INPUT -p tcp --dport 179 -j DROP';
      expectPass(await place.exec('k8sworker1', 'sh', '-c', gone));
      expectPass(await place.exec('bgp', 'vtysh', '-c', 'configure terminal', '-c', 'no router bgp 65000'));
      await back('snapshot', 'restore', 'mine');
      expect(await namespaces()).toContain('namespace/mine\n');
    });

    it('what was half made is shown, not restored, and removed', async () => {
      expectPass(await place.run('lab', 'snapshot', 'save', 'half'));
      rmSync(join(dir, '.lab', 'bgp-lab', 'snapshots', 'half.json'));
      expect((await place.run('lab', 'snapshot', 'list')).stdout).toContain('incomplete: half made');
      expect((await place.run('lab', 'snapshot', 'restore', 'half')).code).toBe(2);
      expectPass(await place.run('lab', 'snapshot', 'remove', 'half'));
      expect((await place.run('lab', 'snapshot', 'list')).stdout).not.toContain('half');
    });

    it('a save that was killed leaves nothing that labup does not put right', async () => {
      const save = place.start('lab', 'snapshot', 'save', 'killed');
      const list = ['list', '--project', 'bgp-lab', '--format', 'csv'];
      const frozen = () => (host('lxc', ...list) + host('incus', ...list)).includes('FROZEN');
      await until('the machines to be frozen', 60_000, async () => frozen() || save.exitCode !== null);
      save.kill('SIGKILL');
      expectPass(await place.run('labup', '--yes'));
      expect(frozen()).toBe(false);
      await proveLab();
    });

    it('lab reset goes back to what labup made', async () => {
      await back('reset');
      expect(await namespaces()).not.toContain('namespace/mine\n');
      expect(await changed(place)).toBe(false);
      const { stdout } = await place.exec(
        'ubuntu',
        'systemctl',
        'show',
        '-p',
        'StatusText',
        'lab-cloud-init',
      );
      expect(stdout).toBe('StatusText=bootcmd has run\n');
    });
  });

  describe('labdown', () => {
    it('works with .lab/ deleted and leaves nothing', async () => {
      rmSync(join(dir, '.lab'), { recursive: true });
      expectPass(await place.run('labdown', '--yes'));
      expect(hostSnapshot()).toEqual(before);
      expect([...writtenSince(marker), ...readdirSync(home, { recursive: true })]).toEqual([]);
    });

    it('on nothing is no error', async () => {
      expectPass(await place.run('labdown', '--yes'));
    });
  });
});
