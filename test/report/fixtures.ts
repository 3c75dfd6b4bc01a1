import { type Check, makeCheck } from '../../scripts/bgp/checks/check.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import { notObserved } from '../../scripts/matrix/run.ts';
import type { Cell, Observation } from '../../scripts/matrix/types.ts';
import type { LabRun } from '../../scripts/report/run.ts';
import { planOf, rightly } from '../matrix/fixtures.ts';
import { sampleCells } from './cells.ts';

/** What a probe says beside the answer of a connection that came about. */
const CONNECTED: Partial<Observation> = {
  connectMs: 0.5,
  fullSize: { bytes: 65_536, lost: null, detail: null },
};

export const CELLS: readonly Cell[] = sampleCells(planOf());

const right = { verdict: 'passed', reason: 'as-wanted' } as const;

export const CHECKS: readonly Check[] = [
  makeCheck(
    'session',
    { a: 'bgp', b: 'k8sworker1', protocol: 'ebgp' },
    {
      ...right,
      wanted: { state: 'Established', ends: [] },
      seen: {
        ends: [
          { machine: 'bgp', state: 'Established' },
          { machine: 'k8sworker1', state: 'Established' },
        ],
      },
    },
  ),
  makeCheck(
    'route',
    { machine: 'bgp', table: 'kernel', prefix: '2.2.2.2/32' },
    {
      ...right,
      wanted: { nextHops: ['192.168.13.35'], take: 1, rule: 'external-to-router' },
      seen: { nextHops: ['192.168.13.35'] },
    },
  ),
  makeCheck(
    'dns',
    { from: 'pod/echo-client1', type: 'A', name: 'headless' },
    {
      ...right,
      wanted: { outcome: 'ok', answers: ['10.255.0.74'], rule: 'headless', of: 'headless' },
      seen: { outcome: 'ok', answers: ['10.255.0.74'], detail: null },
    },
  ),
];

/** A check of these that could see nothing, or nothing right. */
export function wrongly(check: Check, reason: 'not-read' | 'no-answer', problem: string): Check {
  const verdict = reason === 'not-read' ? 'harness' : 'failed';
  return { ...check, verdict, reason, seen: null, problem };
}

export interface RunChange {
  readonly cells?: readonly Cell[];
  readonly checks?: readonly Check[];
  /** Observations that are not as expected, by cell id. */
  readonly first?: Readonly<Record<string, Partial<Observation>>>;
  /** Observations of the second try. */
  readonly second?: Readonly<Record<string, Partial<Observation>>>;
  /** Sources whose probe did not run. */
  readonly broken?: readonly string[];
}

/** A run in which everything is as expected, but for the given changes. */
export function runOf({
  cells = CELLS,
  checks = CHECKS,
  first = {},
  second = {},
  broken = [],
}: RunChange = {}): LabRun {
  const open = cells.filter(({ blockedBy }) => blockedBy === undefined);
  const seen = open.map((cell): [string, Observation] => [
    cell.id,
    broken.includes(cell.from)
      ? notObserved('the probe could not be run: connection lost')
      : rightly(cell, { ...(isConnected(cell) ? CONNECTED : {}), ...first[cell.id] }),
  ]);
  const again = open
    .filter(({ id }) => second[id] !== undefined)
    .map((cell): [string, Observation] => [cell.id, rightly(cell, second[cell.id])]);
  return {
    lab: 'bgp-lab',
    startedAt: new Date('2026-01-02T03:04:05.678Z'),
    durationMs: 3210.4,
    checks,
    cells: judgeCells(cells, new Map(seen), new Map(again)),
  };
}

function isConnected({ protocol, expected }: Cell): boolean {
  return protocol === 'tcp' && expected.outcome === 'ok';
}

export const POSITIVE = 'ubuntu>echo-np-tcp/k8sworker1:31234/tcp';
export const NEGATIVE = 'ubuntu>echo-np-tcp/k8smaster1:31234/tcp';
export const TIMEOUT: Partial<Observation> = {
  outcome: 'timeout',
  server: null,
  client: null,
  connectMs: null,
  detail: 'no answer to the connection request within 1500 ms',
};
