import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseCounters } from '../../scripts/matrix/proof-counters.ts';
import { canMatch, type Match, type RulePacket, wordsOf } from '../../scripts/matrix/rule-match.ts';
import { parseSets } from '../../scripts/matrix/state/nat.ts';

const recorded = (name: string) =>
  readFileSync(new URL(`../transcripts/rules/${name}`, import.meta.url), 'utf8');
/** A worker with Calico 3.32 and two policies: nothing but TCP 1234 of the lab's own network, and no UDP from `routed`. */
const rules = parseCounters(recorded('k3s-calico-policy.txt'));
const sets = parseSets(recorded('k3s-calico-policy-sets.txt'));

/** Whether the recorded rule with this hash of Felix, or this text, can match. */
function match(text: string, packet: RulePacket, given = { rules, sets }): Match {
  const rule = given.rules.find((each) => each.rule.includes(text));
  if (rule === undefined) throw new Error(`no rule with ${text}`);
  return canMatch(rule, packet, given);
}

/** A datagram from `routed` to a pod, as the pod's worker sees it. */
const DATAGRAM: RulePacket = {
  protocol: 'udp',
  source: '192.168.13.40',
  sourcePort: 20001,
  destination: '10.255.230.193',
  port: 5678,
  in: 'eth0',
};
const SYN: RulePacket = { ...DATAGRAM, protocol: 'tcp', port: 1234 };
/** The rule that really dropped the datagrams: it asks for a mark that another rule sets. */
const DENY = 'cali:WF3Kq6BUcG5zX6Ca';
const SERVICE_LOOP = 'cali:Y7yx6NcEkDkD1Bnj';

describe('a rule of Calico with policies', () => {
  it.each<[string, string, RulePacket, Match]>([
    // Whether another policy has already let it pass is in a mark.
    ['the policy that drops a datagram from routed', DENY, DATAGRAM, 'unknown'],
    ['it for another pod of the node, that only one has', DENY, { ...DATAGRAM, out: 'cali1' }, 'no'],
    ['it for another protocol: nothing sets its mark', DENY, SYN, 'no'],
    ['it for another client: nothing sets its mark', DENY, { ...DATAGRAM, source: '192.168.13.104' }, 'no'],
    ['the block of service addresses for a pod', SERVICE_LOOP, DATAGRAM, 'no'],
    ['it for a service address', SERVICE_LOOP, { ...DATAGRAM, destination: '10.102.193.199' }, 'yes'],
    ['it while the destination is not known', SERVICE_LOOP, { protocol: 'udp' }, 'unknown'],
    ['what comes from an unknown pod, from the network', 'cali:-QGR-xrRjrciW6ZZ', DATAGRAM, 'no'],
    ['it, from a pod', 'cali:-QGR-xrRjrciW6ZZ', { ...DATAGRAM, in: 'cali123' }, 'yes'],
    ['VXLAN of a pod, by its port', 'cali:acZEavW_ZePim3Jg', { ...DATAGRAM, in: 'cali45ebf708495' }, 'no'],
    ['IPIP of a pod, by its protocol', 'cali:I03H59XhkQWUtN9e', { ...SYN, in: 'cali45ebf708495' }, 'no'],
    ['a policy that takes one network', 'cali:-G9dxIUuJXOwlD1b', SYN, 'unknown'],
    ['it for another port', 'cali:-G9dxIUuJXOwlD1b', { ...SYN, port: 80 }, 'no'],
    ['a policy that takes the members of a set', 'cali:K4zWOYu0c93nH1cg', SYN, 'no'],
    ['it for a member', 'cali:K4zWOYu0c93nH1cg', { ...SYN, source: '10.255.8.1' }, 'unknown'],
    ['what no pod sends outside is masqueraded for', '-A cali-nat-outgoing', DATAGRAM, 'no'],
    [
      'it for a pod towards a node',
      '-A cali-nat-outgoing',
      { ...DATAGRAM, source: '10.255.8.1', destination: '192.168.13.40' },
      'yes',
    ],
    ['it towards a pod', '-A cali-nat-outgoing', { ...DATAGRAM, source: '10.255.8.1' }, 'no'],
    ['what only connection tracking knows', '--ctstate INVALID -m nfacct', DATAGRAM, 'unknown'],
    [
      'a mark that is not there, of which one can be',
      '! --mark 0x4000/0x4000 -j RETURN',
      DATAGRAM,
      'unknown',
    ],
  ])('%s', (_, text, packet, wanted) => {
    expect(match(text, packet)).toBe(wanted);
  });

  it('is not known where its set is not', () => {
    expect(match('cali:K4zWOYu0c93nH1cg', SYN, { rules, sets: new Map() })).toBe('unknown');
  });
});

describe('a rule', () => {
  const of = (rule: string, packet: RulePacket) => {
    const [parsed] = parseCounters(`*filter\n[0:0] ${rule}`);
    if (parsed === undefined) throw new Error(rule);
    return canMatch(parsed, packet, { rules: [parsed], sets: new Map() });
  };

  it.each<[string, RulePacket, Match]>([
    ['-A FORWARD -j DROP', SYN, 'yes'],
    ['-A FORWARD ! -s 192.168.13.0/24 -j DROP', SYN, 'no'],
    ['-A FORWARD ! -p tcp -j DROP', SYN, 'no'],
    ['-A FORWARD -p 6 -j DROP', SYN, 'yes'],
    ['-A FORWARD -p tcp -m tcp --dport 1000:2000 -j DROP', SYN, 'yes'],
    ['-A FORWARD -p tcp -m multiport --dports 80,443,1000:1233 -j DROP', SYN, 'no'],
    ['-A FORWARD -p tcp -m multiport --ports 20001 -j DROP', SYN, 'yes'],
    ['-A FORWARD -p tcp -m tcp ! --sport 20001 -j DROP', SYN, 'no'],
    ['-A INPUT -i lo -j DROP', SYN, 'no'],
    ['-A INPUT -i eth+ -j DROP', SYN, 'yes'],
    ['-A FORWARD -m statistic --mode random --probability 0.5 -j DROP', SYN, 'unknown'],
    ['-A FORWARD -d 10.0.0.0/8 -m comment --comment "not -d 1.2.3.4 -p udp" -j DROP', SYN, 'yes'],
    ['-A FORWARD -d 10.0.0.0/8 -j DROP', { ...SYN, destination: 'server1.headless' }, 'unknown'],
    ['-A X -m comment --comment "echo-server/web:tcp has no local endpoints" -j DROP', SYN, 'yes'],
    [
      '-A X -m comment --comment "echo-server/web:tcp has no local endpoints" -j DROP',
      { ...SYN, service: 'other' },
      'no',
    ],
    ['-A X -m comment --comment "echo-server/web:tcp" -j DROP', { ...SYN, service: 'web' }, 'yes'],
  ])('%s', (rule, packet, wanted) => {
    expect(of(rule, packet)).toBe(wanted);
  });

  it('has words, with quotes and escapes resolved', () => {
    expect(wordsOf('-A X -m comment --comment "a \\"b\\" c" -j DROP')).toEqual([
      ...['-A', 'X', '-m', 'comment', '--comment', 'a "b" c', '-j', 'DROP'],
    ]);
  });
});
