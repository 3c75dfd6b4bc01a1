import { Command, InvalidArgumentError, Option, type OutputConfiguration } from 'commander';
import { readAsset } from '../shared/files.ts';
import { DISTRIBUTION_NAMES, DRIVER_NAMES, ECHO_VARIANTS } from '../spec/names.ts';
import type { Handlers } from './handlers.ts';

export type BinName = 'lab' | 'labup' | 'labtest' | 'labdown';

/** The command line of one bin. What was typed is handed to `handlers`; commander's own errors are thrown. */
export function program(name: BinName, handlers: Handlers, output: OutputConfiguration): Command {
  const root = new Command(name).version(
    (JSON.parse(readAsset('package.json')) as { version: string }).version,
  );
  // Before any command is defined: each copies this.
  root.exitOverride().showHelpAfterError('(--help shows the options)').configureOutput(output);
  if (name === 'labup') defineUp(root, handlers);
  else if (name === 'labtest') defineTest(root, handlers);
  else if (name === 'labdown') defineDown(root, handlers);
  else {
    root.description('Look at and work with a running lab.');
    root.enablePositionalOptions();
    defineUp(root.command('up'), handlers);
    defineTest(root.command('test'), handlers);
    defineDown(root.command('down'), handlers);
    defineVerbs(root, handlers);
  }
  return root;
}

const jsonOption = ['--json', 'print one JSON document on standard output and nothing else'] as const;

function withLab(
  command: Command,
  file = 'the lab to work on; default: lab.yaml, else the default lab',
): Command {
  return command.option('-f, --file <path>', file).option(...jsonOption);
}

function defineUp(command: Command, handlers: Handlers): void {
  withLab(command)
    .description('Bring the lab up. Looks first, does only what is missing; run it again to continue.')
    .option('-y, --yes', 'install what is missing without asking')
    .option('--dry-run', 'print the plan and touch nothing')
    .addOption(driverOption())
    .addOption(
      new Option('--distribution <name>', 'what installs Kubernetes').choices([
        'auto',
        ...DISTRIBUTION_NAMES,
      ]),
    )
    .addOption(artifactsOption())
    .addOption(echoOption())
    .option('--small', 'one worker fewer, and no routed client: for laptops')
    .option('--timings', 'also say what each step took, and what it would have taken at least')
    .action((options) => handlers.up(options));
}

function driverOption(): Option {
  return new Option('--driver <name>', 'where machines come from').choices(['auto', ...DRIVER_NAMES]);
}

function echoOption(): Option {
  return new Option('--echo <variant>', 'which echo workloads').choices([...ECHO_VARIANTS]);
}

function artifactsOption(): Option {
  return new Option(
    '--artifacts <name|folder>',
    'where binaries come from: auto, online, debian, or a bundle',
  );
}

const onlyOption = [
  '--only <pattern...>',
  "only cells whose id contains a pattern, or matches one with '*' or '?'",
] as const;
const namespaceOption = ['--namespace <name...>', 'only the services and pods of these namespaces'] as const;

function defineTest(command: Command, handlers: Handlers): void {
  withLab(command)
    .description('Prove how traffic reaches the lab: connectivity matrix, BGP and DNS checks.')
    .option('--junit <file>', 'also write the results as JUnit XML')
    .option('--strict', 'exit 3 if a cell passed only at the second try, or something was skipped')
    .option('--verbose', 'show every check, not only those that did not pass')
    .option(...onlyOption)
    .option('--icmp', 'also ping pods, nodes, ClusterIPs and external addresses')
    .option(...namespaceOption)
    .option('--fail-first', 'what failed last time first; the rest only if that is right now')
    .option('--diff <report.json>', 'also show what is different from an earlier report')
    .option('--html <file>', 'also write the results as one HTML file')
    .option('--watch', 'test again every few seconds until Ctrl-C, and show what changes')
    .option('--for <seconds>', 'with --watch: end after this time', positiveInteger)
    .action((options) => handlers.test(options));
  // Options behind the word are the subcommand's own.
  command.enablePositionalOptions();
  defineSelftest(command.command('selftest'), handlers);
}

function defineSelftest(command: Command, handlers: Handlers): void {
  withLab(command)
    .description('Prove labtest: make known faults one at a time, see that it finds each, undo them.')
    .argument('[fault...]', 'only these faults')
    .action((faults, options) => handlers.selftest(faults, options));
}

function defineScenario(command: Command, handlers: Handlers): void {
  command.description(
    'Lessons that are run step by step on the running lab, each with what must be seen and why.',
  );
  command
    .command('list')
    .description('List the scenarios.')
    .option(...jsonOption)
    .action((options) => handlers.scenarioList(options));
  command
    .command('show')
    .description('Show the commands of a scenario and what must be seen; nothing is run.')
    .argument('<name>')
    .option(...jsonOption)
    .action((name, options) => handlers.scenarioShow(name, options));
  withLab(command.command('run'))
    .description(
      'Run scenarios: each command as one would type it, what was seen, and whether that is right.',
    )
    .argument('[name...]', 'their names')
    .option('--all', 'all scenarios')
    .option('--pause', 'wait for Enter before each step')
    .option('--junit <file>', 'also write the results as JUnit XML')
    .option('--markdown <file>', 'also write the run as Markdown')
    .option('--html <file>', 'also write the run as one HTML file')
    .option('--strict', 'exit 3 if a scenario was skipped')
    .action((names, options) => handlers.scenarioRun(names, options));
}

function defineSnapshot(command: Command, handlers: Handlers): void {
  command.description('Keep the lab as it is now, and bring it back to that.');
  withLab(command.command('save'))
    .description('Keep the disks of all machines, all as they are at one time.')
    .argument('<name>')
    .action((name, options) => handlers.snapshotSave(name, options));
  withLab(command.command('list'))
    .description('List the snapshots, with their time and size.')
    .action((options) => handlers.snapshotList(options));
  withLab(command.command('restore'))
    .description('Bring the lab back to a snapshot; what was changed since is lost.')
    .argument('<name>')
    .action((name, options) => handlers.snapshotRestore(name, options));
  withLab(command.command('remove'))
    .description('Remove a snapshot. labdown removes all of them with the machines.')
    .argument('<name>')
    .action((name, options) => handlers.snapshotRemove(name, options));
}

function defineDown(command: Command, handlers: Handlers): void {
  withLab(command)
    .description('Remove the lab: everything that carries its owner label, then look for leftovers.')
    .option('-y, --yes', 'remove without asking')
    .option('--name <lab>', "the lab's name, where lab.yaml is gone")
    .option('--purge', 'on machines that stay (driver ssh), also the packages that labup installed')
    .action((options) => handlers.down(options));
}

function defineVerbs(root: Command, handlers: Handlers): void {
  withLab(root.command('init'), 'the file to write; default: lab.yaml')
    .description("Write the default lab's lab.yaml, to be edited. Never overwrites a file.")
    .action((options) => handlers.init(options));
  withLab(root.command('doctor'))
    .description('Check everything that labup needs of this host, and say what cures what is wrong.')
    .addOption(driverOption())
    .addOption(artifactsOption())
    .action((options) => handlers.doctor(options));
  withLab(root.command('manifests'))
    .description('Print the echo workloads, as labup applies them, for kubectl apply -f - or delete -f -.')
    .addOption(echoOption())
    .action((options) => handlers.manifests(options));
  defineBundle(root.command('bundle'), handlers);
  withLab(root.command('status'))
    .description('Show machines, nodes and BGP sessions.')
    .action((options) => handlers.status(options));
  withLab(root.command('predict'))
    .description('Show what must happen in every cell, derived from what is there; no probe is sent.')
    .option(...onlyOption)
    .option('--icmp', 'also pings')
    .option(...namespaceOption)
    .action((options) => handlers.predict(options));
  withLab(root.command('explain'))
    .description("Show a packet's path, step by step, and what the last labtest saw of it.")
    .argument('<cell>', 'the id of a cell, a part of it, or a pattern with * or ?')
    .option(...namespaceOption)
    .action((cell, options) => handlers.explain(cell, options));
  defineSelftest(root.command('selftest'), handlers);
  defineScenario(root.command('scenario'), handlers);
  defineSnapshot(root.command('snapshot'), handlers);
  withLab(root.command('reset'))
    .description('Bring the lab back to what labup made; what was changed since is lost.')
    .action((options) => handlers.reset(options));
  withLab(root.command('ssh'))
    .description('Open a shell on a machine.')
    .argument('<machine>')
    .action((machine, options) => handlers.ssh(machine, options));
  withLab(root.command('exec'))
    .description('Run a command on a machine; its exit code is ours.')
    .argument('<machine>')
    .argument('<command...>', 'the command and its options, after --')
    .action((machine, words, options) => handlers.exec(machine, words, options));
  withLab(root.command('kubectl'))
    .description('Run kubectl against the lab.')
    .argument('[args...]')
    .passThroughOptions()
    .allowUnknownOption()
    .helpOption(false)
    .action((args, options) => handlers.kubectl(args, options));
  withLab(root.command('logs'))
    .description('Show the journal of a machine, or the steps of labup without one.')
    .argument('[machine]')
    .option('-n, --lines <count>', 'how many lines', positiveInteger, 200)
    .action((machine, options) => handlers.logs(machine, options));
}

function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('It must be a whole number above 0.');
  return Number(text);
}

function defineBundle(bundle: Command, handlers: Handlers): void {
  bundle.description(
    'A folder with everything that a lab is made from, to be carried where there is no network.',
  );
  bundle
    .command('create')
    .description('Make a bundle in an empty folder; then there: labup --artifacts FOLDER.')
    .argument('<folder>')
    .addOption(
      new Option('--from <source>', 'where its files come from')
        .choices(['online', 'debian'])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option(
        '--distribution <name>',
        'what installs Kubernetes; default: k3s from online, kubeadm from debian',
      ).choices([...DISTRIBUTION_NAMES]),
    )
    .option('-y, --yes', 'install what is missing without asking')
    .option(...jsonOption)
    .action((folder, options) => handlers.bundleCreate(folder, options));
  bundle
    .command('verify')
    .description(
      'Read every byte of a bundle: names each file and container image that is missing, altered or too many.',
    )
    .argument('<folder>')
    .option(...jsonOption)
    .action((folder, options) => handlers.bundleVerify(folder, options));
}
