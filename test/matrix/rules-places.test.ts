import { describe } from 'vitest';
import { BOTH, C1, FAR, NEAR, NEW, NFT, OLD, ok, P1, P2, type Row, testRows, W1, W2 } from './rows.ts';
import { podAddress, workerAddress } from './synthetic-lab.ts';

const rows: readonly Row[] = [
  // ---- pods in their node's network
  {
    fact: 'a client pod in its node network is its node',
    from: 'pod/h',
    to: 'pod/p2',
    ...ok([P2], [W1]),
    lab: {
      pods: [
        { name: 'p2', on: 'w2' },
        { name: 'h', on: 'w1', hostNetwork: true, serves: false },
      ],
    },
  },
  {
    fact: 'a client pod in its node network does not resolve names',
    from: 'pod/h',
    to: 'name',
    outcome: 'dns-error',
    lab: {
      pods: [
        { name: 'p2', on: 'w2' },
        { name: 'h', on: 'w1', hostNetwork: true, serves: false },
      ],
    },
  },
  {
    fact: 'a backend in its node network: pods elsewhere are masqueraded on the way out',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok([W2], [W1]),
    lab: {
      pods: [
        { name: 'h', on: 'w2', hostNetwork: true },
        { name: 'c1', on: 'w1', serves: false },
      ],
    },
  },
  {
    fact: 'a backend in its node network: pods of that node keep their address',
    from: 'pod/c2',
    to: 'cluster-ip',
    ...ok([W2], [podAddress(2, 1)]),
    lab: {
      pods: [
        { name: 'h', on: 'w2', hostNetwork: true },
        { name: 'c2', on: 'w2', serves: false },
      ],
    },
  },
  {
    fact: 'a backend in its node network, policy Local from outside',
    from: 'far',
    to: 'node-port/w2',
    ...ok([W2], [FAR]),
    lab: { pods: [{ name: 'h', on: 'w2', hostNetwork: true }] },
  },

  // ---- where node ports are served
  {
    fact: 'nodePortAddresses leave an address out',
    from: 'far',
    to: 'node-port/w1',
    outcome: 'refused',
    lab: { proxy: { nodePortAddresses: ['10.9.0.0/16'] } },
  },
  {
    fact: 'nodePortAddresses leave an address out, but not of the rule that drops without a local endpoint',
    from: 'far',
    to: 'node-port/w3',
    outcome: 'timeout',
    lab: { proxy: { nodePortAddresses: ['10.9.0.0/16'] } },
    versions: [NEW],
  },
  {
    fact: 'nodePortAddresses leave an address out: in nftables mode of all rules',
    from: 'far',
    to: 'node-port/w3',
    outcome: 'refused',
    lab: { proxy: { nodePortAddresses: ['10.9.0.0/16'] } },
    versions: [NFT],
  },
  {
    fact: 'nodePortAddresses name it',
    from: 'far',
    to: 'node-port/w1',
    ...ok([P1], [FAR]),
    lab: { proxy: { nodePortAddresses: ['10.1.0.0/16'] } },
  },
  {
    fact: 'node port on 127.0.0.1',
    from: 'w1',
    to: 'node-port/127.0.0.1',
    ...ok(BOTH, [W1]),
    versions: [OLD, NEW],
  },
  {
    fact: 'node port on 127.0.0.1: not in nftables mode',
    from: 'w1',
    to: 'node-port/127.0.0.1',
    outcome: 'refused',
    versions: [NFT],
  },
  {
    fact: 'node port on 127.0.0.1 switched off',
    from: 'w1',
    to: 'node-port/127.0.0.1',
    outcome: 'refused',
    lab: { proxy: { localhostNodePorts: false } },
  },

  // ---- how many and how chosen
  {
    fact: 'session affinity: any one of them',
    from: 'pod/c1',
    to: 'cluster-ip',
    ...ok(BOTH, [C1]),
    lab: { service: { affinity: 'ClientIP' } },
  },
  {
    fact: 'hash policy 0: any next hop, one per client',
    from: 'near',
    to: 'external-ip',
    ...ok(BOTH, [NEAR]),
    lab: { hashPolicy: 0 },
  },
  {
    fact: 'one worker',
    from: 'near',
    to: 'external-ip',
    ...ok([P1], [NEAR]),
    lab: { workers: 1, pods: [{ name: 'p1', on: 'w1' }] },
  },
  {
    fact: 'twenty workers',
    from: 'near',
    to: 'cluster-ip',
    ...ok(
      BOTH,
      Array.from({ length: 20 }, (_, index) => workerAddress(index + 1)),
    ),
    lab: { workers: 20 },
  },
];

describe('pods in the network of their node, where node ports are served, and how many there are', () => {
  testRows(rows);
});
