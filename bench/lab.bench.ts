// The commands on a real lab of machines in containers, this version side by side with an earlier one: `npm run bench`.
// Each round makes and removes a lab with the one and then with the other; which of them is first changes with each round.
// Prints medians with their extremes, and the ratio of the medians; then this version's labs of more workers, each once,
// with the ratio to its lab of three. Needs what labup needs, and a checkout with history.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Document, parseDocument } from 'yaml';
import { $, type ProcessPromise } from 'zx';
import type { StepTiming } from '../scripts/commands/steps.ts';
import { sumOf } from '../scripts/commands/up/processor-time.ts';

/** The last commit before labs were made faster; the table of docs/operations.md compares with it. */
const EARLIER = 'ed998da3';

const { values } = parseArgs({
  options: {
    against: { type: 'string', default: EARLIER },
    rounds: { type: 'string', default: '3' },
    /** Numbers of workers. */
    larger: { type: 'string', default: '10,20' },
    /** As labup has it. */
    artifacts: { type: 'string' },
  },
});
const WORKERS = 3;
const LABUP = [
  'labup.js',
  '--yes',
  ...(values.artifacts === undefined ? [] : ['--artifacts', resolve(values.artifacts)]),
];

/** What is timed, in this order. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  labup: LABUP,
  'labup again': LABUP,
  'lab status': ['lab.js', 'status'],
  labtest: ['labtest.js'],
  'lab reset': ['lab.js', 'reset'],
  labdown: ['labdown.js', '--yes'],
};
/** What labtest takes beyond the work that its report names: to start, to connect, and to write the report. */
const BEYOND = 'labtest beyond its work';
/** Verbs that an earlier version may not have. */
const NEWER = /^lab (reset)$/;

interface Version {
  readonly title: string;
  readonly checkout: string;
  /** Milliseconds of each command, round by round. */
  readonly times: Map<string, number[]>;
  /** How many times as long as its critical path each labup took that measures it. */
  readonly ratios: number[];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The default lab with so many workers, at addresses that no other lab uses. */
function labYaml(text: string, workers: number): string {
  const document: Document = parseDocument(text.replaceAll('192.168.13.', '192.168.213.'));
  document.set('name', 'bench');
  document.setIn(['network', 'bridge'], 'labbench0');
  for (let worker = 4; worker <= workers; worker++) {
    const machine = { name: `k8sworker${worker}`, role: 'worker', address: `192.168.213.${200 + worker}` };
    document.addIn(['machines'], machine);
  }
  return String(document);
}

/** An earlier version of this project, built in a folder of its own. */
async function checkout(reference: string, folder: string): Promise<void> {
  await $`git worktree add --detach ${folder} ${reference}`;
  const here = $({ cwd: folder });
  await here`npm ci --prefer-offline --no-audit --no-fund`;
}

async function timed(work: () => ProcessPromise): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** One lab from the beginning to the end. What stops in the middle is removed. */
async function round(
  { checkout: code, times, ratios, title }: Version,
  lab: string,
  workers = WORKERS,
): Promise<void> {
  await mkdir(lab, { recursive: true });
  const text = String(await $({ cwd: code })`git show HEAD:lab.yaml`);
  await writeFile(join(lab, 'lab.yaml'), labYaml(text, workers));
  const run = ([script = '', ...argv]: readonly string[]) =>
    $({ cwd: lab, quiet: true })`node ${join(code, 'dist/scripts', script)} ${argv}`;
  const add = (name: string, ms: number) => {
    times.set(name, [...(times.get(name) ?? []), ms]);
    process.stderr.write(`${title}, ${workers} workers: ${name} ${seconds(ms)}\n`);
  };
  const stateFile = async (name: string) => JSON.parse(await readFile(join(lab, '.lab/bench', name), 'utf8'));
  try {
    for (const [name, argv] of Object.entries(COMMANDS)) {
      const [, verb] = NEWER.exec(name) ?? [];
      if (verb !== undefined && !String(await run(['lab.js', '--help'])).includes(`  ${verb}`)) continue;
      const ms = await timed(() => run(argv));
      add(name, ms);
      if (name === 'labtest') add(BEYOND, ms - (await stateFile('reports/last.json')).durationMs);
      if (name !== 'labup') continue;
      const timings: StepTiming[] = await stateFile('timings.json');
      if (timings.some(({ leastMs }) => leastMs !== undefined)) ratios.push(sumOf(timings).ratio);
    }
  } finally {
    await run(['labdown.js', '--yes']);
    await rm(lab, { recursive: true });
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function middle(all: readonly number[]): number {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}

function cell(all: readonly number[] | undefined): string {
  if (all === undefined) return '-';
  return `${seconds(middle(all))} (${seconds(Math.min(...all))} to ${seconds(Math.max(...all))})`;
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'lab-bench-'));
  const earlier = join(folder, 'earlier');
  try {
    await checkout(values.against, earlier);
    const versions: readonly Version[] = [
      { title: values.against, checkout: earlier, times: new Map(), ratios: [] },
      { title: 'this version', checkout: resolve('.'), times: new Map(), ratios: [] },
    ];
    // What is built once lies in the cache then, and is not timed.
    for (const version of versions)
      await round({ ...version, times: new Map(), ratios: [] }, join(folder, 'lab'));
    for (let number = 1; number <= Number(values.rounds); number++) {
      process.stderr.write(`round ${number} of ${values.rounds}\n`);
      const order = number % 2 === 1 ? versions : versions.toReversed();
      for (const version of order) await round(version, join(folder, 'lab'));
    }
    const [before, now] = versions.map(({ times }) => times);
    print(`| ${WORKERS} workers | ${versions.map(({ title }) => title).join(' | ')} | ratio |`);
    print('|---|---|---|---|');
    for (const name of [...Object.keys(COMMANDS), BEYOND]) {
      const [old, own] = [before?.get(name), now?.get(name)];
      const ratio = old === undefined || own === undefined ? '-' : (middle(own) / middle(old)).toFixed(2);
      print(`| ${name} | ${cell(old)} | ${cell(own)} | ${ratio} |`);
    }
    const own = versions.at(-1);
    if (own === undefined || now === undefined) return;
    print(
      `labup of this version takes ${middle(own.ratios).toFixed(2)} times its critical path (labup --timings).`,
    );
    for (const workers of values.larger.split(',').filter(Boolean).map(Number)) {
      const times = new Map<string, number[]>();
      await round({ ...own, times, ratios: [] }, join(folder, 'lab'), workers);
      const rows = [...times].map(([name, [ms = Number.NaN]]) => {
        const ratio = ms / middle(now.get(name) ?? []);
        return `${name} ${seconds(ms)} (${ratio.toFixed(2)} times)`;
      });
      print(`${workers} workers: ${rows.join(', ')}`);
    }
  } finally {
    await $({ nothrow: true })`git worktree remove --force ${earlier}`;
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
