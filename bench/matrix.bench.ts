// labtest's matrix against the same cells tried one after another with nc, side by side on the lab of this folder, over
// the same SSH connections: `npm run bench`. Prints medians and how many times faster labtest is.
import { parseArgs } from 'node:util';
import { realDeps, type Terminal } from '../scripts/cli/deps.ts';
import { errorLines, exitCodeOf } from '../scripts/cli/main.ts';
import { kubectlCommand } from '../scripts/cluster/kubectl.ts';
import { type OpenLab, openLab, prepareProbes } from '../scripts/commands/test/open-lab.ts';
import { readLabState } from '../scripts/commands/test/read-lab.ts';
import { probeSourcesOf } from '../scripts/commands/test/steps.ts';
import type { Executor } from '../scripts/exec/executor.ts';
import { buildCells } from '../scripts/matrix/cells.ts';
import { judgeCells } from '../scripts/matrix/judge.ts';
import { podProbe } from '../scripts/matrix/probe-sources.ts';
import { runCells } from '../scripts/matrix/run.ts';
import type { Cell } from '../scripts/matrix/types.ts';
import { silent } from '../scripts/shared/events.ts';

const RUNS = 5;
const TARGET_RATIO = 30;

/** nc's own codes are no failure of the bench: most cells that must not answer end with 1. */
const ANY_CODE = Array.from({ length: 256 }, (_, value) => value);

/**
 * nc as one types it for an echo: TCP ends its side after the line (-N) and gives up after two seconds, which leaves room
 * for one retransmission of the SYN, as labtest's probe does; over UDP nothing tells nc that the answer is complete, so it
 * waits for its timeout, the shortest that there is.
 */
function ncCommand({ protocol, address, port }: Cell): string {
  const options = protocol === 'tcp' ? '-N -w 2' : '-u -w 1';
  return `echo bench | nc ${options} ${address} ${port}`;
}

/** Every cell by itself, one after the other. */
async function withNc(deps: Executor, lab: OpenLab, cells: readonly Cell[]): Promise<number> {
  const { plan, kubectl, machines } = lab;
  let agreed = 0;
  for (const [index, cell] of cells.entries()) {
    const script = ['sh', '-c', ncCommand(cell)];
    const pod = { namespace: plan.echo.namespace, name: plan.echo.clientPod.pod };
    const inPod = podProbe(kubectlCommand(kubectl.access), pod, script);
    const machine = machines.get(cell.from);
    const { stdout } =
      machine === undefined
        ? await deps.run(inPod, { okCodes: ANY_CODE })
        : await machine.run(script, { okCodes: ANY_CODE });
    const server = /^Server: (\S+):\d+$/m.exec(stdout)?.[1];
    const isRight =
      cell.expected.outcome === 'ok'
        ? server !== undefined && cell.expected.servers.includes(server)
        : server === undefined;
    if (isRight) agreed += 1;
    if ((index + 1) % 50 === 0) process.stderr.write(`nc: ${index + 1} of ${cells.length} cells\n`);
  }
  return agreed;
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const started = performance.now();
  const value = await work();
  return { ms: performance.now() - started, value };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { file: { type: 'string', default: 'lab.yaml' } } });
  const { stdin, stdout, stderr, env } = process;
  const signal = new AbortController().signal;
  const terminal: Terminal = { cwd: process.cwd(), env, stdin, stdout, stderr, signal };
  const deps = realDeps(terminal, true);
  const lab = await openLab(deps, { file: values.file }, silent);
  try {
    await prepareProbes(lab, silent);
    const all = buildCells(lab.plan, await readLabState(deps, lab));
    const cells = all.filter(({ blockedBy, skipped }) => blockedBy === undefined && skipped === undefined);
    const probeSources = probeSourcesOf(deps, lab);
    const runs: number[] = [];
    for (let run = 1; run <= RUNS; run++) {
      const { ms, value } = await timed(() => runCells(cells, probeSources));
      const right = judgeCells(cells, value.cells).filter(({ verdict }) => verdict === 'passed').length;
      print(
        `labtest's probes, run ${run}: ${(ms / 1000).toFixed(2)} s, ${right} of ${cells.length} cells right`,
      );
      runs.push(ms);
    }
    const nc = await timed(() => withNc(deps.local, lab, cells));
    print(
      `nc, one after another: ${(nc.ms / 1000).toFixed(1)} s, ${nc.value} of ${cells.length} cells right`,
    );
    const ours = median(runs);
    const ratio = nc.ms / ours;
    print(
      `median of ${RUNS} runs: ${(ours / 1000).toFixed(2)} s; ${ratio.toFixed(0)} times faster than nc (at least ${TARGET_RATIO} wanted)`,
    );
    return ratio >= TARGET_RATIO ? 0 : 1;
  } finally {
    lab.close();
  }
}

process.exitCode = await main().catch((error: unknown) => {
  const needsLab = 'The bench needs a lab that is up, in this folder: npx labup --yes';
  process.stderr.write(`${[...errorLines(error), needsLab].join('\n')}\n`);
  return exitCodeOf(error);
});
process.exit();
