import { resolve } from 'node:path';
import type { Deps } from '../commands/deps.ts';
import type { labtest } from '../commands/test/labtest.ts';
import { EXIT, UserError } from '../shared/errors.ts';
import type { Terminal } from './deps.ts';
import type { Handlers } from './handlers.ts';
import {
  aboutBundle,
  bundleText,
  colors,
  doctorText,
  durationText,
  slowestText,
  statusText,
} from './text.ts';

/** Whatever the user's own command ends with is its result. */
const ANY_CODE = Array.from({ length: 256 }, (_, value) => value);

/**
 * The handlers of a real run: call the command, print its result as text or JSON, note the exit code. `use` gives a
 * command its effects, once its arguments are known. Only the command that is run is loaded. `runTest` is for tests of what becomes of a result.
 */
export function realHandlers(
  use: (args: { readonly json?: boolean }) => Deps,
  terminal: Terminal,
  runTest?: typeof labtest,
): Handlers & { exitCode(): number } {
  let code: number = EXIT.pass;
  const print = (text: string) => terminal.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));
  const setCode = (value: number) => {
    code = value;
  };
  const tests = async () => {
    const { testHandlers } = await import('./test-handlers.ts');
    return testHandlers(use, terminal, { print, printJson, setCode }, runTest);
  };
  return {
    exitCode: () => code,

    async init(args) {
      const { initLab } = await import('../commands/up/init.ts');
      const deps = use(args);
      const path = await initLab(deps, args.file);
      if (args.json) printJson({ schemaVersion: 1, file: path });
      else deps.say(`${path} is written: the default lab, to be edited\nnext: npx labup --dry-run`);
    },

    async up(args) {
      const { dryRun, labup } = await import('../commands/up/labup.ts');
      const deps = use(args);
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
        `${colors.green('up')}  lab "${result.plan.lab}" ${result.changed ? 'is up' : 'was up already, nothing changed'} (${durationText(result.durationMs)})`,
      );
      deps.say('next: npx labtest   |   npx lab status   |   npx lab kubectl get pods -A -o wide');
    },

    test: async (args) => (await tests()).test(args),
    selftest: async (faults, args) => (await tests()).selftest(faults, args),
    predict: async (args) => (await tests()).predict(args),
    explain: async (cell, args) => (await tests()).explain(cell, args),

    async down(args) {
      const { labdown } = await import('../commands/down/labdown.ts');
      const deps = use(args);
      const { lab, removed } = await labdown(deps, { ...args, yes: args.yes === true });
      if (args.json) printJson({ schemaVersion: 1, lab, removed, left: [] });
      else
        deps.say(
          removed.length === 0 ? `lab "${lab}": there was nothing` : `lab "${lab}" is gone, nothing is left`,
        );
    },

    async bundleCreate(folder, args) {
      const { bundleCreate } = await import('../commands/bundle/bundle.ts');
      const deps = use(args);
      const path = resolve(terminal.cwd, folder);
      const manifest = await bundleCreate(deps, path, { ...args, yes: args.yes === true });
      if (args.json) printJson({ schemaVersion: 1, folder: path, ...aboutBundle(manifest) });
      else {
        deps.say(bundleText(path, manifest));
        deps.say(`next: npx lab bundle verify ${folder}   |   npx labup --artifacts ${folder}`);
      }
    },

    async bundleVerify(folder, args) {
      const { bundleVerify } = await import('../commands/bundle/bundle.ts');
      const path = resolve(terminal.cwd, folder);
      const { manifest, problems, next } = await bundleVerify(use(args), path);
      if (args.json) printJson({ schemaVersion: 1, folder: path, ...aboutBundle(manifest), problems, next });
      else {
        print([...problems, bundleText(path, manifest, problems.length)].join('\n'));
        if (next !== undefined) print(`next: ${next}`);
      }
      code = problems.length === 0 ? EXIT.pass : EXIT.userMustAct;
    },

    async doctor(args) {
      const { doctor, doctorDocument } = await import('../commands/inspect/doctor.ts');
      const diagnosis = await doctor(use(args), args);
      if (args.json) printJson(doctorDocument(diagnosis));
      else print(doctorText(diagnosis));
      code = diagnosis.blocked ? EXIT.userMustAct : EXIT.pass;
    },

    async status(args) {
      const { labStatus } = await import('../commands/inspect/status.ts');
      const status = await labStatus(use(args), args);
      if (args.json) printJson(status);
      else print(statusText(status));
      code = status.state === 'up' ? EXIT.pass : EXIT.wrong;
    },

    async ssh(machine, args) {
      const { sshArgv } = await import('../commands/inspect/shell.ts');
      const deps = use(args);
      if (args.json)
        throw new UserError('A shell has no JSON.', { next: `npx lab exec --json ${machine} -- COMMAND` });
      code = await deps.interactive(await sshArgv(deps, machine, [], args), deps.env);
    },

    async exec(machine, command, args) {
      const { sshArgv } = await import('../commands/inspect/shell.ts');
      const deps = use(args);
      const argv = await sshArgv(deps, machine, command, args);
      if (!args.json) code = await deps.interactive(argv, deps.env);
      else {
        const result = await deps.local.run(argv, { okCodes: ANY_CODE, signal: deps.signal });
        printJson({ schemaVersion: 1, machine, command, ...result });
        code = result.exitCode;
      }
    },

    async kubectl(args, options) {
      const { withKubectl } = await import('../commands/inspect/shell.ts');
      const deps = use(options);
      await withKubectl(deps, args, options, async (argv) => {
        if (!options.json) code = await deps.interactive(argv, deps.env);
        else {
          const result = await deps.local.run(argv, { okCodes: ANY_CODE, signal: deps.signal });
          printJson({ schemaVersion: 1, command: ['kubectl', ...args], ...result });
          code = result.exitCode;
        }
      });
    },

    async logs(machine, args) {
      const { machineLog, stepLog } = await import('../commands/inspect/logs.ts');
      const deps = use(args);
      const text = machine === undefined ? await stepLog(deps, args) : await machineLog(deps, machine, args);
      if (args.json)
        printJson({ schemaVersion: 1, machine: machine ?? null, lines: text.trimEnd().split('\n') });
      else print(text);
    },
  };
}
