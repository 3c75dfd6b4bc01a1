import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { serverPods } from '../../scripts/matrix/endpoints.ts';
import { iptablesNamesBefore124 } from '../../scripts/matrix/expect/chain-names.ts';
import { checkState } from '../../scripts/matrix/state/checks.ts';
import { parseClusterObjects } from '../../scripts/matrix/state/cluster.ts';
import { proxySettings } from '../../scripts/matrix/state/proxy.ts';
import { HarnessError } from '../../scripts/shared/errors.ts';
import { endpointsOf, kubectlJson, POD_IPS, planOf } from './fixtures.ts';

function recorded(name: string): string {
  return readFileSync(new URL(`../transcripts/state/${name}`, import.meta.url), 'utf8');
}

describe('the objects of the cluster', () => {
  const { services, pods, nodes } = parseClusterObjects(recorded('objects.json'));

  it('are read as kubectl prints them', () => {
    expect(services.map(({ name }) => name)).toEqual([
      'echo-ci-tcp',
      'echo-lb-tcp',
      'echo-np-tcp',
      'echo-server-udp',
      'headless',
    ]);
    expect(services[1]).toMatchObject({
      namespace: 'echo-server',
      type: 'LoadBalancer',
      ports: [{ name: 'tcp', port: 1234, protocol: 'tcp', nodePort: 32153 }],
      externalIps: ['2.2.2.2'],
      loadBalancerIps: [],
      sourceRanges: [],
      policy: 'Local',
      internalPolicy: 'Cluster',
      affinity: 'None',
      healthCheckNodePort: 32154,
      backends: ['10.255.0.66', '10.255.0.129', '10.255.0.193'],
    });
    expect(services[1]?.endpoints[0]).toEqual({
      ip: '10.255.0.193',
      node: 'k8sworker3',
      pod: 'echo-server3',
      ready: true,
      serving: true,
      terminating: false,
      zones: [],
      hintedNodes: [],
      ports: { tcp: 1234 },
    });
    expect(services[4]).toMatchObject({ name: 'headless', ports: [] });
    expect(services[4]).not.toHaveProperty('clusterIp');
    expect(services[4]?.backends).toEqual(services[1]?.backends);
    expect(pods.find(({ name }) => name === 'echo-server1')).toEqual({
      name: 'echo-server1',
      namespace: 'echo-server',
      ip: '10.255.0.66',
      node: 'k8sworker1',
      hostname: 'server1',
      subdomain: 'headless',
      ready: true,
      hostNetwork: false,
      usesClusterDns: true,
      ports: [
        { port: 5678, protocol: 'udp' },
        { port: 1234, protocol: 'tcp' },
      ],
    });
    expect(nodes[0]).toMatchObject({
      name: 'k8smaster1',
      addresses: ['192.168.13.30'],
      podCidrs: ['10.255.0.0/26'],
      proxyVersion: '1.20.2',
    });
  });

  it('give the chains the names that iptables-save showed', () => {
    const nat = recorded('k8sworker1-nat.txt');
    const [service] = services.slice(1);
    const [port] = service?.ports ?? [];
    if (service === undefined || port === undefined) throw new Error('there is no service');
    const names = iptablesNamesBefore124(service, port);
    expect(nat).toContain(`:${names.all} `);
    expect(nat).toContain(`:${names.local} `);
    for (const ip of service.backends)
      expect(nat).toContain(
        `-A ${names.endpoint(`${ip}:1234`)} -p tcp -m comment --comment "echo-server/echo-lb-tcp:tcp" -m tcp -j DNAT --to-destination ${ip}:1234`,
      );
  });

  it('leave unready pods out of the backends', () => {
    const state = endpointsOf({ ready: ['echo-server2', 'echo-client1'] });
    expect(state.services[0]?.backends).toEqual([POD_IPS[1]]);
    expect(serverPods(state).map(({ name }) => name)).toEqual(['echo-server2']);
    expect(state.pods.map(({ ready }) => ready)).toEqual([false, true, false, true]);
  });

  it('count a pod that is being deleted as not ready', () => {
    const text = kubectlJson().replace(
      '"metadata":{"name":"echo-client1"}',
      '"metadata":{"name":"echo-client1","deletionTimestamp":"2026-01-01T00:00:00Z"}',
    );
    expect(parseClusterObjects(text).pods.at(-1)).toMatchObject({ ready: false, isDeleted: true });
  });

  it('take the addresses that a load balancer controller wrote, for that type only', () => {
    const state = endpointsOf({
      edit: (service) => ({ ...service, status: { loadBalancer: { ingress: [{ ip: '2.2.2.3' }, {}] } } }),
    });
    expect(state.services.map(({ loadBalancerIps }) => loadBalancerIps)).toEqual([
      [],
      ['2.2.2.3'],
      [],
      [],
      [],
    ]);
  });

  it('may be of the API version that Kubernetes has had since 1.21', () => {
    const slice = {
      kind: 'EndpointSlice',
      metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
      endpoints: [
        {
          addresses: ['10.0.0.1'],
          nodeName: 'a',
          conditions: { ready: false, serving: true, terminating: true },
          targetRef: { kind: 'Pod', name: 'p' },
          hints: { forZones: [{ name: 'z1' }], forNodes: [{ name: 'a' }] },
        },
        { addresses: ['10.0.0.2'], nodeName: 'b' },
      ],
    };
    const service = {
      kind: 'Service',
      metadata: { name: 'web', namespace: 'shop' },
      spec: {
        clusterIP: '10.3.0.1',
        internalTrafficPolicy: 'Local',
        ports: [{ port: 80 }, { name: 'metrics', port: 81 }],
      },
    };
    const more = {
      ...slice,
      ports: [{ name: 'metrics', port: 9090, protocol: 'TCP' }],
      endpoints: slice.endpoints.slice(1),
    };
    const v6 = { ...slice, addressType: 'IPv6', endpoints: [{ addresses: ['fd00::1'] }] };
    const [web] = parseClusterObjects(JSON.stringify({ items: [service, slice, more, v6] })).services;
    expect(web).toMatchObject({
      name: 'shop/web',
      internalPolicy: 'Local',
      policy: 'Cluster',
      backends: ['10.0.0.2'],
    });
    expect(web?.endpoints).toEqual([
      {
        ip: '10.0.0.1',
        node: 'a',
        pod: 'shop/p',
        ready: false,
        serving: true,
        terminating: true,
        zones: ['z1'],
        hintedNodes: ['a'],
        ports: { '': 8080 },
      },
      {
        ip: '10.0.0.2',
        node: 'b',
        ready: true,
        serving: true,
        terminating: false,
        zones: [],
        hintedNodes: [],
        ports: { '': 8080, metrics: 9090 },
      },
    ]);
  });

  it.each([
    ['no JSON', 'error: You must be logged in to the server'],
    ['no list', '{"kind":"Status","status":"Failure"}'],
    ['a service without a spec', '{"items":[{"kind":"Service","metadata":{"name":"x"}}]}'],
  ])('are refused as a harness error where they are %s', (_, text) => {
    expect(() => parseClusterObjects(text)).toThrow(HarnessError);
  });

  it('may be none', () => {
    expect(parseClusterObjects('{"items":[]}')).toEqual({
      services: [],
      externalNames: [],
      pods: [],
      nodes: [],
    });
  });
});

describe('a service as kube-proxy reads it', () => {
  const metadata = { name: 'web', namespace: 'shop' };
  const spec = {
    type: 'LoadBalancer',
    clusterIP: '10.3.0.1',
    ports: [{ name: 'dns', port: 53, protocol: 'UDP' }],
  };
  const read = (service: object, slice: object = {}) => {
    const items = [
      { kind: 'Service', metadata, spec, ...service },
      {
        kind: 'EndpointSlice',
        metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
        addressType: 'IPv4',
        ports: [{ name: 'dns', port: 5353, protocol: 'UDP' }],
        endpoints: [{ addresses: ['10.0.0.1', '10.0.0.2'], conditions: { ready: false } }],
        ...slice,
      },
    ];
    return parseClusterObjects(JSON.stringify({ items })).services[0];
  };

  it('has the first address of an endpoint, which serves unless it says otherwise', () => {
    expect(read({})?.endpoints).toMatchObject([{ ip: '10.0.0.1', serving: true, ports: { dns: 5353 } }]);
  });

  it('has a port of a slice only where its protocol is the same, too', () => {
    expect(read({}, { ports: [{ name: 'dns', port: 5353, protocol: 'TCP' }] })?.endpoints[0]?.ports).toEqual(
      {},
    );
  });

  it('has addresses of a load balancer that delivers itself', () => {
    const ingress = [
      { ip: '203.0.113.5', ipMode: 'VIP' },
      { ip: '203.0.113.6', ipMode: 'Proxy' },
    ];
    const service = read({ status: { loadBalancer: { ingress } } });
    expect(service?.proxiedIps).toEqual(['203.0.113.6']);
    expect(service?.loadBalancerIps).toEqual(['203.0.113.5', '203.0.113.6']);
  });

  it('waits for an address as a load balancer that has none and names nobody', () => {
    const isPending = (spec: object, ingress: object[] = []) =>
      read({ spec: { type: 'LoadBalancer', ...spec }, status: { loadBalancer: { ingress } } })?.isPending;
    expect(isPending({})).toBe(true);
    expect(isPending({ externalIPs: ['2.2.2.2'] })).toBeUndefined();
    expect(isPending({ loadBalancerClass: 'example.com/x' })).toBeUndefined();
    expect(isPending({}, [{ hostname: 'lb.example.com' }])).toBeUndefined();
    expect(isPending({ type: 'NodePort' })).toBeUndefined();
  });

  it.each(['service.kubernetes.io/topology-mode', 'service.kubernetes.io/topology-aware-hints'])(
    'asks for hints by its annotation %s',
    (name) => {
      const service = (value: string) => read({ metadata: { ...metadata, annotations: { [name]: value } } });
      expect(service('Auto')?.asksForZones).toBe(true);
      expect(service('Disabled')?.asksForZones).toBeUndefined();
    },
  );
});

describe("kube-proxy's settings", () => {
  it('come from the ConfigMap that kubeadm makes', () => {
    expect(proxySettings(recorded('kube-proxy.json'), []).proxy).toEqual({
      mode: 'iptables',
      clusterCidr: '10.255.0.0/16',
      detectLocalMode: 'ClusterCIDR',
      nodePortAddresses: [],
      masqueradeAll: false,
      localhostNodePorts: true,
    });
  });

  it('come from the arguments of k3s', () => {
    const node = parseClusterObjects(kubectlJson()).nodes.slice(0, 1);
    const k3s = (...words: string[]) =>
      proxySettings(
        '',
        node.map((each) => ({ ...each, k3sArguments: words })),
      ).proxy;
    expect(k3s('server')).toMatchObject({ mode: 'iptables', clusterCidr: '10.42.0.0/16' });
    expect(
      k3s(
        'server',
        '--cluster-cidr',
        '10.9.0.0/16',
        '--kube-proxy-arg=proxy-mode=ipvs',
        '--kube-proxy-arg',
        'masquerade-all=true',
      ),
    ).toMatchObject({ mode: 'ipvs', clusterCidr: '10.9.0.0/16', masqueradeAll: true });
    expect(k3s('server', '--kube-proxy-arg', 'masquerade-all').masqueradeAll).toBe(true);
    expect(k3s('server', '--kube-proxy-arg', 'masquerade-all=false').masqueradeAll).toBe(false);
    expect(
      k3s(
        'server',
        '--kube-proxy-arg=detect-local-mode=InterfaceNamePrefix',
        '--kube-proxy-arg=pod-interface-name-prefix=cali',
      ),
    ).toMatchObject({ detectLocalMode: 'InterfaceNamePrefix', podInterface: 'cali' });
    expect(k3s('server', '--disable-kube-proxy', '--node-ip=10.1.0.9')).toMatchObject({
      mode: 'unknown',
      problem: expect.stringContaining('--disable-kube-proxy'),
    });
    expect(k3s('server', '--kube-proxy-arg', 'config=/etc/proxy.yaml').problem).toContain('/etc/proxy.yaml');
  });

  it('are those of each k3s node: an agent has arguments of its own, but the cluster CIDR of the server', () => {
    const [server, agent, other] = parseClusterObjects(kubectlJson()).nodes;
    if (server === undefined || agent === undefined || other === undefined) throw new Error('too few nodes');
    const started = [
      { ...server, k3sArguments: ['server', '--cluster-cidr', '10.9.0.0/16'] },
      { ...agent, k3sArguments: ['agent'] },
      { ...other, k3sArguments: ['agent', '--kube-proxy-arg', 'proxy-mode=ipvs'] },
    ];
    const { proxy, nodes } = proxySettings('', started);
    expect(nodes.map((node) => node.proxy?.mode)).toEqual([undefined, undefined, 'ipvs']);
    expect(nodes[2]?.proxy?.clusterCidr).toBe('10.9.0.0/16');
    const state = { ...endpointsOf(), proxy, nodes };
    expect(checkState(state).at(-1)).toMatchObject({ verdict: 'skipped', seen: { mode: 'ipvs' } });
    const cells = buildCells(planOf(), state).filter(({ kind }) => kind === 'node-port');
    const skipped = new Set(cells.filter((cell) => cell.skipped !== undefined).map(({ node }) => node));
    expect([...skipped]).toEqual([other.name]);
  });

  it('of the mode that is set count', () => {
    const settings = (...lines: string[]) =>
      proxySettings(
        JSON.stringify({ data: { 'config.conf': ['kind: KubeProxyConfiguration', ...lines].join('\n') } }),
        [],
      ).proxy;
    const both = ['iptables: { masqueradeAll: true }', 'nftables: { masqueradeAll: false }'];
    expect(settings('mode: nftables', ...both)).toMatchObject({ mode: 'nftables', masqueradeAll: false });
    expect(settings('mode: ""', ...both)).toMatchObject({ mode: 'iptables', masqueradeAll: true });
    const interfaces = ['detectLocal: { bridgeInterface: br0, interfaceNamePrefix: veth }'];
    expect(settings('detectLocalMode: BridgeInterface', ...interfaces).podInterface).toBe('br0');
    expect(settings('detectLocalMode: InterfaceNamePrefix', ...interfaces).podInterface).toBe('veth');
  });

  it('are unknown where there are none, which is said', () => {
    const state = { ...endpointsOf(), proxy: proxySettings('', []).proxy };
    expect(state.proxy.mode).toBe('unknown');
    expect(checkState(state).at(-1)).toMatchObject({ id: 'state.kube-proxy', verdict: 'skipped' });
  });

  it('are refused where they are no YAML', () => {
    const map = { data: { 'config.conf': 'kind: KubeProxyConfiguration\n  mode: [' } };
    expect(() => proxySettings(JSON.stringify(map), [])).toThrow(HarnessError);
  });
});
