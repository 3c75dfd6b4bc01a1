import { resolve } from 'node:path';
import type { BundleOptions } from '../commands/bundle/bundle.ts';
import type { Deps } from '../commands/deps.ts';
import type { DownOptions } from '../commands/down/labdown.ts';
import type { LogsOptions } from '../commands/inspect/logs.ts';
import type { PredictOptions } from '../commands/inspect/predict.ts';
import type { LabOptions } from '../commands/lab-file.ts';
import type { labtest } from '../commands/test/labtest.ts';
import type { UpOptions } from '../commands/up/labup.ts';
import type { PlanOptions } from '../commands/up/load-plan.ts';
import { sumOf } from '../commands/up/processor-time.ts';
import { ANY_CODE } from '../exec/executor.ts';
import { EXIT, UserError } from '../shared/errors.ts';
import type { Terminal } from './deps.ts';
import type { ScenarioArgs } from './scenario-handlers.ts';
import type { Json, TestArgs } from './test-handlers.ts';
import {
  aboutBundle,
  bundleText,
  colors,
  doctorText,
  durationText,
  slowestText,
  statusText,
  timingsText,
} from './text.ts';

type LabArgs = LabOptions & Json;

/** What each command does with its parsed arguments. Every handler notes the exit code; none ends the process. */
export type Handlers = ReturnType<typeof realHandlers>;

/**
 * The handlers of a real run: call the command, print its result as text or JSON, note the exit code. `use` gives a
 * command its effects, once its arguments are known. Only the command that is run is loaded. `runTest` is for tests of what becomes of a result.
 */
export function realHandlers(use: (args: Json) => Deps, terminal: Terminal, runTest?: typeof labtest) {
  let code: number = EXIT.pass;
  const print = (text: string) => terminal.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));
  const setCode = (value: number) => {
    code = value;
  };
  /** Runs the user's own command: on the terminal, or with what it printed in a document that says what it is. */
  const runTheirs = async (deps: Deps, argv: readonly string[], { json }: Json, about: object) => {
    if (!json) code = await deps.interactive(argv, deps.env);
    else {
      const result = await deps.local.run(argv, { okCodes: ANY_CODE, signal: deps.signal });
      printJson({ schemaVersion: 1, ...about, ...result });
      code = result.exitCode;
    }
  };
  const tests = async () => {
    const { testHandlers } = await import('./test-handlers.ts');
    return testHandlers(use, terminal, { print, printJson, setCode }, runTest);
  };
  const scenarios = async () => {
    const { scenarioHandlers } = await import('./scenario-handlers.ts');
    return scenarioHandlers(use, terminal, { print, printJson, setCode });
  };
  const snapshots = async () => {
    const { snapshotHandlers } = await import('./snapshot-handlers.ts');
    return snapshotHandlers(use, { print, printJson });
  };
  return {
    exitCode: (): number => code,

    async init(args: LabArgs) {
      const { initLab } = await import('../commands/up/init.ts');
      const deps = use(args);
      const path = await initLab(deps, args.file);
      if (args.json) printJson({ schemaVersion: 1, file: path });
      else deps.say(`${path} is written: the default lab, to be edited\nnext: npx labup --dry-run`);
    },

    async up(args: UpOptions & Json & { readonly dryRun?: boolean; readonly timings?: boolean }) {
      const { dryRun, labup } = await import('../commands/up/labup.ts');
      const deps = use(args);
      if (args.dryRun === true) {
        const { plan, text } = await dryRun(deps, args);
        if (args.json) printJson(plan);
        else print(text);
        return;
      }
      const result = await labup(deps, args);
      if (args.json) {
        const { plan, stateDir, changed, durationMs, timings } = result;
        const { processorMs, leastMs, ratio } = sumOf(timings);
        const took = { durationMs, processorMs, leastMs, ratio, timings };
        printJson({ schemaVersion: 1, lab: plan.lab, stateDir, changed, ...took });
        return;
      }
      if (args.timings === true) deps.say(timingsText(result.timings));
      else if (result.changed) deps.say(slowestText(result.timings));
      deps.say(
        `${colors.green('up')}  lab "${result.plan.lab}" ${result.changed ? 'is up' : 'was up already, nothing changed'} (${durationText(result.durationMs)})`,
      );
      deps.say('next: npx labtest   |   npx lab status   |   npx lab kubectl get pods -A -o wide');
    },

    test: async (args: TestArgs) => (await tests()).test(args),
    selftest: async (faults: readonly string[], args: LabArgs) => (await tests()).selftest(faults, args),
    predict: async (args: PredictOptions & Json) => (await tests()).predict(args),
    explain: async (cell: string, args: LabArgs) => (await tests()).explain(cell, args),

    scenarioList: async (args: LabArgs) => (await scenarios()).list(args),
    scenarioShow: async (name: string, args: LabArgs) => (await scenarios()).show(name, args),
    scenarioRun: async (names: readonly string[], args: ScenarioArgs) => (await scenarios()).run(names, args),

    async down(args: DownOptions & Json) {
      const { labdown } = await import('../commands/down/labdown.ts');
      const deps = use(args);
      const { lab, removed } = await labdown(deps, args);
      if (args.json) printJson({ schemaVersion: 1, lab, removed, left: [] });
      else
        deps.say(
          removed.length === 0 ? `lab "${lab}": there was nothing` : `lab "${lab}" is gone, nothing is left`,
        );
    },

    snapshotSave: async (name: string, args: LabArgs) => (await snapshots()).save(name, args),
    snapshotList: async (args: LabArgs) => (await snapshots()).list(args),
    snapshotRestore: async (name: string, args: LabArgs) => (await snapshots()).restore(name, args),
    snapshotRemove: async (name: string, args: LabArgs) => (await snapshots()).remove(name, args),
    reset: async (args: LabArgs) => (await snapshots()).reset(args),

    async bundleCreate(folder: string, args: BundleOptions & Json) {
      const { bundleCreate } = await import('../commands/bundle/bundle.ts');
      const deps = use(args);
      const path = resolve(terminal.cwd, folder);
      const manifest = await bundleCreate(deps, path, args);
      if (args.json) printJson({ schemaVersion: 1, folder: path, ...aboutBundle(manifest) });
      else {
        deps.say(bundleText(path, manifest));
        deps.say(`next: npx lab bundle verify ${folder}   |   npx labup --artifacts ${folder}`);
      }
    },

    async bundleVerify(folder: string, args: Json) {
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

    async doctor(args: PlanOptions & Json) {
      const { doctor, doctorDocument } = await import('../commands/inspect/doctor.ts');
      const diagnosis = await doctor(use(args), args);
      if (args.json) printJson(doctorDocument(diagnosis));
      else print(doctorText(diagnosis));
      code = diagnosis.blocked ? EXIT.userMustAct : EXIT.pass;
    },

    async manifests(args: PlanOptions & Json) {
      const { labManifests } = await import('../commands/inspect/manifests.ts');
      const { lab, yaml, objects } = await labManifests(use(args), args);
      if (args.json) printJson({ schemaVersion: 1, lab, objects });
      else print(yaml);
    },

    async status(args: LabArgs) {
      const { labStatus } = await import('../commands/inspect/status.ts');
      const status = await labStatus(use(args), args);
      if (args.json) printJson(status);
      else print(statusText(status));
      code = status.state === 'up' ? EXIT.pass : EXIT.wrong;
    },

    async ssh(machine: string, args: LabArgs) {
      const { sshArgv } = await import('../commands/inspect/shell.ts');
      const deps = use(args);
      if (args.json)
        throw new UserError('A shell has no JSON.', { next: `npx lab exec --json ${machine} -- COMMAND` });
      code = await deps.interactive(await sshArgv(deps, machine, [], args), deps.env);
    },

    async exec(machine: string, command: readonly string[], args: LabArgs) {
      const { sshArgv } = await import('../commands/inspect/shell.ts');
      const deps = use(args);
      const argv = await sshArgv(deps, machine, command, args);
      await runTheirs(deps, argv, args, { machine, command });
    },

    async kubectl(args: readonly string[], options: LabArgs) {
      const { withKubectl } = await import('../commands/inspect/shell.ts');
      const deps = use(options);
      const about = { command: ['kubectl', ...args] };
      await withKubectl(deps, args, options, (argv) => runTheirs(deps, argv, options, about));
    },

    async logs(machine: string | undefined, args: LogsOptions & Json) {
      const { machineLog, stepLog } = await import('../commands/inspect/logs.ts');
      const deps = use(args);
      const text = machine === undefined ? await stepLog(deps, args) : await machineLog(deps, machine, args);
      if (args.json)
        printJson({ schemaVersion: 1, machine: machine ?? null, lines: text.trimEnd().split('\n') });
      else print(text);
    },
  };
}
