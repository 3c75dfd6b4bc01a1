import { describe, expect, it } from 'vitest';
import { type FlowMark, followFlow, packetText } from '../../scripts/diagnostics/flow.ts';
import { back, datagram, sightings, syn, unreachable } from './sightings.ts';

const mark: FlowMark = {
  origin: 'client',
  protocol: 'tcp',
  sourcePort: 20001,
  ports: [80, 1234],
  nonce: null,
};
const FIRST = '192.0.2.1:20001 > 10.0.0.1:80';
const TRANSLATED = '192.0.2.1:20001 > 10.1.0.1:1234';
const MASQUERADED = '192.0.2.9:5555 > 10.1.0.1:1234';

/** The way of a packet as "machine in>out". */
function ways(story: ReturnType<typeof followFlow>) {
  const text = (visits: typeof story.forward) =>
    visits.map(
      ({ machine, arrived, left }) => `${machine} ${arrived?.interface ?? '-'}>${left?.interface ?? '-'}`,
    );
  return { forward: text(story.forward), answer: text(story.answer) };
}

const good = sightings({
  client: { packets: [syn('eth0 out', FIRST), back('eth0 in node', '10.0.0.1:80 > 192.0.2.1:20001')] },
  other: { packets: [syn('eth0 in client', '192.0.2.1:20001 > 10.0.0.1:80', 8)] },
  node: {
    packets: [
      syn('eth0 in router', FIRST),
      syn('veth1 out', TRANSLATED),
      back('veth1 in', '10.1.0.1:1234 > 192.0.2.1:20001'),
      back('eth0 out', '10.0.0.1:80 > 192.0.2.1:20001'),
    ],
  },
  router: { packets: [syn('eth0 in client', FIRST), syn('eth0 out', FIRST)] },
});

describe('followFlow', () => {
  it('follows a packet through translation, and the answer on its own way back', () => {
    const story = followFlow(mark, good);
    expect(ways(story)).toEqual({
      forward: ['client ->eth0', 'router eth0>eth0', 'node eth0>veth1'],
      answer: ['node veth1>eth0', 'client eth0>-'],
    });
    expect(story.reply).toMatchObject({ flags: 'SA', source: '10.1.0.1' });
  });

  it('goes on by masquerading, and by whoever sent it on the link', () => {
    const seen = sightings({
      second: { packets: [syn('eth0 in first', MASQUERADED)] },
      first: { packets: [syn('eth0 in router', FIRST), syn('eth0 out', MASQUERADED)] },
      router: { packets: [syn('eth0 in client', FIRST), syn('eth1 out', FIRST)] },
      client: { packets: [syn('eth0 out', FIRST)] },
    });
    const { forward } = ways(followFlow(mark, seen));
    expect(forward).toEqual(['client ->eth0', 'router eth0>eth1', 'first eth0>eth0', 'second eth0>-']);
  });

  it('does not take what a machine sends to itself for sent on', () => {
    const seen = sightings({ client: { packets: [syn('lo out', FIRST), syn('lo in', FIRST)] } });
    expect(ways(followFlow(mark, seen)).forward).toEqual(['client lo>-']);
  });

  it('ends where nothing is sent on', () => {
    const seen = sightings({
      client: { packets: [syn('eth0 out', FIRST)] },
      node: { packets: [syn('eth0 in client', FIRST)] },
    });
    expect(ways(followFlow(mark, seen)).forward).toEqual(['client ->eth0', 'node eth0>-']);
  });

  it('sees nothing where nothing left, and takes no other connection for it', () => {
    const seen = sightings({ client: { packets: [syn('eth0 out', '192.0.2.1:9 > 10.0.0.1:80')] } });
    expect(ways(followFlow(mark, seen))).toEqual({ forward: ['client ->-'], answer: [] });
  });

  it('recognises its own masqueraded connection by connection tracking', () => {
    const seen = sightings({
      client: {
        packets: [syn('eth0 out', MASQUERADED)],
        conntrack: [
          'tcp      6 117 SYN_SENT src=192.0.2.1 dst=10.0.0.1 sport=20001 dport=80 [UNREPLIED] src=10.1.0.1 dst=192.0.2.9 sport=1234 dport=5555 mark=0 use=1',
        ],
      },
    });
    expect(ways(followFlow(mark, seen)).forward).toEqual(['client ->eth0']);
  });

  it('tells the refusal of the machine itself', () => {
    const seen = sightings({
      client: {
        packets: [syn('eth0 out', FIRST), back('eth0 in node', '10.0.0.1:80 > 192.0.2.1:20001', 'AR')],
      },
      node: {
        packets: [syn('eth0 in client', FIRST), back('eth0 out', '10.0.0.1:80 > 192.0.2.1:20001', 'AR')],
      },
    });
    const story = followFlow(mark, seen);
    expect(ways(story)).toEqual({
      forward: ['client ->eth0', 'node eth0>-'],
      answer: ['node ->eth0', 'client eth0>-'],
    });
    expect(story.reply).toMatchObject({ flags: 'AR' });
  });

  it('follows a datagram by its line, and knows its answer by the port', () => {
    const udp: FlowMark = { ...mark, protocol: 'udp', nonce: 'nonce' };
    const seen = sightings({
      client: { packets: [datagram('eth0 out', FIRST)] },
      node: {
        packets: [
          datagram('eth0 in client', FIRST, 'another'),
          datagram('eth0 in client', FIRST),
          datagram('veth1 out', TRANSLATED),
          datagram('veth1 in', '10.1.0.1:1234 > 192.0.2.1:20001'),
        ],
      },
    });
    expect(ways(followFlow(udp, seen))).toEqual({
      forward: ['client ->eth0', 'node eth0>veth1'],
      answer: ['node veth1>-'],
    });
    expect(followFlow({ ...udp, nonce: null }, seen).forward).toEqual([{ machine: 'client' }]);
  });

  it('keeps the ICMP messages about it, from the machine that sent them', () => {
    const about = syn('eth0 in', FIRST);
    const message = (where: string) => unreachable(where, '192.0.2.254', 1, about);
    const seen = sightings({
      client: { packets: [syn('eth0 out', FIRST), message('eth0 in')] },
      router: { packets: [about, message('eth0 out')] },
    });
    const { errors } = followFlow(mark, seen);
    expect(errors.map(({ machine }) => machine)).toEqual(['router']);
    const [first] = errors;
    expect(first && packetText(first.message).trim()).toBe('1 ms eth0 out ICMP 3/1 192.0.2.254 > 192.0.2.1');
  });
});
