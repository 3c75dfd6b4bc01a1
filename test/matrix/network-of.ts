import type { Interface, MachineState, NatOutgoing, Route } from '../../scripts/matrix/state/types.ts';

/** Who is in a lab, as far as routes depend on it. */
export interface Network {
  readonly subnet: string;
  readonly serviceCidr: string;
  readonly podCidr: string;
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly block: string }[];
  /** Names of the nodes with a session to the router. */
  readonly peers: readonly string[];
  readonly router: { readonly name: string; readonly address: string };
  /** `routes` go by the router. */
  readonly clients: readonly {
    readonly name: string;
    readonly address: string;
    readonly routes: readonly string[];
  }[];
  readonly pods: readonly { readonly ip: string; readonly node: string }[];
  /** External addresses with the nodes that announce them. */
  readonly announced: ReadonlyMap<string, readonly string[]>;
  readonly hashPolicy?: number;
  /** How many equal next hops a machine uses (FRR maximum-paths, BIRD merge paths limit). */
  readonly maximumPaths?: number;
}

/** The kernels of a healthy lab: the routes that BIRD, FRR, the CNI plugin and cloud-init make. */
export function kernelsOf(network: Network): ReadonlyMap<string, MachineState> {
  const { nodes, router, clients } = network;
  const machines = [
    ...nodes.map((node) => nodeKernel(network, node)),
    kernel(network, router, routerRoutes(network), { ipForward: true, hashPolicy: network.hashPolicy ?? 1 }),
    ...clients.map((client) =>
      kernel(
        network,
        client,
        client.routes.map((prefix) => via(prefix, [router.address], 'boot')),
      ),
    ),
  ];
  return new Map(machines.map((machine) => [machine.name, machine]));
}

/** A route by one or several gateways. */
export function via(prefix: string, gateways: readonly string[], protocol = 'bird'): Route {
  return {
    prefix,
    type: 'unicast',
    protocol,
    metric: 0,
    hops: gateways.map((gateway) => ({ gateway, interface: 'eth0' })),
  };
}

/** A route to the link. */
export function onLink(prefix: string, name = 'eth0', source?: string): Route {
  return {
    prefix,
    type: 'unicast',
    protocol: source === undefined ? 'boot' : 'kernel',
    metric: 0,
    ...(source === undefined ? {} : { source }),
    hops: [{ interface: name }],
  };
}

/** A route that leads nowhere. */
export function dead(prefix: string, type: 'blackhole' | 'unreachable' | 'prohibit' = 'blackhole'): Route {
  return { prefix, type, protocol: 'bird', metric: 0, hops: [] };
}

function nodeKernel(network: Network, node: Network['nodes'][number]): MachineState {
  const { nodes, announced, serviceCidr, podCidr, pods, maximumPaths } = network;
  const own = pods.filter(({ node: name, ip }) => name === node.name && ip !== node.address);
  const addresses = new Map(nodes.map(({ name, address }) => [name, address]));
  const addressOf = (name: string) => addresses.get(name) ?? '';
  const routes = [
    onLink(serviceCidr),
    ...nodes.map(({ name, address, block }) => (name === node.name ? dead(block) : via(block, [address]))),
    ...own.map(({ ip }, index) => onLink(`${ip}/32`, `veth${index}`)),
    ...[...announced].flatMap(([ip, names]) =>
      names.length === 0
        ? []
        : [
            names.includes(node.name)
              ? dead(`${ip}/32`)
              : via(`${ip}/32`, names.slice(0, maximumPaths).map(addressOf)),
          ],
    ),
  ];
  const natOutgoing: NatOutgoing = { chain: 'LAB-NAT-OUTGOING', sources: [podCidr], except: [podCidr] };
  const veths = own.map((_, index): Interface => iface(`veth${index}`, node.address, 32));
  const machine = kernel(network, node, routes, {
    ipForward: true,
    routeLocalnet: true,
    dropsInvalid: true,
    natOutgoing,
  });
  return { ...machine, interfaces: [...machine.interfaces, ...veths] };
}

function routerRoutes({ nodes, peers, announced, serviceCidr, maximumPaths }: Network): readonly Route[] {
  const speakers = nodes.filter(({ name }) => peers.includes(name));
  const external = [...announced].flatMap(([ip, names]) => {
    const gateways = speakers.filter(({ name }) => names.includes(name)).map(({ address }) => address);
    return gateways.length === 0 ? [] : [via(`${ip}/32`, gateways.slice(0, maximumPaths), 'bgp')];
  });
  return [
    ...speakers.map(({ block, address }) => via(block, [address], 'bgp')),
    via(
      serviceCidr,
      speakers.slice(0, maximumPaths).map(({ address }) => address),
      'bgp',
    ),
    ...external,
  ];
}

function kernel(
  { subnet }: Network,
  { name, address }: { readonly name: string; readonly address: string },
  routes: readonly Route[],
  settings: Partial<MachineState> = {},
): MachineState {
  return {
    name,
    interfaces: [
      { name: 'lo', addresses: [{ address: '127.0.0.1', length: 8, scope: 'host' }] },
      iface('eth0', address, Number(subnet.split('/')[1])),
    ],
    routes: [...routes, onLink(subnet, 'eth0', address)],
    policyRules: [],
    refusedPrefixes: [],
    ipForward: false,
    hashPolicy: 0,
    routeLocalnet: false,
    ...settings,
  };
}

function iface(name: string, address: string, length: number): Interface {
  return { name, addresses: [{ address, length, scope: 'global' }] };
}
