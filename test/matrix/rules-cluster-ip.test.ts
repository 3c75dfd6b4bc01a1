import { describe } from 'vitest';
import type { MachineState } from '../../scripts/matrix/state/types.ts';
import {
  BOTH,
  C1,
  C3,
  M,
  NEAR,
  NEW,
  NFT,
  NOBODY,
  OLD,
  ok,
  P1,
  P2,
  type Row,
  testRows,
  W1,
  W2,
  W3,
} from './rows.ts';

/** felix' cali-cidr-block for ClusterIPs on the nodes of a synthetic lab. */
function withLoopRule(isFirst: boolean) {
  return (machine: MachineState): MachineState =>
    /^[mw]/.test(machine.name)
      ? { ...machine, serviceLoop: { action: 'drop', prefixes: ['10.3.0.0/16'], isFirst } }
      : machine;
}

const rows: readonly Row[] = [
  // ---- ClusterIP
  { fact: 'ClusterIP from a pod: source kept', from: 'pod/c1', to: 'cluster-ip', ...ok(BOTH, [C1]) },
  {
    fact: 'ClusterIP hairpin: a backend that picks itself is masqueraded',
    from: 'pod/p1',
    to: 'cluster-ip',
    ...ok(BOTH, [W1, P1]),
  },
  { fact: 'ClusterIP from a node: masqueraded', from: 'w3', to: 'cluster-ip', ...ok(BOTH, [W3]) },
  {
    fact: 'ClusterIP from outside: masqueraded by the worker',
    from: 'near',
    to: 'cluster-ip',
    ...ok(BOTH, [W1, W2, W3]),
  },
  { fact: 'ClusterIP from the router', from: 'r', to: 'cluster-ip', ...ok(BOTH, [W1, W2, W3]) },
  { fact: 'ClusterIP without a route', from: 'far', to: 'cluster-ip', outcome: 'no-route' },
  {
    fact: 'masqueradeAll: pods too',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok(BOTH, [W1]),
    lab: { proxy: { masqueradeAll: true } },
  },
  {
    fact: 'internalTrafficPolicy Local: own pods only',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok([P1], [C1]),
    lab: { service: { internalPolicy: 'Local' } },
    versions: [NEW, NFT],
  },
  {
    fact: 'internalTrafficPolicy Local without a local pod: dropped',
    from: 'pod/c3',
    to: 'cluster-ip',
    outcome: 'timeout',
    lab: { service: { internalPolicy: 'Local' } },
    versions: [NEW, NFT],
  },
  {
    fact: 'internalTrafficPolicy Local without a local pod, from the node by UDP: EPERM',
    from: 'w3',
    to: 'cluster-ip',
    outcome: 'denied',
    lab: { service: { internalPolicy: 'Local' }, protocol: 'udp' },
    versions: [NEW, NFT],
  },
  {
    fact: 'internalTrafficPolicy is not for node ports',
    from: 'far',
    to: 'node-port/w3',
    ...ok(BOTH, [W3]),
    lab: { service: { internalPolicy: 'Local', policy: 'Cluster' } },
    versions: [NEW, NFT],
  },
  {
    fact: 'internalTrafficPolicy does not exist in 1.20',
    from: 'pod/c3',
    to: 'cluster-ip',
    ...ok(BOTH, [C3]),
    lab: { service: { internalPolicy: 'Local' } },
    versions: [OLD],
  },

  // ---- nobody there
  {
    fact: 'no endpoint: ClusterIP is rejected',
    from: 'pod/c1',
    to: 'cluster-ip',
    outcome: 'refused',
    lab: NOBODY,
  },
  {
    fact: 'no endpoint: ClusterIP is rejected, from outside',
    from: 'near',
    to: 'cluster-ip',
    outcome: 'refused',
    lab: NOBODY,
  },
  {
    fact: "no endpoint: ClusterIP is dropped where Calico's rule against loops comes first, from outside",
    from: 'near',
    to: 'cluster-ip',
    outcome: 'timeout',
    lab: { ...NOBODY, machine: withLoopRule(true) },
  },
  {
    fact: "no endpoint: ClusterIP is rejected where kube-proxy's rule comes before Calico's",
    from: 'near',
    to: 'cluster-ip',
    outcome: 'refused',
    lab: { ...NOBODY, machine: withLoopRule(false) },
  },
  {
    fact: "no endpoint: Calico's rule is in FORWARD and does not meet what the node itself sends",
    from: 'w1',
    to: 'cluster-ip',
    outcome: 'refused',
    lab: { ...NOBODY, machine: withLoopRule(true) },
  },
  {
    fact: "Calico's rule against loops does not meet what kube-proxy translates",
    from: 'near',
    to: 'cluster-ip',
    ...ok(BOTH, [W1, W2, W3]),
    lab: { machine: withLoopRule(true) },
  },
  {
    fact: 'no endpoint: ClusterIP from the node, TCP',
    from: 'w1',
    to: 'cluster-ip',
    outcome: 'refused',
    lab: NOBODY,
  },
  {
    fact: 'no endpoint: ClusterIP from the node, UDP is EPERM',
    from: 'w1',
    to: 'cluster-ip',
    outcome: 'denied',
    lab: { ...NOBODY, protocol: 'udp' },
  },
  {
    fact: 'no endpoint: node port is rejected, not dropped',
    from: 'far',
    to: 'node-port/w1',
    outcome: 'refused',
    lab: NOBODY,
  },
  {
    fact: 'no endpoint: node port of the node itself',
    from: 'w1',
    to: 'node-port/w1',
    outcome: 'refused',
    lab: NOBODY,
  },
  {
    fact: 'no endpoint: node port, UDP',
    from: 'far',
    to: 'node-port/w1',
    outcome: 'refused',
    lab: { ...NOBODY, protocol: 'udp' },
  },
  {
    fact: 'no endpoint: the external IP is withdrawn',
    from: 'near',
    to: 'external-ip',
    outcome: 'no-route',
    lab: NOBODY,
  },
  {
    fact: 'no endpoint: the external IP from a pod',
    from: 'pod/c1',
    to: 'external-ip',
    outcome: 'no-route',
    lab: NOBODY,
  },
  {
    fact: 'no endpoint, policy Cluster: the external IP ends in the blackhole',
    from: 'near',
    to: 'external-ip',
    outcome: 'timeout',
    lab: { ...NOBODY, service: { policy: 'Cluster' } },
  },
  {
    fact: 'only terminating endpoints that serve: 1.26 and later use them',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok([P1], [C1]),
    lab: {
      pods: [
        { name: 'p1', on: 'w1', terminating: true },
        { name: 'c1', on: 'w1', serves: false },
      ],
    },
    versions: [NEW, NFT],
  },
  {
    fact: 'only terminating endpoints that serve: before 1.26 they are nobody',
    from: 'pod/c1',
    to: 'cluster-ip',
    outcome: 'refused',
    lab: {
      pods: [
        { name: 'p1', on: 'w1', terminating: true },
        { name: 'c1', on: 'w1', serves: false },
      ],
    },
    versions: [OLD],
  },
  {
    fact: 'topology hints shrink the Cluster set to the zone',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok([P1], [C1]),
    lab: { zones: { w1: 'a', w2: 'b', w3: 'a' } },
    versions: [NFT, '1.31.0'],
  },
  {
    fact: 'topology hints up to 1.30: of a service whose annotation asks for them',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok([P1], [C1]),
    lab: { zones: { w1: 'a', w2: 'b', w3: 'a' }, service: { asksForZones: true } },
    versions: [NEW],
  },
  {
    fact: 'topology hints up to 1.30: of no other',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok(BOTH, [C1]),
    lab: { zones: { w1: 'a', w2: 'b', w3: 'a' } },
    versions: [NEW],
  },

  // ---- pods and names
  { fact: 'pod to pod', from: 'pod/c1', to: 'pod/p2', ...ok([P2], [C1]) },
  { fact: 'pod to a pod of its node', from: 'pod/c1', to: 'pod/p1', ...ok([P1], [C1]) },
  { fact: 'pod to itself', from: 'pod/p1', to: 'pod/p1', ...ok([P1], [P1]) },
  { fact: 'node to pod', from: 'm', to: 'pod/p2', ...ok([P2], [M]) },
  { fact: 'routed client to pod', from: 'near', to: 'pod/p2', ...ok([P2], [NEAR]) },
  { fact: 'client without routes to pod', from: 'far', to: 'pod/p2', outcome: 'no-route' },
  { fact: 'headless name from a pod', from: 'pod/c1', to: 'name', ...ok(BOTH, [C1]) },
  { fact: 'headless name from a machine', from: 'near', to: 'name', outcome: 'dns-error' },
  {
    fact: 'headless name without a ready pod',
    from: 'pod/c1',
    to: 'name',
    outcome: 'dns-nxdomain',
    lab: NOBODY,
  },
];

describe('ClusterIPs, pods, and nobody there', () => {
  testRows(rows);
});
