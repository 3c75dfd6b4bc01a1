import type { Cell, ChainStep, Outcome, Target } from '../../scripts/matrix/types.ts';
import { type LabPlan, machinesOf } from '../../scripts/plan/types.ts';

/**
 * A matrix to report about: the targets of the default lab's services at every source of a plan. What is expected
 * is like what the default lab does, in words of this file's own: reports must not care how an expectation came about.
 */
export function sampleCells(plan: LabPlan): readonly Cell[] {
  const probeSources = [
    ...machinesOf(plan, 'control-plane', 'worker').map(({ name }) => name),
    `pod/${plan.echo.clientPod.pod}`,
    ...machinesOf(plan, 'router', 'client').map(({ name }) => name),
  ];
  const targets = targetsOf(plan);
  return probeSources.flatMap((from) => targets.map((target) => sampleCell(plan, from, target)));
}

/** A pod's address: the tenth of its node's block. */
export function podAddress(plan: LabPlan, pod: string): string {
  const node = plan.echo.servers.find((each) => each.pod === pod)?.node;
  const block = plan.machines.find(({ name }) => name === node)?.podBlock ?? '';
  const [a, b, c, d] = block.replace(/\/.*/, '').split('.').map(Number);
  return `${a}.${b}.${c}.${(d ?? 0) + 10}`;
}

function targetsOf(plan: LabPlan): readonly Target[] {
  const ports = [
    { port: plan.echo.tcpPort, protocol: 'tcp' },
    { port: plan.echo.udpPort, protocol: 'udp' },
  ] as const;
  const addresses = plan.echo.servers.map(({ pod }) => podAddress(plan, pod));
  const names = [
    { name: 'headless', pods: addresses },
    ...plan.echo.servers.map(({ hostname, pod }) => ({
      name: `${hostname}.headless`,
      pods: [podAddress(plan, pod)],
    })),
  ];
  const clusterIps = [
    ['echo-ci-tcp', '10.98.176.251'],
    ['echo-lb-tcp', '10.100.215.183'],
    ['echo-np-tcp', '10.104.117.235'],
    ['echo-server-udp', '10.107.216.154'],
  ] as const;
  const nodePorts = [
    ['echo-lb-tcp', 32153],
    ['echo-np-tcp', 31234],
    ['echo-server-udp', 31678],
  ] as const;
  const portOf = (service: string) => ports[service.endsWith('udp') ? 1 : 0];
  return [
    ...ports.flatMap((port) =>
      plan.echo.servers.map(({ pod }): Target => {
        const address = podAddress(plan, pod);
        return { kind: 'pod', to: `pod/${pod}`, address, ...port, pods: [address] };
      }),
    ),
    ...ports.flatMap((port) =>
      names.map(
        ({ name, pods }): Target => ({
          kind: 'name',
          to: name,
          address: `${name}.${plan.echo.namespace}.svc.${plan.kubernetes.domain}`,
          ...port,
          pods,
        }),
      ),
    ),
    ...clusterIps.map(
      ([service, address]): Target => ({
        kind: 'cluster-ip',
        to: `${service}/cluster-ip`,
        address,
        ...portOf(service),
        service,
      }),
    ),
    ...nodePorts.flatMap(([service, port]) =>
      machinesOf(plan, 'control-plane', 'worker').map(
        ({ name, address }): Target => ({
          kind: 'node-port',
          to: `${service}/${name}`,
          address,
          port,
          protocol: portOf(service).protocol,
          service,
          node: name,
        }),
      ),
    ),
    {
      kind: 'external-ip',
      to: `echo-lb-tcp/${plan.echo.externalIp}`,
      address: plan.echo.externalIp,
      ...ports[0],
      service: 'echo-lb-tcp',
    },
  ];
}

function sampleCell(plan: LabPlan, from: string, target: Target): Cell {
  const machine = plan.machines.find(({ name }) => name === from);
  const source = machine?.address ?? '10.255.0.75';
  const local = plan.echo.servers.find(({ node }) => node === target.node);
  const all = plan.echo.servers.map(({ pod }) => podAddress(plan, pod));
  const isStranger = machine?.role === 'client' && machine.routes.length === 0;
  const end = (outcome: Outcome, why: string, ...chain: readonly ChainStep[]): Cell => ({
    id: `${from}>${target.to}:${target.port}/${target.protocol}`,
    from,
    ...target,
    expected: { outcome, servers: [], clients: [], why, chain },
  });
  const ok = (servers: readonly string[], why: string, ...chain: readonly ChainStep[]): Cell => {
    const cell = end('ok', why, ...chain);
    const answering: ChainStep = {
      at: local === undefined ? 'pod/echo-server1' : `pod/${local.pod}`,
      layer: 'endpoint',
      text: `The echo server at ${servers.join(' or ')} answers.`,
    };
    return {
      ...cell,
      expected: { ...cell.expected, servers, clients: [source], chain: [...chain, answering] },
    };
  };
  const leaves: ChainStep = {
    at: from,
    layer: 'route',
    text: isStranger
      ? `${target.address} is on-link: ${plan.network.subnet} dev eth0.`
      : `${target.address} is sent through eth0, source ${source}.`,
  };
  if (target.kind === 'name' && !from.startsWith('pod/'))
    return end('dns-error', `Only pods use the cluster's DNS; ${from} has no name server at all.`, {
      at: from,
      layer: 'dns',
      text: 'resolv.conf names no server, so the name cannot be resolved.',
    });
  if (target.kind !== 'node-port' && isStranger)
    return end('no-route', `${from} has no route to ${target.address}.`, {
      at: from,
      layer: 'route',
      text: `No route holds ${target.address}, and there is no default route.`,
    });
  if (target.kind === 'node-port')
    return local === undefined
      ? end(
          'timeout',
          `With externalTrafficPolicy Local ${target.node} drops what it has no ready pod for.`,
          leaves,
          {
            at: target.node ?? from,
            layer: 'rule',
            text: 'KUBE-EXTERNAL-SERVICES drops the packet: no ready pod on this node.',
          },
        )
      : ok(
          [podAddress(plan, local.pod)],
          `With externalTrafficPolicy Local ${target.node} answers from its own pod only and keeps the client's address.`,
          leaves,
          {
            at: target.node ?? from,
            layer: 'rule',
            text: `KUBE-XLB picks the only local pod, ${local.pod}, and does not masquerade.`,
          },
        );
  if (target.kind === 'external-ip' && machine?.role !== 'worker')
    return ok(
      all,
      'The router spreads flows over the workers with a ready pod, and each keeps the client address.',
      leaves,
      { at: 'bgp', layer: 'bgp', text: `${target.address}/32 has one next hop per worker with a ready pod.` },
      { at: 'k8sworker1', layer: 'rule', text: 'KUBE-XLB picks the local pod and does not masquerade.' },
    );
  if (target.kind === 'external-ip')
    return end('no-route', `${from} announces ${target.address} and holds a blackhole for it.`, {
      at: from,
      layer: 'route',
      text: `blackhole ${target.address}`,
    });
  return ok(target.pods ?? all, 'Every node has a route to every pod, and nothing is translated.', leaves);
}
