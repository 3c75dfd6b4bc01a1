import type { Check } from '../../scripts/bgp/checks/check.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import { notObserved } from '../../scripts/matrix/run.ts';
import type { Cell, Observation } from '../../scripts/matrix/types.ts';
import type { LabRun } from '../../scripts/report/run.ts';
import { planOf, rightly } from '../matrix/fixtures.ts';
import { sampleCells } from './cells.ts';

export const CELLS: readonly Cell[] = sampleCells(planOf());

export const CHECKS: readonly Check[] = [
  checkOf('bgp.session.bgp-k8sworker1', 'eBGP session bgp - k8sworker1', 'Established at both ends'),
  checkOf('bgp.route.bgp.kernel.2.2.2.2/32', 'bgp kernel: 2.2.2.2/32', '192.168.13.35'),
  checkOf('dns.a.headless', 'headless name headless', '10.255.0.74'),
];

function checkOf(id: string, title: string, expected: string): Check {
  return { id, title, verdict: 'passed', expected, observed: expected, why: `That is how ${title} works.` };
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
      : rightly(cell, { ...(isConnected(cell) ? { connectMs: 0.5 } : {}), ...first[cell.id] }),
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
