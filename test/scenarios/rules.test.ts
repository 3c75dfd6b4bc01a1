import { describe, expect, it } from 'vitest';
import { countedAnswers, serviceTree } from '../../scripts/scenarios/rules.ts';
import { factsOf, seen, service } from './facts.ts';

const COMMENT = '-m comment --comment "lab/web:http"';
const SEP = (name: string, ip: string, packets = 0) => [
  `[0:0] -A KUBE-SEP-${name} -s ${ip}/32 ${COMMENT} -j KUBE-MARK-MASQ`,
  `[${packets}:0] -A KUBE-SEP-${name} -p tcp ${COMMENT} -m tcp -j DNAT --to-destination ${ip}:80`,
];
const SPLIT = [
  `[0:0] -A KUBE-SVC-W ${COMMENT} -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A`,
  `[0:0] -A KUBE-SVC-W ${COMMENT} -j KUBE-SEP-B`,
  ...SEP('A', '10.255.0.3', 7),
  ...SEP('B', '10.255.0.67'),
];
const PORTAL = '-d 10.96.0.9/32 -p tcp -m comment --comment "lab/web:http cluster IP" -m tcp --dport 80';
const read = (...lines: string[]) =>
  serviceTree(['*nat', ...lines, 'COMMIT'].join('\n'), 'lab/web:http', '10.96.0.9');

describe("kube-proxy's rules for a service", () => {
  it('of 1.20 mark in KUBE-SERVICES and lead a node port to the chain itself', () => {
    expect(
      read(
        `[0:0] -A KUBE-SERVICES ! -s 10.255.0.0/16 ${PORTAL} -j KUBE-MARK-MASQ`,
        `[0:0] -A KUBE-SERVICES ${PORTAL} -j KUBE-SVC-W`,
        `[0:0] -A KUBE-NODEPORTS -p tcp ${COMMENT} -m tcp --dport 32046 -j KUBE-MARK-MASQ`,
        `[0:0] -A KUBE-NODEPORTS -p tcp ${COMMENT} -m tcp --dport 32046 -j KUBE-SVC-W`,
        ...SPLIT,
      ),
    ).toEqual({
      chain: 'KUBE-SVC-W',
      marksOutside: true,
      backends: [
        { probability: 0.5, to: '10.255.0.3:80', marksItself: true, packets: 7 },
        { to: '10.255.0.67:80', marksItself: true, packets: 0 },
      ],
      nodePort: { marks: true, chains: ['KUBE-SVC-W'] },
    });
  });

  it('since 1.24 mark in the chain of the service, and lead a node port there by KUBE-EXT', () => {
    expect(
      read(
        `[0:0] -A KUBE-SERVICES ${PORTAL} -j KUBE-SVC-W`,
        `[0:0] -A KUBE-SVC-W ! -s 10.255.0.0/16 ${PORTAL} -j KUBE-MARK-MASQ`,
        `[0:0] -A KUBE-NODEPORTS -d 127.0.0.0/8 -p tcp ${COMMENT} -j KUBE-EXT-W`,
        `[0:0] -A KUBE-EXT-W -m comment --comment "masquerade traffic for lab/web:http external destinations" -j KUBE-MARK-MASQ`,
        '[0:0] -A KUBE-EXT-W -j KUBE-SVC-W',
        ...SPLIT,
      ),
    ).toMatchObject({
      chain: 'KUBE-SVC-W',
      marksOutside: true,
      nodePort: { marks: true, chains: ['KUBE-EXT-W', 'KUBE-SVC-W'] },
    });
  });

  it('that are gone are missed: portal, mark, hairpin', () => {
    expect(read(...SPLIT.filter((line) => !line.includes('-s 10.255.0.3')))).toMatchObject({
      chain: undefined,
      marksOutside: false,
      backends: [],
      nodePort: undefined,
    });
    const { backends } = read(
      `[0:0] -A KUBE-SERVICES ${PORTAL} -j KUBE-SVC-W`,
      ...SPLIT.filter((line) => !line.includes('-s 10.255.0.3')),
    );
    expect(backends.map(({ marksItself }) => marksItself)).toEqual([false, true]);
  });
});

describe('answers between two lists of the rules', () => {
  const list = (a: number, b: number) => `*nat
[0:0] -A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "lab-test/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-W
[0:0] -A KUBE-SVC-W -m comment --comment "lab-test/web:http" -j KUBE-SEP-A
[0:0] -A KUBE-SVC-W -m comment --comment "lab-test/web:http" -j KUBE-SEP-B
[${a}:0] -A KUBE-SEP-A -p tcp -m comment --comment "lab-test/web:http" -m tcp -j DNAT --to-destination 10.255.0.3:80
[${b}:0] -A KUBE-SEP-B -p tcp -m comment --comment "lab-test/web:http" -m tcp -j DNAT --to-destination 10.255.0.67:80
COMMIT
# Completed
`;
  const answer = (address: string) => `pod web\nserver ${address}:80\nclient 10.0.0.1:9\n\nstatus 200\n`;
  const answered = answer('10.255.0.3') + answer('10.255.0.67') + answer('10.255.0.3');
  const judge = (stdout: string) =>
    countedAnswers('web').judge(seen(factsOf({ services: [service('web', [])] }), { stdout }));

  it('are what the rules counted', () => {
    expect(judge(list(7, 1) + answered + list(9, 2))).toEqual({
      right: true,
      seen: 'counted: 10.255.0.3 (2), 10.255.0.67 (1); answered: 10.255.0.3 (2), 10.255.0.67 (1)',
    });
  });

  it.each([
    ['by another rule', list(7, 1) + answered + list(8, 3)],
    ['set back meanwhile', list(7, 1) + answered + list(0, 0)],
    ['no answer', list(7, 1) + list(7, 1)],
  ])('are not: %s', (_why, stdout) => {
    expect(judge(stdout).right).toBe(false);
  });
});
