import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { evidenceOf } from '../../scripts/diagnostics/evidence.ts';
import { followFlow } from '../../scripts/diagnostics/flow.ts';
import type { Packet } from '../../scripts/diagnostics/watch.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import type { Evidence, Observation } from '../../scripts/matrix/types.ts';
import { endpointsOf, planOf, rightly } from '../matrix/fixtures.ts';
import { back, datagram, type Machine, sentenceOf, sightings, syn, unreachable } from './sightings.ts';

const state = endpointsOf();
const cells = buildCells(planOf(), state);
const PORT = 20001;
const TIMEOUT: Partial<Observation> = { outcome: 'timeout', server: null, client: null };

/** The evidence for a cell whose attempt ended in some way while the machines saw something. */
function evidence(id: string, seen: Partial<Observation>, machines: Record<string, Machine>): Evidence {
  const cell = cells.find((each) => each.id === id);
  if (cell === undefined) throw new Error(`no cell ${id}`);
  const watched = sightings(machines);
  const ports = [cell.port, 1234, 5678];
  const pod = state.pods.find(({ name }) => `pod/${name}` === cell.from);
  const story = followFlow(
    {
      origin: pod?.node ?? cell.from,
      protocol: cell.protocol === 'icmp' ? 'tcp' : cell.protocol,
      sourcePort: PORT,
      ports,
      nonce: cell.protocol === 'udp' ? 'nonce' : null,
    },
    watched,
  );
  const observed = rightly(cell, seen);
  return evidenceOf({ cell, state, sightings: watched, ports: [...ports, PORT], observed, story });
}

/** Packets as "192.168.13.104:20001 > 192.168.13.35:31234", short. */
const UBUNTU = `192.168.13.104:${PORT}`;
const NODE_PORT = `${UBUNTU} > 192.168.13.35:31234`;
const AT_POD = `${UBUNTU} > 10.255.0.74:1234`;
const FROM_POD = `10.255.0.74:1234 > ${UBUNTU}`;
const cell = 'ubuntu>echo-np-tcp/k8sworker1:31234/tcp';
const ubuntu: Machine = { packets: [syn('eth0 out', NODE_PORT)] };
const DROP = 'filter -A FORWARD -p tcp -m tcp --dport 1234 -j DROP';

/** What the worker sees up to the pod, and then this. */
function worker(...then: Packet[]): Machine {
  return { packets: [syn('eth0 in ubuntu', NODE_PORT), syn('veth1 out', AT_POD), ...then] };
}

describe('the first hop that differs', () => {
  it('is the one whose rule stops the packet', () => {
    const seen = evidence(cell, TIMEOUT, {
      ubuntu,
      k8sworker1: { packets: [syn('eth0 in ubuntu', NODE_PORT)], moved: { [DROP]: 2 } },
      k8sworker2: { moved: { [DROP]: 9 } },
    });
    expect(sentenceOf(seen)).toBe(
      'The packet reached k8sworker1 eth0, and rule "FORWARD -p tcp -m tcp --dport 1234 -j DROP" (+2 packets) stopped it there.',
    );
    expect(seen.hops.map(({ at, agrees, text }) => [at, agrees, text])).toEqual([
      ['ubuntu', true, `out by eth0 as ${NODE_PORT}`],
      ['k8sworker1', false, `in by eth0 as ${NODE_PORT}, not sent on`],
    ]);
    expect(seen.hops[1]?.detail[0]).toBe(`packet: 1 ms eth0 in ${NODE_PORT} S`);
  });

  it('is not told by rules about other protocols, ports and services', () => {
    const seen = evidence(cell, TIMEOUT, {
      ubuntu,
      k8sworker1: {
        packets: [syn('eth0 in ubuntu', NODE_PORT)],
        moved: {
          'filter -A INPUT -p udp -j DROP': 1,
          'filter -A INPUT -p tcp -m tcp --dport 9 -j DROP': 1,
          'nat -A KUBE-XLB-A -m comment --comment "echo-server/echo-lb-tcp:tcp has no local endpoints" -j KUBE-MARK-DROP': 1,
        },
      },
    });
    expect(sentenceOf(seen)).toBe(
      'The packet reached k8sworker1 eth0, and it went no further, and no rule and no route there tells why; predicted there: echo-server1 on this node.',
    );
  });

  it('is told by the rule that can match, not by the first one that counted', () => {
    // The rules of a worker with Calico and a policy, and what they counted while two findings were watched at once.
    const policy = readFileSync(
      new URL('../transcripts/rules/k3s-calico-policy.txt', import.meta.url),
      'utf8',
    ).split('\n');
    const counted = (packets: number, ...hashes: readonly string[]) =>
      Object.fromEntries(
        hashes.map((hash) => {
          const rule = policy.find((line) => line.includes(`cali:${hash}`)) ?? '';
          return [`filter ${rule.replace(/^\S+ /, '')}`, packets];
        }),
      );
    const loop = counted(1, 'Y7yx6NcEkDkD1Bnj');
    const deny = counted(4, 'WF3Kq6BUcG5zX6Ca', 'jb48BwtdKuhI8d0R', 'ZFhPI80lOEElgvEN', '4Z0Pf0byo05NFe-P');
    const first = datagram('eth0 out', `192.168.13.40:${PORT} > 10.255.0.74:5678`);
    const of = (moved: Readonly<Record<string, number>>) =>
      evidence('routed>pod/echo-server1:5678/udp', TIMEOUT, {
        routed: { packets: [first] },
        bgp: { packets: [{ ...first, direction: 'in', sender: 'routed' }, first] },
        k8sworker1: { packets: [{ ...first, direction: 'in', sender: 'bgp' }], moved },
      });
    expect(sentenceOf(of({ ...loop, ...deny }))).toBe(
      'The packet reached k8sworker1 eth0, and rule cali-pi-_Uy4rTChLiof_wgap7hm "cali:WF3Kq6BUcG5zX6Ca" -j DROP (+4 packets) stopped it there.',
    );
    const seen = of(loop);
    expect(sentenceOf(seen)).toMatch(/ it went no further, and no rule and no route there tells why/);
    expect(seen.hops.flatMap(({ detail }) => detail).join()).not.toContain('cali-cidr-block');
  });

  it('is the node without a pod that the router still has as a next hop', () => {
    const first = `192.168.13.40:${PORT} > 2.2.2.2:1234`;
    const seen = evidence('routed>echo-lb-tcp/2.2.2.2:1234/tcp', TIMEOUT, {
      routed: { packets: [syn('eth0 out', first)] },
      k8sworker1: {
        packets: [syn('eth0 in bgp', first)],
        moved: {
          'filter -A KUBE-FIREWALL -m comment --comment "kubernetes firewall for dropping marked packets" -m mark --mark 0x8000/0x8000 -j DROP': 3,
          'nat -A KUBE-XLB-CJWA5ESDMAAGKDRQ -m comment --comment "echo-server/echo-lb-tcp:tcp has no local endpoints" -j KUBE-MARK-DROP': 3,
        },
      },
      bgp: { packets: [syn('eth0 in routed', first), syn('eth0 out', first)] },
    });
    expect(sentenceOf(seen)).toBe(
      'The packet reached k8sworker1 eth0, and rule KUBE-XLB-CJWA5ESDMAAGKDRQ "echo-server/echo-lb-tcp:tcp has no local endpoints" -j KUBE-MARK-DROP (+3 packets) stopped it there, but bgp still has k8sworker1 as next hop.',
    );
  });

  it('is the sender itself', () => {
    const rule = 'filter -A OUTPUT -p tcp -m tcp --dport 31234 -j DROP';
    expect(sentenceOf(evidence(cell, TIMEOUT, { ubuntu: { moved: { [rule]: 2 } } }))).toBe(
      'ubuntu did not send it: rule "OUTPUT -p tcp -m tcp --dport 31234 -j DROP" (+2 packets) stopped it.',
    );
    const route = { '192.168.13.35': { error: 'Network is unreachable' } };
    const detail = 'connect: Network is unreachable';
    expect(
      sentenceOf(evidence(cell, { ...TIMEOUT, outcome: 'no-route', detail }, { ubuntu: { routes: route } })),
    ).toMatch(/^ubuntu has no route for it \(no way: Network is unreachable\)/);
    expect(
      sentenceOf(
        evidence(cell, { ...TIMEOUT, detail: 'x' }, { ubuntu: { problems: ['python3: not installed'] } }),
      ),
    ).toBe('Nothing of it left ubuntu: x (python3: not installed).');
  });

  it('is the wire', () => {
    expect(sentenceOf(evidence(cell, TIMEOUT, { ubuntu, k8sworker1: {} }))).toBe(
      'The packet left ubuntu by eth0 for k8sworker1, where it never arrived.',
    );
  });

  it('is the one that sends it where its routes do not lead', () => {
    const first = `192.168.13.40:${PORT} > 10.255.0.74:1234`;
    expect(
      sentenceOf(
        evidence('routed>pod/echo-server1:1234/tcp', TIMEOUT, {
          routed: { packets: [syn('eth0 out', first)] },
          k8sworker1: { packets: [syn('eth0 in routed', first)] },
          bgp: {},
        }),
      ),
    ).toBe('routed sent the packet to k8sworker1, but its route to 10.255.0.74 leads to bgp.');
  });

  it('is the one that leads it to another pod', () => {
    const rule = 'nat -A PREROUTING -p tcp -m tcp --dport 31234 -j DNAT --to-destination 10.255.0.202:1234';
    const other = `${UBUNTU} > 10.255.0.202:1234`;
    expect(
      sentenceOf(
        evidence(cell, TIMEOUT, {
          ubuntu,
          k8sworker1: {
            packets: [syn('eth0 in ubuntu', NODE_PORT), syn('eth0 out', other)],
            moved: { [rule]: 1 },
          },
          k8sworker3: { packets: [syn('eth0 in k8sworker1', other), syn('veth9 out', other)] },
        }),
      ),
    ).toBe(
      'k8sworker1 led it to echo-server3 (10.255.0.202) by rule "PREROUTING -p tcp -m tcp --dport 31234 -j DNAT --to-destination 10.255.0.202:1234" (+1 packet), but only echo-server1 (10.255.0.74) may answer.',
    );
  });

  it('is the one that replaces the source', () => {
    const rule = 'nat -A POSTROUTING -p tcp -j SNAT --to-source 192.168.13.35';
    const changed = '192.168.13.35:20001 > 10.255.0.74:1234';
    const wrong = { outcome: 'wrong-source', client: '192.168.13.35' } as const;
    expect(
      sentenceOf(
        evidence(cell, wrong, {
          ubuntu,
          k8sworker1: {
            packets: [syn('eth0 in ubuntu', NODE_PORT), syn('veth1 out', changed)],
            moved: { [rule]: 1 },
          },
        }),
      ),
    ).toBe(
      'k8sworker1 replaced the source 192.168.13.104 by 192.168.13.35 with rule "POSTROUTING -p tcp -j SNAT --to-source 192.168.13.35" (+1 packet), but the server is to see 192.168.13.104.',
    );
  });

  it('is the pod', () => {
    const way = 'The packet took the predicted path to pod/echo-server1 on k8sworker1';
    const of = (seen: Partial<Observation>, home: Machine, ...then: Packet[]) =>
      evidence(cell, seen, {
        ubuntu: { packets: [...(ubuntu.packets ?? []), ...(home.packets ?? [])] },
        k8sworker1: worker(...then),
      });
    const answered = back('eth0 in k8sworker1', `192.168.13.35:31234 > ${UBUNTU}`);
    const sent = back('eth0 out', `192.168.13.35:31234 > ${UBUNTU}`);

    expect(sentenceOf(of(TIMEOUT, {}))).toBe(`${way}, which got it and did not answer.`);
    expect(sentenceOf(of({ outcome: 'refused' }, {}, back('veth1 in', FROM_POD, 'AR')))).toBe(
      `${way}, which refused it: nothing listens on port 1234 there.`,
    );
    expect(sentenceOf(of(TIMEOUT, { packets: [answered] }, back('veth1 in', FROM_POD), sent))).toBe(
      `${way}, which accepted the connection and then said nothing: the server there does not serve.`,
    );
    const half = { ...TIMEOUT, detail: 'connected, but the echo did not come in time' };
    expect(
      sentenceOf(
        of(
          half,
          { packets: [answered] },
          back('veth1 in', FROM_POD),
          sent,
          back('veth1 in', FROM_POD, 'AP', 20),
        ),
      ),
    ).toBe(`${way} and back, but what pod/echo-server1 said is wrong: ${half.detail}.`);
    const seen = of(
      { outcome: 'corrupt', detail: 'not an echo header' },
      { packets: [answered] },
      back('veth1 in', FROM_POD),
      sent,
      back('veth1 in', FROM_POD, 'AP', 20),
    );
    expect(sentenceOf(seen)).toBe(
      `${way} and back, but what pod/echo-server1 said is wrong: not an echo header.`,
    );
    expect(seen.hops.map(({ at, agrees }) => [at, agrees])).toEqual([
      ['ubuntu', true],
      ['k8sworker1', true],
      ['pod/echo-server1', false],
    ]);
  });

  it('is the one that lets the first packet through and not the second', () => {
    const rule = 'filter -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP';
    const first = `192.168.13.40:${PORT} > 10.255.0.74:1234`;
    const acknowledged = back('eth0 in routed', first, 'A');
    expect(
      sentenceOf(
        evidence('routed>pod/echo-server1:1234/tcp', TIMEOUT, {
          routed: {
            packets: [
              syn('eth0 out', first),
              back('eth0 in k8sworker1', '10.255.0.74:1234 > 192.168.13.40:20001'),
            ],
          },
          bgp: {
            packets: [syn('eth0 in routed', first), syn('eth0 out', first), acknowledged],
            moved: { [rule]: 4 },
          },
          k8sworker1: {
            packets: [
              syn('eth0 in bgp', first),
              syn('veth1 out', first),
              back('veth1 in', '10.255.0.74:1234 > 192.168.13.40:20001'),
              back('eth0 out', '10.255.0.74:1234 > 192.168.13.40:20001'),
            ],
          },
        }),
      ),
    ).toBe(
      'bgp sent the first packet on, but not what followed when the connection was made: rule "KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP" (+4 packets) stopped it.',
    );
  });

  it('is the one that does not send the answer on', () => {
    const rule = 'filter -A FORWARD -p tcp -m tcp --sport 1234 -j DROP';
    expect(
      sentenceOf(
        evidence(cell, TIMEOUT, {
          ubuntu,
          k8sworker1: { ...worker(back('veth1 in', FROM_POD)), moved: { [rule]: 3 } },
        }),
      ),
    ).toBe(
      'pod/echo-server1 answered, but k8sworker1 did not send the answer on: rule "FORWARD -p tcp -m tcp --sport 1234 -j DROP" (+3 packets) stopped it.',
    );
    expect(
      sentenceOf(
        evidence(cell, TIMEOUT, {
          ubuntu,
          k8sworker1: worker(back('veth1 in', FROM_POD), back('eth0 out', `192.168.13.35:31234 > ${UBUNTU}`)),
        }),
      ),
    ).toBe(
      'pod/echo-server1 answered, and the answer left k8sworker1 by eth0 for ubuntu, where it never arrived.',
    );
  });

  it('is the node on which something else answers', () => {
    const answer = `192.168.13.35:31234 > ${UBUNTU}`;
    expect(
      sentenceOf(
        evidence(
          cell,
          { outcome: 'corrupt' },
          {
            ubuntu: { packets: [syn('eth0 out', NODE_PORT), back('eth0 in k8sworker1', answer)] },
            k8sworker1: {
              packets: [syn('eth0 in ubuntu', NODE_PORT), back('eth0 out', answer)],
              moved: { 'nat -A PREROUTING -p tcp -j REDIRECT --to-ports 9': 1 },
            },
          },
        ),
      ),
    ).toBe(
      'The packet reached k8sworker1 eth0, and a program on k8sworker1 itself answered it, to which rule "PREROUTING -p tcp -j REDIRECT --to-ports 9" (+1 packet) led it; predicted there: echo-server1 on this node.',
    );
  });

  it('is the node that refuses it itself', () => {
    const reset = `192.168.13.35:31234 > ${UBUNTU}`;
    expect(
      sentenceOf(
        evidence(
          cell,
          { outcome: 'refused' },
          {
            ubuntu: { packets: [syn('eth0 out', NODE_PORT), back('eth0 in k8sworker1', reset, 'AR')] },
            k8sworker1: { packets: [syn('eth0 in ubuntu', NODE_PORT), back('eth0 out', reset, 'AR')] },
          },
        ),
      ),
    ).toMatch(
      /^The packet reached k8sworker1 eth0, and k8sworker1 itself refused it, because nothing there listens/,
    );
  });

  it('is the router that says that it cannot', () => {
    const first = syn('eth0 in routed', `192.168.13.40:${PORT} > 10.255.0.74:1234`);
    expect(
      sentenceOf(
        evidence(
          'routed>pod/echo-server1:1234/tcp',
          { outcome: 'host-unreachable' },
          {
            routed: { packets: [syn('eth0 out', `192.168.13.40:${PORT} > 10.255.0.74:1234`)] },
            bgp: { packets: [first, unreachable('eth0 out', '192.168.13.39', 1, first)] },
          },
        ),
      ),
    ).toMatch(/^The packet reached bgp eth0, and bgp answered with ICMP type 3 code 1/);
  });
});

describe('a connection that must not get through', () => {
  const denied = 'ubuntu>echo-server-udp/k8smaster1:31678/udp';
  const first = `${UBUNTU} > 192.168.13.30:31678`;
  const sent: Machine = { packets: [datagram('eth0 out', first)] };
  const arrived = datagram('eth0 in ubuntu', first);

  it('differs where it is sent on', () => {
    const on = `${UBUNTU} > 10.255.0.74:5678`;
    expect(
      sentenceOf(
        evidence(
          denied,
          { outcome: 'corrupt' },
          {
            ubuntu: sent,
            k8smaster1: { packets: [arrived, datagram('eth0 out', on)] },
            k8sworker1: { packets: [datagram('eth0 in k8smaster1', on)] },
          },
        ),
      ),
    ).toMatch(
      /^The packet was to end on k8smaster1 \(KUBE-FIREWALL; .*\), but k8smaster1 sent it on to echo-server1 \(10.255.0.74\) by eth0\.$/,
    );
  });

  it('differs where another rule stops it', () => {
    const rule = 'raw -A PREROUTING -p udp -m udp --dport 31678 -j DROP';
    expect(
      sentenceOf(
        evidence(denied, TIMEOUT, { ubuntu: sent, k8smaster1: { packets: [arrived], moved: { [rule]: 1 } } }),
      ),
    ).toMatch(
      /^The packet reached k8smaster1 eth0 and ended there, but by rule "PREROUTING .* -j DROP" \(\+1 packet\) and not as predicted: KUBE-FIREWALL/,
    );
  });

  it('differs where it fails in another way', () => {
    expect(
      sentenceOf(
        evidence(
          denied,
          { outcome: 'host-unreachable', detail: 'ICMP' },
          { ubuntu: sent, k8smaster1: { packets: [arrived] } },
        ),
      ),
    ).toMatch(/that looked like host-unreachable and not like timeout: ICMP\.$/);
  });

  it('differs where somebody answers', () => {
    expect(
      sentenceOf(
        evidence(
          denied,
          { outcome: 'ok' },
          {
            ubuntu: {
              packets: [
                ...(sent.packets ?? []),
                datagram('eth0 in k8smaster1', `192.168.13.30:31678 > ${UBUNTU}`),
              ],
            },
            k8smaster1: { packets: [arrived, datagram('eth0 out', `192.168.13.30:31678 > ${UBUNTU}`)] },
          },
        ),
      ),
    ).toMatch(/but it was answered on k8smaster1\.$/);
  });
});
