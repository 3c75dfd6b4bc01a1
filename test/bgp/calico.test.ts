import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ensureAssignment } from '../../scripts/bgp/calico/load-balancer.ts';
import { unsettled } from '../../scripts/bgp/calico/node-status.ts';
import { parseCalicoObjects, readCalicoObjects } from '../../scripts/bgp/calico/objects.ts';
import { calicoSettings, podBlocksOf } from '../../scripts/bgp/calico/settings.ts';
import { calicoCni } from '../../scripts/bgp/calico.ts';
import { birdCni, cniOf } from '../../scripts/bgp/choose-cni.ts';
import type { ClusterContext } from '../../scripts/cluster/distribution.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import type { FileRole, Software } from '../../scripts/plan/software.ts';
import { machinesOf } from '../../scripts/plan/types.ts';
import { sessionsOf } from '../../scripts/render/sessions.ts';
import { HarnessError, Interrupted, LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { type LabEvent, silent } from '../../scripts/shared/events.ts';
import { CALICO_MANIFEST } from '../fakes/bundle.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';
import { calicoPlan, labPlan, labSecrets } from '../render/fixture.ts';

const plan = calicoPlan();
const secrets = labSecrets(plan);
const encoded = Buffer.from(secrets.bgpPassword).toString('base64');
const NODES = machinesOf(plan, 'control-plane', 'worker');
const context = (more: Partial<ClusterContext> = {}): ClusterContext => ({
  plan,
  secrets,
  emit: silent,
  ...more,
});

/** A cluster by what it says to kubectl; what it does not know is not found. */
function cluster(reply: (line: string, input: string) => Reply | undefined) {
  const executor = recordingExecutor((argv, { input }) => {
    const line = argv.slice(7).join(' ');
    return reply(line, String(input ?? '')) ?? { exitCode: 1, stderr: `(NotFound): ${line}` };
  });
  const lab = mkdtempSync(join(folder, 'lab-'));
  return {
    executor,
    kubectl: kubectlWith(executor, { binary: '/cache/kubectl', kubeconfig: join(lab, 'kubeconfig') }),
  };
}

const json = (value: unknown): string => JSON.stringify(value);
const status = (name: string, types: Readonly<Record<string, string>>, message = '') => ({
  metadata: { name },
  status: { conditions: Object.entries(types).map(([type, is]) => ({ type, status: is, message })) },
});

/** CalicoNodeStatus objects of a lab in which every session is up, changed by the test. */
function nodeStatuses(change: (peer: { peerIP: string; state: string }, node: string) => void = () => {}) {
  const items = NODES.map((node) => {
    const peersV4 = sessionsOf(plan, node).map(({ peer }) => ({
      peerIP: peer.address,
      state: 'Established',
    }));
    for (const peer of peersV4) change(peer, node.name);
    return {
      spec: { node: node.name, classes: ['Agent', 'BGP'] },
      status: { agent: { birdV4: { state: 'Ready' } }, bgp: { peersV4 } },
    };
  });
  return { items };
}

describe('the CNI of a plan', () => {
  it('is the one that was chosen', () => {
    expect(cniOf(plan)).toBe(calicoCni);
    expect(cniOf(labPlan())).toBe(birdCni);
  });

  it("with bird gives nodes the plan's blocks and waits for nothing", async () => {
    const { kubectl, executor } = cluster((line) =>
      line.startsWith('get nodes') ? json({ items: [{ metadata: { name: 'k8sworker1' }, spec: {} }] }) : '',
    );
    const bird = context({ plan: labPlan() });
    expect(await birdCni.settle(kubectl, bird)).toBe(true);
    expect(executor.lines().at(-1)).toContain('apply --server-side');
    const calls = executor.calls.length;
    await birdCni.waitUntilReady(kubectl, bird);
    expect(executor.calls).toHaveLength(calls);
  });
});

describe("Calico's pod blocks", () => {
  const affinity = (spec: object) => ({
    ...{ kind: 'BlockAffinity', metadata: { name: 'x' } },
    spec: { cidr: '10.255.3.0/26', node: 'k8sworker1', ...spec },
  });
  const blocksOf = (...specs: object[]) =>
    podBlocksOf(parseCalicoObjects(json({ items: specs.map(affinity) })));

  it('are those that nodes own, in order', () => {
    expect(
      blocksOf(
        { cidr: '10.255.128.64/26', state: 'confirmed', deleted: 'false', type: 'host' },
        { cidr: '10.255.9.0/26', state: 'confirmed', deleted: false },
        { cidr: '10.255.10.0/26', node: 'k8sworker2', state: '', type: '' },
      ).map(({ prefix, node }) => `${prefix} ${node}`),
    ).toEqual(['10.255.9.0/26 k8sworker1', '10.255.10.0/26 k8sworker2', '10.255.128.64/26 k8sworker1']);
  });

  it.each([
    ['being given away', { state: 'pending' }],
    ['being taken back', { state: 'pendingDeletion' }],
    ['deleted', { state: 'confirmed', deleted: 'true' }],
    ['deleted, said as in v3', { state: 'confirmed', deleted: true }],
    ['for LoadBalancer services', { node: 'load-balancer', state: 'confirmed', type: 'virtual' }],
  ])('are not those %s', (_, spec) => {
    expect(blocksOf(spec)).toEqual([]);
  });

  it('come from whichever group the cluster has, and which of them is asked for once', async () => {
    const list = json({ items: [affinity({ state: 'confirmed' })] });
    const served = json({ resources: ['blockaffinities', 'ippools', 'nodes'].map((name) => ({ name })) });
    for (const [group, version] of [
      ['crd.projectcalico.org', 'v1'],
      ['projectcalico.org', 'v3'],
    ]) {
      const { kubectl, executor } = cluster((line) =>
        line === `get --raw /apis/${group}/${version}`
          ? served
          : line === `get blockaffinities.${group},ippools.${group} -A -o json`
            ? list
            : undefined,
      );
      expect(await readCalicoObjects(kubectl)).toHaveLength(1);
      const calls = executor.calls.length;
      expect(await readCalicoObjects(kubectl)).toHaveLength(1);
      expect(executor.calls).toHaveLength(calls + 1);
    }
    const { kubectl } = cluster(() => undefined);
    await expect(readCalicoObjects(kubectl)).rejects.toThrow(HarnessError);
    expect(() =>
      podBlocksOf(
        parseCalicoObjects(json({ items: [{ kind: 'BlockAffinity', metadata: { name: 'x' }, spec: {} }] })),
      ),
    ).toThrow(HarnessError);
    expect(() => parseCalicoObjects('{"items":[{}]}')).toThrow(HarnessError);
  });
});

describe("Calico's settings", () => {
  const object = (kind: string, name: string, spec: object) => ({ kind, metadata: { name }, spec });
  const settingsOf = (...items: object[]) => calicoSettings(parseCalicoObjects(json({ items })));

  it('are what Calico takes where nothing is said', () => {
    expect(settingsOf(object('IPPool', 'a', { cidr: '10.9.0.0/16' }))).toEqual({
      pools: [{ cidr: '10.9.0.0/16', natOutgoing: false, ipip: 'Never', vxlan: 'Never', disabled: false }],
      nodeMesh: true,
      serviceClusterIps: [],
      serviceExternalIps: [],
      serviceLoadBalancerIps: [],
      aggregatesLoadBalancers: true,
    });
  });

  it('are no pools of load balancers alone', () => {
    const pools = (...allowedUses: string[]) =>
      settingsOf(object('IPPool', 'a', { cidr: '203.0.113.16/28', allowedUses })).pools.length;
    expect([pools('LoadBalancer'), pools('Workload', 'LoadBalancer'), pools('Tunnel'), pools()]).toEqual([
      ...[0, 1, 1, 1],
    ]);
  });

  it('are those of IPv4 and of the whole cluster', () => {
    const cidrs = [{ cidr: '203.0.113.0/24' }];
    expect(
      settingsOf(
        object('IPPool', 'six', { cidr: 'fd00::/48' }),
        object('IPPool', 'b', {
          cidr: '10.10.0.0/16',
          vxlanMode: 'Always',
          natOutgoing: true,
          disabled: true,
        }),
        object('IPPool', 'a', { cidr: '10.9.0.0/16', ipipMode: 'CrossSubnet', vxlanMode: '' }),
        object('BGPConfiguration', 'node.k8sworker1', { serviceLoadBalancerIPs: cidrs }),
        object('BGPConfiguration', 'default', {
          ...{ nodeToNodeMeshEnabled: false, serviceLoadBalancerIPs: cidrs, serviceExternalIPs: null },
          serviceLoadBalancerAggregation: 'Disabled',
        }),
      ),
    ).toEqual({
      pools: [
        { cidr: '10.9.0.0/16', natOutgoing: false, ipip: 'CrossSubnet', vxlan: 'Never', disabled: false },
        { cidr: '10.10.0.0/16', natOutgoing: true, ipip: 'Never', vxlan: 'Always', disabled: true },
      ],
      nodeMesh: false,
      serviceClusterIps: [],
      serviceExternalIps: [],
      serviceLoadBalancerIps: ['203.0.113.0/24'],
      aggregatesLoadBalancers: false,
    });
  });

  it('has labels that crd.projectcalico.org/v1 keeps in an annotation', () => {
    const annotations = { 'projectcalico.org/metadata': json({ labels: { office: 'yes' } }) };
    const [set] = parseCalicoObjects(
      json({ items: [{ kind: 'GlobalNetworkSet', metadata: { name: 'x', annotations } }] }),
    );
    expect(set).toEqual({ kind: 'GlobalNetworkSet', name: 'x', labels: { office: 'yes' }, spec: {} });
  });
});

describe("calico-node's own word", () => {
  it('is that all is well', () => {
    expect(unsettled(plan, json(nodeStatuses()))).toEqual([]);
  });

  it('names the session that is not there, from both ends of the mesh', () => {
    const down = nodeStatuses((peer, node) => {
      if (node === 'k8sworker2' && peer.peerIP === '192.168.13.39') peer.state = 'Connect';
      if (node === 'k8smaster1' && peer.peerIP === '192.168.13.37') peer.peerIP = '192.0.2.1';
    });
    expect(unsettled(plan, json(down))).toEqual([
      'session k8smaster1 - k8sworker3: not configured',
      'session k8sworker2 - bgp: Connect',
    ]);
  });

  it('is missing, or that BIRD does not run', () => {
    const { items } = nodeStatuses();
    const [master, first, ...rest] = items;
    if (master === undefined || first === undefined) throw new Error('no nodes');
    master.status.agent.birdV4.state = 'NotReady';
    const silentOne = { ...first, status: undefined };
    expect(unsettled(plan, json({ items: [master, silentOne, ...rest] }))).toEqual([
      'BIRD of k8smaster1 is NotReady',
      'calico-node of k8sworker1 has not said anything yet',
    ]);
    expect(unsettled(plan, '{"items":[]}')).toHaveLength(NODES.length);
  });
});

const folder = mkdtempSync(join(tmpdir(), 'lab-calico-'));
afterAll(() => rmSync(folder, { recursive: true }));

function software(...files: readonly (readonly [FileRole, string, string])[]): Software {
  return {
    distribution: 'kubeadm',
    cni: 'calico',
    versions: { kubernetes: 'v1.36.2', calico: 'v3.32.1' },
    files: files.map(([role, name, content]) => {
      const path = join(folder, name);
      writeFileSync(path, content);
      return { role, path, version: 'v3.32.1', sha256: '0'.repeat(64), nodes: [], inMachineImage: false };
    }),
  };
}

const crd = (name: string) => `kind: CustomResourceDefinition\nmetadata:\n  name: ${name}\n`;
const ESTABLISHED = json({
  items: ['installations', 'apiservers'].map((kind) =>
    status(`${kind}.operator.tigera.io`, { Established: 'True' }),
  ),
});

describe('Calico by its operator', () => {
  const given = software(
    ['calico-operator', 'tigera-operator.yaml', 'kind: Deployment\n'],
    ['calico-crds', 'v1_crd_projectcalico_org.yaml', crd('bgppeers.crd.projectcalico.org')],
  );

  it('comes after its CRDs, and the Installation after both', async () => {
    const { kubectl, executor } = cluster((line) => (line.startsWith('get crd') ? ESTABLISHED : ''));
    await calicoCni.deploy(kubectl, given, context());
    const steps = executor.calls
      .map(({ argv, options }) => [argv[7], argv.at(-1)?.split('/').at(-1), String(options.input ?? '')])
      .filter(([verb, what]) => verb === 'apply' || what === 'json')
      .map(([verb, what, input]) =>
        verb === 'apply' ? (input ? 'Installation' : what) : 'CRDs established',
      );
    expect(steps).toEqual([
      'v1_crd_projectcalico_org.yaml',
      'CRDs established',
      'tigera-operator.yaml',
      'Installation',
    ]);
    expect(
      executor
        .lines()
        .filter((line) => line.includes(' apply '))
        .join('\n'),
    ).toContain('--server-side');
  });

  it('is left alone where all of it is there', async () => {
    const { kubectl } = cluster((line) =>
      line.startsWith('get crd') ? ESTABLISHED : line.startsWith('get') ? 'uid-1 3 1234\n' : '',
    );
    expect(await calicoCni.deploy(kubectl, given, context())).toBe(false);
  });

  it('has changed where an object has a new generation, and not where only its status has', async () => {
    let version = 0;
    const generation = { value: '1' };
    const reply = (line: string) => {
      if (line.startsWith('get crd')) return ESTABLISHED;
      version += 1;
      return line.startsWith('get') ? `uid-1 ${generation.value} ${version}\nuid-2 <none> 7\n` : '';
    };
    expect(await calicoCni.deploy(cluster(reply).kubectl, given, context())).toBe(false);
    const changing = (line: string) => {
      if (line.includes('apply')) generation.value += '1';
      return reply(line);
    };
    expect(await calicoCni.deploy(cluster(changing).kubectl, given, context())).toBe(true);
  });

  it('is applied again only where somebody has changed it since', async () => {
    let generation = 1;
    const { kubectl, executor } = cluster((line) => {
      if (line.startsWith('get crd')) return ESTABLISHED;
      return line.startsWith('get') ? `uid-1 ${generation} 1\n` : '';
    });
    const applied = () => executor.lines().filter((line) => line.includes(' apply ')).length;
    await calicoCni.deploy(kubectl, given, context());
    expect(applied()).toBe(3);
    expect(await calicoCni.deploy(kubectl, given, context())).toBe(false);
    expect(applied()).toBe(3);
    generation = 2;
    await calicoCni.deploy(kubectl, given, context());
    expect(applied()).toBe(6);
  });

  it('is refused with the CRDs of both groups', async () => {
    const both = software(
      ['calico-operator', 'tigera-operator.yaml', ''],
      ['calico-crds', 'operator-crds.yaml', crd('bgppeers.crd.projectcalico.org')],
      ['calico-crds', 'v3_projectcalico_org.yaml', crd('bgppeers.projectcalico.org')],
    );
    const { kubectl, executor } = cluster(() => '');
    await expect(calicoCni.deploy(kubectl, both, context())).rejects.toThrow(UserError);
    expect(executor.calls).toEqual([]);
  });
});

it('software without Calico is refused', async () => {
  await expect(calicoCni.deploy(cluster(() => '').kubectl, software(), context())).rejects.toThrow(UserError);
});

describe('the resources', () => {
  const AVAILABLE = json({
    items: [status('calico', { Available: 'True' }), status('apiserver', { Available: 'True' })],
  });
  const served = (by: 'operator' | 'manifest', api: string) => (line: string) => {
    if (line.endsWith('/installations/default')) return by === 'operator' ? '{}' : undefined;
    if (line.startsWith('get tigerastatuses')) return AVAILABLE;
    if (line === `get --raw /apis/${api}/bgppeers`) return '{}';
    if (line === `get --raw /apis/${api}/kubecontrollersconfigurations/default`)
      return json({ spec: { controllers: { loadBalancer: { assignIPs: 'RequestedServicesOnly' } } } });
    if (line.startsWith('get --ignore-not-found')) return 'uid-1 <none> 7\n';
    if (line.startsWith('apply') && !line.includes('--server-side')) return 'bgppeer/lab-router unchanged\n';
    return /^(apply|patch|delete) /.test(line) ? '' : undefined;
  };

  it.each([
    ['operator', 'projectcalico.org/v3', 'calico-system'],
    ['manifest', 'projectcalico.org/v3', 'kube-system'],
    ['manifest', 'crd.projectcalico.org/v1', 'kube-system'],
  ] as const)(
    'with the %s go to %s, the password to %s and to no command line',
    async (by, api, namespace) => {
      const { kubectl, executor } = cluster(served(by, api));
      expect(await calicoCni.settle(kubectl, context())).toBe(true);
      const applied = executor.calls
        .filter(({ argv }) => argv[7] === 'apply')
        .map(({ options }) => String(options.input));
      expect(applied).toHaveLength(2);
      expect(applied[0]).toContain(`namespace: ${namespace}`);
      expect(applied[0]).toContain(encoded);
      expect(applied[1]).toContain(`apiVersion: ${api}\nkind: BGPPeer`);
      // Where the external addresses come first calico-node makes no pool for pods.
      expect(applied[1]).toContain('name: lab-external-1');
      expect(applied[1]?.includes('name: default-ipv4-ippool')).toBe(by === 'manifest');
      for (const text of [secrets.bgpPassword, encoded])
        expect(executor.lines().join('\n')).not.toContain(text);
      expect(executor.lines().at(-1)).toContain(
        `patch kubecontrollersconfigurations.${api.split('/')[0]} default`,
      );
    },
  );

  it('are left alone where they are as wanted', async () => {
    const { kubectl } = cluster((line) =>
      line.endsWith('configurations/default')
        ? json({ spec: { controllers: { loadBalancer: { assignIPs: 'AllServices' } } } })
        : served('manifest', 'crd.projectcalico.org/v1')(line),
    );
    expect(await calicoCni.settle(kubectl, context())).toBe(false);
  });

  it('lose the pools of a lab that needs none any more, and keep those that it needs', async () => {
    const asked: string[] = [];
    const { kubectl } = cluster((line) => {
      if (line.startsWith('delete')) asked.push(line);
      return line.startsWith('delete')
        ? 'ippool.projectcalico.org/lab-external-1\n'
        : served('operator', 'projectcalico.org/v3')(line);
    });
    await calicoCni.settle(kubectl, context());
    expect(asked).toEqual([]);
    const externalIPs = { ...plan, echo: { ...plan.echo, loadBalancer: 'externalIPs' as const } };
    expect(await calicoCni.settle(kubectl, context({ plan: externalIPs }))).toBe(true);
    expect(asked).toEqual([
      'delete ippools.projectcalico.org --ignore-not-found --wait=false --output name lab-external-1 lab-external-2',
    ]);
  });

  it('wait for the operator, and say what it says', async () => {
    const stop = new AbortController();
    const notes: string[] = [];
    const { kubectl } = cluster((line) => {
      if (line.endsWith('/installations/default')) return '{}';
      if (line.startsWith('get tigerastatuses')) {
        if (notes.length > 0) stop.abort();
        return json({ items: [status('calico', { Degraded: 'True' }, 'image not found')] });
      }
      return undefined;
    });
    const emit: ClusterContext['emit'] = (event) => event.type === 'note' && notes.push(event.text);
    const settled = calicoCni.settle(kubectl, context({ emit, signal: stop.signal }));
    await expect(settled).rejects.toThrow(Interrupted);
    expect(notes[0]).toContain('calico: image not found; apiserver: nothing said yet');
  });

  it('are not ready while felix does not start, whatever BIRD says', async () => {
    const running = { name: 'calico-node', state: { running: { startedAt: '2026-11-26T16:15:30Z' } } };
    const pod = (ready: 'True' | 'False') => ({
      metadata: { name: 'calico-node-1' },
      spec: { nodeName: 'k8sworker1' },
      status: {
        phase: 'Running',
        conditions: [{ type: 'Ready', status: ready }],
        containerStatuses: [running],
      },
    });
    let looks = 0;
    const { kubectl } = cluster((line) => {
      if (line.endsWith('/caliconodestatuses')) return json(nodeStatuses());
      if (line.startsWith('get pods')) return json({ items: [pod(++looks > 1 ? 'True' : 'False')] });
      return served('manifest', 'projectcalico.org/v3')(line);
    });
    const notes: string[] = [];
    const emit = (event: LabEvent) => event.type === 'note' && notes.push(event.text);
    await calicoCni.waitUntilReady(kubectl, context({ emit }));
    expect(notes.join()).toContain('calico-node on k8sworker1 is not Ready: Running');
  });
});

it("Calico's controllers are waited for, with what keeps calico-node from starting", async () => {
  const container = { state: { waiting: { reason: 'ErrImageNeverPull' } } };
  const pod = {
    metadata: { name: 'calico-node-1' },
    spec: { nodeName: 'k8sworker1' },
    status: { phase: 'Pending', initContainerStatuses: [container] },
  };
  const { kubectl } = cluster((line) =>
    line.startsWith('get pods -n kube-system') ? json({ items: [pod] }) : undefined,
  );
  const abort = new AbortController();
  const said: string[] = [];
  const emit = (event: LabEvent) => {
    said.push(json(event));
    abort.abort();
  };
  const installed = { api: 'projectcalico.org/v3', namespace: 'kube-system' } as const;
  const waiting = ensureAssignment(kubectl, installed, context({ emit, signal: abort.signal }));
  await expect(waiting).rejects.toBeInstanceOf(Interrupted);
  expect(said.join()).toContain('calico-node on k8sworker1 is not Ready: ErrImageNeverPull');
});

describe('a node', () => {
  it('gets mounts and plugin folder, loses what the bird CNI had, and then nothing more', async () => {
    const [, worker] = NODES;
    if (worker === undefined) throw new Error('no worker');
    let applied = '';
    const said = { value: 'changed\nchanged\n' };
    const executor = recordingExecutor((argv) => {
      const line = argv.join(' ');
      if (line.includes('is-active "$@"')) return `${applied}\nactive\n`;
      return line.includes('lab-announcer.service') ? said.value : '';
    });
    const machine = fakeMachine(worker.name, executor);
    expect(await calicoCni.prepareNode(machine, worker, context())).toBe(true);
    expect(executor.lines().join('\n')).toContain('systemctl restart lab-calico-mounts.service');
    expect(executor.lines().at(-1)).toMatch(/ 169\.254\.1\.1 192\.168\.13\.35 k8sworker1$/);
    applied = machine.files.get('/var/lib/lab/applied/lab-calico-mounts.service')?.content ?? '';
    said.value = '';
    expect(await calicoCni.prepareNode(machine, worker, context())).toBe(false);
  });
});

it('by its manifest has the pool for pods at once, and not again where nothing has changed', async () => {
  const given = software(['calico-manifest', 'calico.yaml', CALICO_MANIFEST]);
  let objects = '';
  const { kubectl, executor } = cluster((line) => {
    if (line === 'get --raw /apis/projectcalico.org/v3/bgppeers') return '{}';
    if (line.startsWith('get --ignore-not-found')) return objects;
    if (line.includes('--server-side')) objects = 'uid-1 1 1\n';
    return line.startsWith('apply') ? '' : undefined;
  });
  const applied = () =>
    executor.calls.filter(({ argv }) => argv[7] === 'apply').map(({ options }) => String(options.input));
  expect(await calicoCni.deploy(kubectl, given, context())).toBe(true);
  expect(applied()).toEqual([
    expect.stringContaining('kind: DaemonSet'),
    expect.stringMatching(
      /name: default-ipv4-ippool\n.*\nkind: ClusterInformation\n.*datastoreReady: true\n/s,
    ),
  ]);
  expect(await calicoCni.deploy(kubectl, given, context())).toBe(false);
  expect(applied()).toHaveLength(2);
});

it('a manifest that is none is the lab’s failure', async () => {
  const given = software(['calico-manifest', 'calico.yaml', 'kind: Namespace\n']);
  await expect(calicoCni.deploy(cluster(() => '').kubectl, given, context())).rejects.toThrow(LabFailure);
});

it('a manifest that nobody has changed is told from others without a kubectl', async () => {
  const manifest = CALICO_MANIFEST.replaceAll(/^kind:/gm, 'apiVersion: apps/v1\nkind:');
  const given = software(['calico-manifest', 'calico.yaml', manifest]);
  let generation = 1;
  const local = recordingExecutor(() => '');
  const kinds = (...names: string[]) => ({
    resources: names.map((kind) => ({ kind, name: kind.toLowerCase(), namespaced: true })),
  });
  const asked: (readonly [string, string | undefined])[] = [];
  const lab = mkdtempSync(join(folder, 'lab-'));
  const kubectl = kubectlWith(
    local,
    { binary: '/cache/kubectl', kubeconfig: join(lab, 'kubeconfig') },
    async () => async (path, _timeoutMs, _signal, accept) => {
      asked.push([path, accept]);
      const said = /^\/api(s\/apps)?\/v1$/.test(path)
        ? kinds('DaemonSet', 'Deployment', 'ConfigMap')
        : { metadata: { uid: path, resourceVersion: '7', generation } };
      return { status: 200, text: json(said) };
    },
  );
  const applied = () => local.lines().filter((line) => line.includes('--server-side')).length;
  await calicoCni.deploy(kubectl, given, context());
  expect(await calicoCni.deploy(kubectl, given, context())).toBe(false);
  expect(applied()).toBe(1);
  expect(local.lines().some((line) => line.includes(' get '))).toBe(false);
  const node = asked.find(([path]) => path.endsWith('/daemonset/calico-node'));
  expect(node).toEqual([
    '/apis/apps/v1/namespaces/default/daemonset/calico-node',
    expect.stringContaining('as=PartialObjectMetadata;'),
  ]);
  generation = 2;
  await calicoCni.deploy(kubectl, given, context());
  expect(applied()).toBe(2);
});
