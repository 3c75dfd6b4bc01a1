/** Runs the unittest modules of this folder and shows each of their tests as one of vitest's. */
import { execFileSync, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'vitest';

interface Outcome {
  id: string;
  status: 'pass' | 'fail' | 'skip';
  note: string;
}

const RUNNER = path.join(import.meta.dirname, 'run.py');
const AT_ONCE = 3; // they mostly wait, but they measure seconds, and the smallest machine has two cores

const modules = listModules();

if (modules === undefined) {
  it('runs the Python tests', ({ skip }) => skip('there is no python3 on this machine'));
} else {
  const results = startModules(Object.keys(modules));
  for (const [module, ids] of Object.entries(modules)) {
    describe(module, () => {
      for (const id of ids) {
        it(id.split('.').slice(1).join(': ').replace('test_', '').replaceAll('_', ' '), {
          // The first one waits for its whole module (ingress_test: 45 s) and for those before that one.
          timeout: 300_000,
        }, async ({ skip }) => {
          const outcomes = await results.get(module);
          // A failure or a skip in setUpModule is reported instead of the module's tests.
          const outcome =
            outcomes?.find((each) => each.id === id) ?? outcomes?.find((each) => !ids.includes(each.id));
          if (outcome?.status === 'skip') skip(outcome.note);
          if (outcome?.status !== 'pass') throw new Error(outcome?.note ?? `run.py gave no result for ${id}`);
        });
      }
    });
  }
}

/** The test ids of each module; undefined when there is no python3. */
function listModules(): Record<string, string[]> | undefined {
  try {
    return JSON.parse(execFileSync('python3', [RUNNER, '--list'], { encoding: 'utf8' }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Runs the modules, a few at a time, in the order given. */
function startModules(names: string[]): Map<string, Promise<Outcome[]>> {
  const results = new Map<string, Promise<Outcome[]>>();
  const lanes: Promise<unknown>[] = Array.from({ length: AT_ONCE }, () => Promise.resolve());
  names.forEach((name, index) => {
    const result = (lanes[index % AT_ONCE] ?? Promise.resolve()).then(() => runModule(name));
    lanes[index % AT_ONCE] = result;
    results.set(name, result);
  });
  return results;
}

/** One module in a process of its own; what it writes to standard error goes into a failure of its own. */
async function runModule(module: string): Promise<Outcome[]> {
  const child = spawn('python3', [RUNNER, module], { stdio: ['ignore', 'pipe', 'pipe'] });
  const outcomes: Outcome[] = [];
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  for await (const line of createInterface(child.stdout)) outcomes.push(JSON.parse(line));
  const code = await closed;
  if (code !== 0) outcomes.push({ id: module, status: 'fail', note: `exit code ${code}\n${errors}` });
  return outcomes;
}
