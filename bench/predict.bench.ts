// Predicts synthetic labs of 1,000 nodes and 10,000 cells, as `npm run bench` does, and prints how long it took. The index
// over the observed state is made anew in every run; observing (asking machines, parsing) is not part of it.
import { cellOf } from '../scripts/matrix/cells.ts';
import { networkOf } from '../scripts/matrix/expect/network-state.ts';
import type { ObservedState } from '../scripts/matrix/state/types.ts';
import type { FlowSource, Target } from '../scripts/matrix/types.ts';
import { flowSource, syntheticLab, targetNamed } from '../test/matrix/synthetic-lab.ts';

const NODES = 1000;
const RUNS = 7;
const LIMIT_MS = 1000;

interface Shape {
  readonly title: string;
  readonly policy: 'Local' | 'Cluster';
  /** Every how many nodes there is a pod behind the service. */
  readonly everyNth: number;
  readonly from: (names: readonly string[]) => readonly string[];
  readonly to: (names: readonly string[]) => readonly string[];
}

const FEW_TARGETS = [
  'cluster-ip',
  'external-ip',
  'name',
  'pod/p1',
  'pod/p101',
  'node-port/m',
  'node-port/w1',
];
const EVERY_KIND = ['m', 'w1', 'w2', 'w500', 'w999', 'pod/c', 'pod/p1', 'r', 'near', 'far'];

const SHAPES: readonly Shape[] = [
  {
    title: '10 sources x 1,000 node ports, policy Local, 100 pods',
    policy: 'Local',
    everyNth: 10,
    from: () => EVERY_KIND,
    to: (names) => names.map((name) => `node-port/${name}`),
  },
  {
    title: '10 sources x 1,000 node ports, policy Cluster, 100 pods',
    policy: 'Cluster',
    everyNth: 10,
    from: () => EVERY_KIND,
    to: (names) => names.map((name) => `node-port/${name}`),
  },
  {
    title: '1,000 nodes x 10 targets, policy Local, 100 pods',
    policy: 'Local',
    everyNth: 10,
    from: (names) => names,
    to: () => [...FEW_TARGETS, 'node-port/w2', 'node-port/w500', 'node-port/w999'],
  },
];

function main(): void {
  let failed = false;
  for (const shape of SHAPES) {
    const { state, froms, targets } = build(shape);
    const times = Array.from({ length: RUNS }, () => measure(state, froms, targets));
    const wall = medianOf(times.map(({ ms }) => ms));
    // What else runs on the machine makes the clock go on, but not the processor time.
    const cpu = medianOf(times.map(({ cpuMs }) => cpuMs));
    const { cells = 0, ok = 0, skipped = 0 } = times[0] ?? {};
    // A slow machine is no reason to keep the rest of `npm run bench` from running.
    failed ||= cells < 10_000;
    process.stdout.write(
      `${shape.title}\n` +
        `  ${cells} cells, ${ok} of them ok, ${skipped} skipped\n` +
        `  median of ${RUNS} runs: ${wall.toFixed(0)} ms, processor time ${cpu.toFixed(0)} ms, ` +
        `${((cpu * 1000) / cells).toFixed(1)} us per cell, ` +
        `limit / time = ${(LIMIT_MS / cpu).toFixed(1)}${cpu < LIMIT_MS ? '' : ': TOO SLOW'}\n`,
    );
  }
  process.exitCode = failed ? 1 : 0;
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function build({ policy, everyNth, from, to }: Shape) {
  const workers = Array.from({ length: NODES - 1 }, (_, index) => `w${index + 1}`);
  const names = ['m', ...workers];
  const pods = workers
    .map((on, index) => ({ name: `p${index + 1}`, on, serves: true }))
    .filter((_, index) => index % everyNth === 0);
  const state = syntheticLab({
    workers: NODES - 1,
    pods: [...pods, { name: 'c', on: 'w1', serves: false }],
    service: { policy },
    // BIRD's default for `merge paths on`.
    maximumPaths: 16,
  });
  return {
    state,
    froms: from(names).map((name) => flowSource(state, name)),
    targets: to(names).map((name) => targetNamed(state, name)),
  };
}

function measure(state: ObservedState, froms: readonly FlowSource[], targets: readonly Target[]) {
  const started = performance.now();
  const cpu = process.cpuUsage();
  const network = networkOf(state);
  const cells = froms.flatMap((from) => targets.map((target) => cellOf(network, from, target)));
  const ms = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  return {
    ms,
    cpuMs: (user + system) / 1000,
    cells: cells.length,
    ok: cells.filter(({ expected }) => expected.outcome === 'ok').length,
    skipped: cells.filter(({ skipped }) => skipped !== undefined).length,
  };
}

main();
