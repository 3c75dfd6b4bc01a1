import { rename, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import pc from 'picocolors';
import type { Deps } from '../commands/deps.ts';
import { labdown } from '../commands/labdown.ts';
import { labtest } from '../commands/labtest.ts';
import { dryRun, labup } from '../commands/labup.ts';
import { machineLog, stepLog } from '../commands/logs.ts';
import { labStatus } from '../commands/status.ts';
import { kubectlArgv, sshArgv } from '../commands/tools.ts';
import { runInteractive } from '../exec/interactive.ts';
import { buildReport, reportText } from '../report/json.ts';
import { toJunit } from '../report/junit.ts';
import { exitCodeOf } from '../report/summary.ts';
import { renderTable } from '../report/table.ts';
import { EXIT, UserError } from '../shared/errors.ts';
import { durationText } from './clock-text.ts';
import type { Terminal } from './deps.ts';
import type { Handlers } from './handlers.ts';
import { statusText } from './status-text.ts';
import { slowestText } from './timing-text.ts';

/** The handlers of a real run: call the command, print its result as text or JSON, note the exit code. */
export function realHandlers(deps: Deps, terminal: Terminal): Handlers & { exitCode(): number } {
  let code: number = EXIT.pass;
  const print = (text: string) => terminal.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));
  return {
    exitCode: () => code,

    async up(args) {
      const options = { ...args, yes: args.yes === true };
      if (args.dryRun === true) {
        const { plan, text } = await dryRun(deps, options);
        if (args.json) printJson(plan);
        else print(text);
        return;
      }
      const result = await labup(deps, options);
      if (args.json) {
        const { plan, stateDir, changed, durationMs, timings } = result;
        printJson({ schemaVersion: 1, lab: plan.lab, stateDir, changed, durationMs, timings });
        return;
      }
      if (result.changed) deps.say(slowestText(result.timings));
      deps.say(
        `${pc.green('up')}  lab "${result.plan.lab}" ${result.changed ? 'is up' : 'was up already, nothing changed'} (${durationText(result.durationMs)})`,
      );
      deps.say('next: npx labtest   |   npx lab status   |   npx lab kubectl get pods -A -o wide');
    },

    async test(args) {
      const { run, planned } = await labtest(deps, args);
      const report = buildReport(run, planned);
      if (args.junit !== undefined) await writeAtomically(resolve(deps.cwd, args.junit), toJunit(run));
      if (args.json) print(reportText(report));
      else {
        const width = terminal.stdout.columns ?? 100;
        print(renderTable(run, { color: pc.isColorSupported, width, verbose: args.verbose === true }));
      }
      code = exitCodeOf(run, { strict: args.strict === true });
    },

    async down(args) {
      const { lab, removed } = await labdown(deps, { ...args, yes: args.yes === true });
      if (args.json) printJson({ schemaVersion: 1, lab, removed, left: [] });
      else
        deps.say(
          removed.length === 0 ? `lab "${lab}": there was nothing` : `lab "${lab}" is gone, nothing is left`,
        );
    },

    async status(args) {
      const status = await labStatus(deps, args);
      if (args.json) printJson(status);
      else print(statusText(status));
      code = status.state === 'up' ? EXIT.pass : EXIT.wrong;
    },

    async ssh(machine, args) {
      if (args.json)
        throw new UserError('A shell has no JSON.', { next: `npx lab exec ${machine} --json -- COMMAND` });
      code = await runInteractive(await sshArgv(deps, machine, [], args), deps.env);
    },

    async exec(machine, command, args) {
      const argv = await sshArgv(deps, machine, command, args);
      if (args.json) {
        const okCodes = Array.from({ length: 256 }, (_, value) => value);
        const result = await deps.local.run(argv, { okCodes, signal: deps.signal });
        printJson({ schemaVersion: 1, machine, command, ...result });
        code = result.exitCode;
        return;
      }
      code = await runInteractive(argv, deps.env);
    },

    async kubectl(args, options) {
      code = await runInteractive(await kubectlArgv(deps, args, options), deps.env);
    },

    async logs(machine, args) {
      const text = machine === undefined ? await stepLog(deps, args) : await machineLog(deps, machine, args);
      if (args.json)
        printJson({ schemaVersion: 1, machine: machine ?? null, lines: text.trimEnd().split('\n') });
      else print(text);
    },
  };
}

async function writeAtomically(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
