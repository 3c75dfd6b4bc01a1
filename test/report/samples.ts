import { readFileSync } from 'node:fs';
import { type Check, checkId, makeCheck } from '../../scripts/bgp/checks/check.ts';
import type { Proof } from '../../scripts/matrix/findings.ts';
import type { Evidence, Observation } from '../../scripts/matrix/types.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import type { LabRun } from '../../scripts/report/run.ts';
import { planOf } from '../matrix/fixtures.ts';
import { sampleCells } from './cells.ts';
import { CELLS, POSITIVE, runOf, TIMEOUT } from './fixtures.ts';

/** A text of the lab that must never become markup. */
export const HOSTILE =
  '</script><script>globalThis.pwned = true</script><img src=x onerror="pwned=true"> & "quoted"';

export const EVIDENCE: Evidence = {
  difference: {
    reason: 'stopped',
    at: 'k8sworker1',
    interface: 'eth0',
    rule: {
      chain: 'KUBE-EXTERNAL-SERVICES',
      rule: '-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "echo-np-tcp has no local endpoints" -j DROP',
      target: 'DROP',
      comment: 'echo-np-tcp has no local endpoints',
      moved: 3,
    },
  },
  hops: [
    {
      at: 'ubuntu',
      agrees: true,
      text: '3 SYN left eth0 for 192.168.13.35',
      detail: ['192.168.13.35 dev eth0 src 192.168.13.104 uid 0'],
    },
    {
      at: 'k8sworker1',
      agrees: false,
      text: '3 SYN came in; the rule that drops counted 3 more packets; nothing left towards the pod',
      detail: [
        '-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "echo-np-tcp has no local endpoints" -j DROP  [0 -> 3]',
        'conntrack: no entry for tcp 192.168.13.104:40123 -> 192.168.13.35:31234',
        HOSTILE,
      ],
    },
    { at: 'pod/echo-server1', agrees: false, text: 'no packet of this flow was seen', detail: [] },
  ],
  file: '.lab/bgp-lab/reports/2026-01-02T03-04-05/ubuntu-echo-np-tcp-k8sworker1.txt',
};

/** Every session of a plan, up but for those named. */
export function sessionChecks(plan: LabPlan, down: readonly string[] = []): readonly Check[] {
  return plan.bgp.peerings.map(({ kind, a, b }): Check => {
    const subject = { a: a.machine, b: b.machine, protocol: kind };
    const isDown = down.includes(checkId('session', subject));
    const [one, other] = isDown ? ['Active', 'Connect'] : ['Established', 'Established'];
    return makeCheck('session', subject, {
      verdict: isDown ? 'failed' : 'passed',
      reason: isDown ? 'not-established' : 'as-wanted',
      wanted: { state: 'Established', ends: [] },
      seen: {
        ends: [
          { machine: a.machine, state: one },
          { machine: b.machine, state: other },
        ],
      },
    });
  });
}

function otherChecks(count: number, failing = 0): readonly Check[] {
  return Array.from({ length: count }, (_, index): Check => {
    const isDown = index < failing;
    const answers = [`10.255.0.${74 + index}`];
    return makeCheck(
      'dns',
      { from: 'pod/echo-client1', type: 'A', name: `server${index + 1}.headless` },
      {
        verdict: isDown ? 'failed' : 'passed',
        reason: isDown ? 'no-answer' : 'as-wanted',
        wanted: { outcome: 'ok', answers, rule: 'pod', of: `echo-server${index + 1}` },
        seen: isDown
          ? { outcome: 'dns-error', answers: [], detail: 'no answer within 2000 ms' }
          : { outcome: 'ok', answers, detail: null },
      },
    );
  });
}

const TIMINGS = [
  { step: 'Connect', ms: 412 },
  { step: 'BGP', ms: 655 },
  { step: 'Connectivity and DNS', ms: 1910 },
  { step: 'Load balancing', ms: 231 },
];

function bgpTables(plan: LabPlan): NonNullable<LabRun['bgpTables']> {
  const workers = plan.machines.filter(({ role }) => role === 'worker');
  const all = workers.map(({ address }) => address);
  const router = plan.machines.find(({ role }) => role === 'router')?.address ?? '';
  const blocks = workers.map(({ podBlock = '', address }) => ({ prefix: podBlock, nextHops: [address] }));
  const learned = [
    ...blocks,
    { prefix: plan.kubernetes.serviceCidr, nextHops: all },
    { prefix: `${plan.echo.externalIp}/32`, nextHops: all },
  ];
  return [
    { machine: 'bgp', table: 'bgp', routes: learned },
    { machine: 'bgp', table: 'kernel', routes: learned.slice(0, -1) },
    ...workers.flatMap(({ name }, index) => [
      {
        machine: name,
        table: 'bird',
        routes: [
          ...blocks.filter((_, other) => other !== index),
          { prefix: '5.5.5.5/32', nextHops: [router] },
          { prefix: '2.2.2.2/32', nextHops: ['blackhole'] },
        ],
      },
    ]),
  ];
}

function ecmp(plan: LabPlan, skewed: boolean): readonly Check[] {
  const { servers } = plan.echo;
  const nodes = servers.map(({ node }) => node);
  const share = (index: number) => (skewed ? (index === 0 ? 120 : 0) : 34 + ((index * 7) % 11));
  const local = servers
    .map(({ node, pod }, index) => ({ node, pod, count: share(index) }))
    .filter(({ count }) => count > 0);
  const spread = servers.flatMap(({ node }, n) =>
    servers.map(({ pod }, p) => ({ node, pod, count: 9 + ((n * 5 + p * 3) % 7) })),
  );
  const check = (target: string, counts: typeof local, isWrong: boolean) =>
    makeCheck(
      'spread',
      { from: 'routed', target },
      {
        verdict: isWrong ? 'failed' : 'passed',
        reason: isWrong ? 'missed-node' : 'as-wanted',
        wanted: { chooser: 'bgp', policy: 1, nodes, servers: [] },
        seen: { flows: counts.reduce((sum, { count }) => sum + count, 0), lost: 0, counts },
      },
    );
  return [
    check('echo-lb-tcp/2.2.2.2:1234/tcp', local, skewed),
    check('echo-ci-tcp/cluster-ip:1234/tcp', spread, false),
  ];
}

/** What proves each connection that rightly failed, as in a real run. */
function proven(results: LabRun['cells']): LabRun['cells'] {
  return results.map((result, index) => {
    const { from, expected, node = '', protocol } = result.cell;
    if (result.verdict !== 'passed' || expected.outcome === 'ok') return result;
    const control: Proof = {
      reason: 'control',
      cell: `${from}>echo-np-tcp/k8sworker2:31234/tcp`,
      sameHost: false,
    };
    const absent: Proof = { reason: 'not-in-logs', nonce: `n-${String(index).padStart(4, '0')}-5f0c` };
    const rule: Proof = {
      reason: 'counted',
      node,
      chain: 'KUBE-FIREWALL',
      comment: 'kubernetes firewall for dropping marked packets',
      packets: 24,
      cells: 12,
    };
    const isSilent = expected.outcome === 'timeout';
    const proof = [control, ...(isSilent && protocol === 'udp' ? [absent] : []), ...(isSilent ? [rule] : [])];
    return { ...result, proof };
  });
}

const plan = planOf();
const cells = CELLS;
const parts = { plan, timings: TIMINGS, bgpTables: bgpTables(plan) };

/** Everything as it should be. */
export const HEALTHY: LabRun = (() => {
  const run = runOf({ cells, checks: [...sessionChecks(plan), ...otherChecks(11), ...ecmp(plan, false)] });
  return { ...run, ...parts, cells: proven(run.cells) };
})();

const dnsStopped = Object.fromEntries(
  cells
    .filter(({ kind, from }) => kind === 'name' && from === 'pod/echo-client1')
    .map(({ id }): [string, Partial<Observation>] => [
      id,
      {
        outcome: 'dns-error',
        server: null,
        client: null,
        connectMs: null,
        detail: 'no answer within 2000 ms',
      },
    ]),
);
export const FLAKY = 'ubuntu>echo-np-tcp/k8sworker2:31234/tcp';
export const WRONG_SOURCE = 'routed>echo-lb-tcp/2.2.2.2:1234/tcp';

/** Every kind of trouble: a drop rule, DNS stopped, a wrong source address, a session down, a broken source. */
export const TROUBLED: LabRun = (() => {
  const run = runOf({
    cells: cells.map((cell) =>
      cell.from === 'bgp' && cell.kind === 'external-ip'
        ? { ...cell, blockedBy: 'bgp.session.bgp-k8sworker2' }
        : cell.from === 'k8smaster1' && cell.kind === 'name'
          ? { ...cell, skipped: 'the source has no name server' }
          : cell,
    ),
    checks: [
      ...sessionChecks(plan, ['bgp.session.bgp-k8sworker2', 'bgp.session.k8sworker1-k8sworker3']),
      ...otherChecks(11, 7),
      ...ecmp(plan, true),
    ],
    first: {
      [POSITIVE]: TIMEOUT,
      'ubuntu>echo-server-udp/k8sworker1:31678/udp': TIMEOUT,
      [FLAKY]: TIMEOUT,
      [WRONG_SOURCE]: { client: '192.168.13.36' },
      ...dnsStopped,
    },
    second: { [FLAKY]: {} },
    broken: ['k8sworker3'],
  });
  return {
    ...run,
    ...parts,
    cells: proven(run.cells).map((result) =>
      result.cell.skipped === undefined
        ? result.cell.id === POSITIVE
          ? { ...result, evidence: EVIDENCE }
          : result
        : {
            ...result,
            observed: null,
            verdict: 'skipped',
            finding: { reason: 'not-modelled', what: result.cell.skipped },
          },
    ),
    moved: ['EndpointSlice echo-np-tcp went from generation 3 to 4', `pod ${HOSTILE} was deleted`],
  };
})();

/** The largest lab: 20 workers.  */
export const TWENTY: LabRun = (() => {
  const big = planOf(readFileSync('test/specs/valid-twenty-workers.yaml', 'utf8'));
  const run = runOf({
    cells: sampleCells(big),
    checks: [
      ...sessionChecks(big, ['bgp.session.bgp-k8sworker7', 'bgp.session.k8sworker2-k8sworker11']),
      ...otherChecks(11),
      ...ecmp(big, false),
    ],
    first: { 'ubuntu>echo-np-tcp/k8sworker2:31234/tcp': TIMEOUT },
  });
  return { ...run, plan: big, timings: TIMINGS, bgpTables: bgpTables(big) };
})();
