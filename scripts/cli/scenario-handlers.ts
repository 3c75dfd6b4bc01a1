import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Deps } from '../commands/deps.ts';
import {
  chooseScenarios,
  type RunAudience,
  runScenarios,
  type ScenarioOptions,
  type ScenarioRun,
} from '../commands/scenario/scenario.ts';
import { SCENARIOS } from '../scenarios/catalogue.ts';
import { scenarioJson, scenarioJunit, scenarioMarkdown } from '../scenarios/report/files.ts';
import { scenarioHtml } from '../scenarios/report/html.ts';
import { commandLines, headLines, showLines, stepLines, summaryLines } from '../scenarios/report/text.ts';
import { EXIT, type ExitCode, UserError } from '../shared/errors.ts';
import { table } from '../shared/text.ts';
import type { Terminal } from './deps.ts';
import type { Json, Output } from './test-handlers.ts';
import { saveFile } from './test-text.ts';
import { colors, durationText } from './text.ts';

/** What the command line says of `lab scenario run`. */
export interface ScenarioArgs extends ScenarioOptions, Json {
  /** Wait for Enter before each step. */
  readonly pause?: boolean;
  readonly junit?: string;
  readonly markdown?: string;
  readonly html?: string;
  readonly strict?: boolean;
}

/** The handlers of `lab scenario`. */
export function scenarioHandlers(
  use: (args: Json) => Deps,
  terminal: Terminal,
  { print, printJson, setCode }: Output,
) {
  const width = terminal.stdout.columns ?? 100;
  const lines = (text: readonly string[]) => print(text.join('\n'));
  return {
    list(args: Json): void {
      if (args.json)
        printJson({
          schemaVersion: 1,
          scenarios: SCENARIOS.map(({ name, title, lesson }) => ({ name, title, lesson })),
        });
      else lines(table(SCENARIOS.map(({ name, title, steps }) => [name, title, `${steps.length} steps`])));
    },

    show(name: string, args: Json): void {
      const [scenario] = chooseScenarios([name], false);
      if (scenario === undefined) throw new Error(`no scenario ${name}`);
      if (args.json) printJson({ schemaVersion: 1, ...shown(scenario) });
      else lines(showLines(scenario, terminal.cwd, colors, width));
    },

    async run(names: readonly string[], args: ScenarioArgs): Promise<void> {
      const scenarios = chooseScenarios(names, args.all);
      const deps = use(args);
      const pause = args.pause === true ? pauser(terminal) : undefined;
      let number = 0;
      const tell = args.json ? () => {} : lines;
      const audience: RunAudience = {
        begins: (scenario) => {
          number = 0;
          tell(headLines(scenario, colors, width));
        },
        before: async (_, command) => {
          number += 1;
          tell(commandLines(number, command, colors));
          await pause?.();
        },
        after: (step) => tell(stepLines(step, colors, width)),
        ends: () => {},
        emit: (event) => {
          if (!args.json && event.type !== 'progress') deps.say(colors.dim(`     ... ${event.text}`));
        },
      };
      const run = await runScenarios(deps, scenarios, args, audience);
      await save(deps, args, run);
      if (args.json) printJson(scenarioJson(run));
      else lines(['', ...summaryLines(run.scenarios, durationText, colors), '', conclusion(run)]);
      setCode(codeOf(run, args.strict === true));
    },
  };
}

function shown({ name, title, lesson, steps }: (typeof SCENARIOS)[number]): object {
  return {
    name,
    title,
    lesson,
    steps: steps.map(({ id, why, expect }) => ({
      id,
      why,
      wanted: [expect].flat().map(({ wanted }) => wanted),
    })),
  };
}

async function save(deps: Deps, { junit, markdown, html }: ScenarioArgs, run: ScenarioRun): Promise<void> {
  const at = (path: string) => resolve(deps.cwd, path);
  if (junit !== undefined) await saveFile(at(junit), scenarioJunit(run), 'JUnit file', '--junit');
  if (markdown !== undefined)
    await saveFile(at(markdown), scenarioMarkdown(run), 'Markdown file', '--markdown');
  if (html !== undefined) await saveFile(at(html), scenarioHtml(run), 'HTML file', '--html');
}

/** As labtest's: 1 where something is wrong, 4 where nothing is known, 3 where nothing ran, or something was skipped with --strict. */
function codeOf({ scenarios }: ScenarioRun, strict: boolean): ExitCode {
  const any = (verdict: string) => scenarios.some((each) => each.verdict === verdict);
  if (any('failed')) return EXIT.wrong;
  if (any('harness')) return EXIT.harness;
  return !any('passed') || (strict && any('skipped')) ? EXIT.strict : EXIT.pass;
}

function conclusion({ lab, scenarios, durationMs }: ScenarioRun): string {
  const count = (verdict: string) => scenarios.filter((each) => each.verdict === verdict).length;
  const skipped = count('skipped') === 0 ? '' : `, ${count('skipped')} skipped`;
  const text = `${lab}: ${count('passed')} of ${scenarios.length} scenarios as they must be${skipped} (${durationText(durationMs)})`;
  return count('passed') + count('skipped') === scenarios.length ? colors.green(text) : colors.red(text);
}

/** Waits for Enter; Ctrl-C ends the command as everywhere. Throws UserError where there is nobody to press it. */
function pauser({ stdin, stderr, signal }: Terminal): () => Promise<void> {
  if (!stdin.isTTY) throw new UserError('--pause needs a terminal to press Enter on.');
  return async () => {
    const reader = createInterface({ input: stdin, output: stderr });
    reader.on('SIGINT', () => process.emit('SIGINT'));
    try {
      await reader.question(colors.dim('     Enter runs it '), { signal });
    } finally {
      reader.close();
    }
  };
}
