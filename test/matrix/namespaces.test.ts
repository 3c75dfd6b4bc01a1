import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { dnsChecks } from '../../scripts/matrix/dns.ts';
import { tested } from '../../scripts/matrix/endpoints.ts';
import { iptablesNames } from '../../scripts/matrix/expect/chain-names.ts';
import { announcements, announcersOfIp } from '../../scripts/matrix/network.ts';
import { parseClusterObjects } from '../../scripts/matrix/state/cluster.ts';
import { movedParts } from '../../scripts/matrix/state/fingerprint.ts';
import { checkWorkloads } from '../../scripts/matrix/workloads.ts';
import { endpointsOf, type KubeService, kubectlJson, planOf, stateOf } from './fixtures.ts';

const plan = planOf();

/** The default lab's objects, more ones of other namespaces, and what runs in the network of the nodes. */
function stateWith(namespaces: readonly string[], edit = (service: KubeService) => service) {
  const { items } = JSON.parse(kubectlJson()) as { items: { kind: string; metadata: object }[] };
  const others = namespaces.flatMap((namespace, index) => {
    const copy = JSON.stringify(items.filter(({ kind }) => kind !== 'Node'))
      .replaceAll(/"10\.255\.0\.(\d+)"/g, (_, last) => `"10.255.0.${Number(last) + 1 + index}"`)
      .replaceAll('"2.2.2.2"', `"2.2.2.${index + 3}"`)
      .replaceAll(/"clusterIP":"10\.\d+\./g, `"clusterIP":"10.${110 + index}.`)
      .replaceAll(/"nodePort":3(\d)/g, (_, digit) => `"nodePort":2${Number(digit) + 7 - 2 * index}`);
    return (JSON.parse(copy) as KubeService[]).map((each) => ({
      ...(each.kind === 'Service' ? edit(each) : each),
      metadata: { ...each.metadata, namespace },
    }));
  });
  const system = ['k8smaster1', 'k8sworker1'].map((node, index) => ({
    kind: 'Pod',
    metadata: { name: `kube-proxy-${index}`, namespace: 'kube-system' },
    spec: { nodeName: node, hostNetwork: true, containers: [{}] },
    status: { podIP: `192.168.13.${index === 0 ? 30 : 35}`, conditions: [{ type: 'Ready', status: 'True' }] },
  }));
  return stateOf(parseClusterObjects(JSON.stringify({ items: [...others, ...system, ...items] })), plan);
}

describe('namespaces', () => {
  const state = stateWith(['shop', 'kube-system']);
  const cells = buildCells(plan, state);
  const of = (id: string) => cells.find((cell) => cell.id === id);

  it('have names of their own: two that are equal do not meet', () => {
    const named = state.services.filter(({ name }) => name.endsWith('echo-ci-tcp'));
    expect(named.map(({ name, backends }) => [name, backends[0]])).toEqual([
      ['shop/echo-ci-tcp', '10.255.0.75'],
      ['kube-system/echo-ci-tcp', '10.255.0.76'],
      ['echo-ci-tcp', '10.255.0.74'],
    ]);
    const [shop] = named;
    expect(shop?.endpoints[0]?.pod).toBe('shop/echo-server1');
    expect(of('routed>shop/echo-ci-tcp/cluster-ip:1234/tcp')?.expected.servers).toEqual(shop?.backends);
    expect(of('routed>shop/headless:1234/tcp')).toMatchObject({
      address: 'headless.shop.svc.cluster.local',
    });
    expect(of('pod/echo-client1>shop/server1.headless:1234/tcp')?.expected.servers).toEqual(['10.255.0.75']);
    expect(of('routed>pod/shop/echo-server1:1234/tcp')?.expected.servers).toEqual(['10.255.0.75']);
  });

  it('leave the chains of kube-proxy the names that they have', () => {
    const [port] = state.services[0]?.ports ?? [];
    if (state.services[0] === undefined || port === undefined) throw new Error('no service');
    const bare = { ...state.services[0], name: 'echo-ci-tcp' };
    expect(iptablesNames(state.services[0], port).all).toBe(iptablesNames(bare, port).all);
  });

  it("that are Kubernetes' own get no cells, and change none of the others", () => {
    expect(cells.filter(({ id }) => id.includes('kube-system'))).toEqual([]);
    expect(buildCells(plan, stateWith([]))).toEqual(buildCells(plan, endpointsOf()));
    const own = cells.filter(({ id }) => !id.includes('shop/'));
    expect(own.map(({ id }) => id)).toEqual(buildCells(plan, endpointsOf()).map(({ id }) => id));
  });

  it('that get no cells still count for who announces an address', () => {
    expect(announcersOfIp(plan, state, '2.2.2.2')).toEqual(['k8sworker1', 'k8sworker2', 'k8sworker3']);
    const shared = stateWith(['kube-system'], (service) => ({
      ...service,
      spec: {
        ...service.spec,
        ...(service.spec.externalIPs === undefined
          ? {}
          : { externalIPs: ['2.2.2.2'], externalTrafficPolicy: 'Cluster' }),
      },
    }));
    expect(announcements(plan, shared)).toContainEqual({
      prefix: '2.2.2.2/32',
      nodes: ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'],
    });
  });

  it('may be chosen', () => {
    const chosen = { ...plan, test: { namespaces: ['shop', 'nowhere'] } };
    expect(tested(chosen, state).services.map(({ namespace }) => namespace)).toEqual(Array(5).fill('shop'));
    const services = checkWorkloads(chosen, state).filter(({ id }) => id.startsWith('workloads.services'));
    expect(services.map(({ subject, verdict }) => [subject, verdict])).toEqual([
      [{ namespace: 'shop' }, 'passed'],
      [{ namespace: 'nowhere' }, 'failed'],
    ]);
  });

  it('have DNS names of their own', () => {
    const names = dnsChecks(plan, state).map(({ question }) => question.name);
    expect(names).toContain('echo-ci-tcp.shop.svc.cluster.local');
    expect(names).toContain('server1.headless.shop.svc.cluster.local');
    expect(names.filter((name) => name.includes('kube-system'))).toEqual([]);
  });

  it('of Kubernetes itself do not make a lab move when their pods come and go', () => {
    expect(movedParts(stateWith([]), endpointsOf())).toEqual([]);
  });
});
