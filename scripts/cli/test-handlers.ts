import { resolve } from 'node:path';
import type { Deps } from '../commands/deps.ts';
import { explainLab, type PredictOptions, predictLab } from '../commands/inspect/predict.ts';
import type { LabOptions } from '../commands/lab-file.ts';
import { selftest } from '../commands/selftest/selftest.ts';
import { labtest, type WatchOptions, type WatchRound, watchLab } from '../commands/test/labtest.ts';
import type { Cell } from '../matrix/types.ts';
import { diffReports, renderDiff } from '../report/diff.ts';
import { toHtml } from '../report/html/page.ts';
import { type LabReport, parseReport, reportText } from '../report/json.ts';
import { abortedRun, exitCodeOf, type LabRun } from '../report/run.ts';
import { renderTable } from '../report/table.ts';
import { messageOf, UserError } from '../shared/errors.ts';
import type { Terminal } from './deps.ts';
import {
  explanationLines,
  failedRun,
  loadFile,
  predictionJson,
  predictionLines,
  roundJson,
  roundText,
  saveFile,
  selftestCode,
  selftestJson,
  selftestLines,
} from './test-text.ts';
import { colors } from './text.ts';

/** What the command line says of any command; the rest is the command's own options. */
export interface Json {
  readonly json?: boolean;
}

/** What the command line says of labtest. */
export interface TestArgs extends WatchOptions, Json {
  readonly junit?: string;
  readonly strict?: boolean;
  readonly verbose?: boolean;
  /** The path of an earlier report. */
  readonly diff?: string;
  readonly html?: string;
  readonly watch?: boolean;
  /** Seconds; with --watch only. */
  readonly for?: number;
}

/** Where a handler's result goes. */
export interface Output {
  readonly print: (text: string) => void;
  readonly printJson: (value: unknown) => void;
  readonly setCode: (code: number) => void;
}

/** The handlers of everything that tests, predicts and explains. */
export function testHandlers(
  use: (args: Json) => Deps,
  terminal: Terminal,
  { print, printJson, setCode }: Output,
  runTest: typeof labtest = labtest,
) {
  const color = colors.isColorSupported;
  const width = terminal.stdout.columns ?? 100;
  return {
    async test(args: TestArgs): Promise<void> {
      if (args.watch === true) return watch(args);
      if (args.for !== undefined)
        throw new UserError('--for needs --watch.', { next: 'npx labtest --watch --for 60' });
      const deps = use(args);
      // Before the test: a mistyped path must not cost a run.
      const earlier = await earlierReport(deps, args);
      const startedAt = new Date();
      let planned: readonly Cell[] = [];
      const onPlanned = (cells: readonly Cell[]) => {
        planned = cells;
      };
      const { run, report } = await runTest(deps, { ...args, onPlanned }).catch(async (error: unknown) => {
        const aborted = abortedRun(failedRun(startedAt, error), messageOf(error), planned);
        await saveOutputs(deps, args, aborted).catch((also) => deps.say(messageOf(also)));
        throw error;
      });
      await saveOutputs(deps, args, run);
      if (args.json) print(reportText(report));
      else print(renderTable(run, { color, width, verbose: args.verbose === true }));
      if (earlier !== undefined) {
        const text = renderDiff(diffReports(earlier, report), { color, width });
        // Standard output then holds one document.
        if (args.json) deps.say(text.trimEnd());
        else print(`\n${text}`);
      }
      setCode(exitCodeOf(run, { strict: args.strict === true }));
    },

    async selftest(faults: readonly string[], args: LabOptions & Json) {
      const deps = use(args);
      const result = await selftest(deps, { ...args, faults });
      if (args.json) printJson(selftestJson(result));
      else print(selftestLines(result, width).join('\n'));
      setCode(selftestCode(result));
    },

    async predict(args: PredictOptions & Json) {
      const deps = use(args);
      const { lab, cells } = await predictLab(deps, args);
      if (args.json) printJson({ schemaVersion: 1, lab, cells: cells.map(predictionJson) });
      else print(predictionLines(cells, width).join('\n'));
    },

    async explain(cell: string, args: Omit<PredictOptions, 'icmp' | 'only'> & Json) {
      const deps = use(args);
      const { lab, explanations } = await explainLab(deps, cell, args);
      if (args.json) {
        printJson({
          schemaVersion: 1,
          lab,
          cells: explanations.map(({ cell: each, last }) => ({
            ...predictionJson(each),
            last: last ?? null,
          })),
        });
      } else print(explanations.flatMap((each) => [...explanationLines(each, width), '']).join('\n'));
    },
  };

  async function watch(args: TestArgs): Promise<void> {
    const refused = (['diff', 'html', 'junit', 'failFirst'] as const).filter(
      (name) => args[name] !== undefined,
    );
    if (refused.length > 0)
      throw new UserError(
        `--watch goes on and on, so it cannot be combined with ${refused.map(optionName).join(', ')}.`,
      );
    const deps = use(args);
    const rounds: WatchRound[] = [];
    const last = await watchLab(deps, { ...args, forSeconds: args.for }, (round) => {
      if (args.json) rounds.push(round);
      else print(roundText(round, { color, width }));
    });
    if (args.json) printJson({ schemaVersion: 1, rounds: rounds.map(roundJson) });
    const strict = args.strict === true;
    setCode('error' in last ? last.error.exitCode : exitCodeOf(last.result.run, { strict }));
  }
}

function optionName(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

async function earlierReport(deps: Deps, { diff }: TestArgs): Promise<LabReport | undefined> {
  if (diff === undefined) return undefined;
  return parseReport(await loadFile(resolve(deps.cwd, diff)), diff);
}

async function saveOutputs(deps: Deps, { junit, html }: TestArgs, run: LabRun): Promise<void> {
  const at = (path: string) => resolve(deps.cwd, path);
  if (html !== undefined) await saveFile(at(html), toHtml(run), 'HTML file', '--html');
  if (junit === undefined) return;
  // What makes XML is large, and loaded by no other test.
  const { toJunit } = await import('../report/junit.ts');
  await saveFile(at(junit), toJunit(run), 'JUnit file', '--junit');
}
