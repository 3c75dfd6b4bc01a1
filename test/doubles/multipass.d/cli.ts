import { Given, GLOBAL_OPTIONS, parseArguments, parseError } from './arguments.ts';
import { find, networks, version } from './commands/about.ts';
import { as, type Command } from './commands/command.ts';
import { remove } from './commands/delete.ts';
import { exec } from './commands/exec.ts';
import { launch } from './commands/launch.ts';
import { restart, start, stop } from './commands/lifecycle.ts';
import { list } from './commands/list.ts';
import { get } from './commands/settings.ts';
import { Failure, RC, usage } from './failures.ts';
import type { Call } from './io.ts';
import { isModern } from './knobs.ts';

const COMMANDS: readonly Command[] = [
  remove,
  exec,
  find,
  get,
  launch,
  list,
  networks,
  restart,
  start,
  stop,
  version,
];

const NEVER_STARTED =
  '[error] [client] Caught an unhandled exception: failed to open file ' +
  "'/usr/local/etc/multipassd/multipass_root_cert.pem': No such file or directory(2)\n";

/** Options that 1.17 no longer has. */
const GONE = ['mem', 'only-images', 'only-blueprints'];

/** Runs one command line and returns its exit code, having printed what went wrong. */
export async function runCommandLine(call: Call, argv: readonly string[]): Promise<number> {
  try {
    // The client then finds no certificate of the daemon's, whatever it is asked.
    if (call.knobs.daemon === 'never-started') throw new Failure(RC.commandLine, NEVER_STARTED);
    return await dispatch(call, argv);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    call.err(error.text);
    return error.code;
  }
}

// Two passes, as src/client/cli/argparser.cpp: the first one finds the command and the global options.
async function dispatch(call: Call, argv: readonly string[]): Promise<number> {
  const first = parseArguments(argv, GLOBAL_OPTIONS);
  const helped = first.values.has('help');
  const asked = first.values.has('version') ? 'version' : first.positional[0];
  if (asked === undefined) {
    const error = parseError(first);
    if (error !== undefined) call.err(`${error}\n\n`);
    call.out(generalHelp());
    return helped ? RC.ok : RC.commandFail;
  }
  if (asked === 'help') return help(call, first.positional.slice(1));
  const command = COMMANDS.find(({ names }) => names.includes(asked));
  if (command === undefined) {
    if (helped) {
      call.out(generalHelp());
      return RC.ok;
    }
    call.out(`Error: Unknown command or alias '${asked}' (try "multipass help" or "multipass aliases")\n`);
    return RC.commandLine;
  }
  return runCommand(call, command, argv, asked, helped);
}

async function runCommand(
  call: Call,
  command: Command,
  argv: readonly string[],
  asked: string,
  helped: boolean,
): Promise<number> {
  const [name = ''] = command.names;
  const gone = isModern(call.knobs) ? GONE : [];
  const known = command.options.map((option) => ({
    ...option,
    names: option.names.filter((each) => !gone.includes(each) && !gone.includes(`${each}:${name}`)),
  }));
  const parsed = parseArguments(argv, [...GLOBAL_OPTIONS, ...known.filter(({ names }) => names.length > 0)]);
  const error = parseError(parsed);
  if (error !== undefined) {
    const advice =
      command === exec && parsed.unknown.length > 0 && !argv.includes('--')
        ? '\nOptions to the inner command should come after "--", like this:\n' +
          'multipass exec <instance> -- <command> <arguments>\n'
        : '';
    throw new Failure(RC.commandLine, `${error}\n${advice}`);
  }
  if (helped) {
    call.out(helpOf(command));
    return RC.ok;
  }
  // With --version instead of a command, the first word is not the command's name.
  const positional = asked === parsed.positional[0] ? parsed.positional.slice(1) : [];
  if (argv.includes('--mem') || argv.some((word) => word.startsWith('--mem='))) {
    call.err(
      'Warning: the "--mem" long option is deprecated in favour of "--memory". Please update any scripts, etc.\n',
    );
  }
  if (call.knobs.notice !== '' && [list, find, networks].includes(command)) call.err(call.knobs.notice);
  return as(name, () => command.run(call, new Given({ ...parsed, positional })));
}

function help(call: Call, names: readonly string[]): number {
  if (names.length > 1) throw usage('Too many arguments given');
  const [name] = names;
  if (name === undefined) {
    call.out(generalHelp());
    return RC.ok;
  }
  const command = COMMANDS.find((each) => each.names.includes(name));
  if (command === undefined) throw usage(`Error: Unknown Command: '${name}'`);
  call.out(helpOf(command));
  return RC.ok;
}

const OPTIONS =
  'Options:\n  -h, --help     Displays help on commandline options\n' +
  "  -v, --verbose  Increase logging verbosity. Repeat the 'v' in the short option for\n" +
  "                 more detail. Maximum verbosity is obtained with 4 (or more) v's, i.e. -vvvv.\n";

function generalHelp(): string {
  const lines = COMMANDS.map(({ names, summary }) => `  ${(names[0] ?? '').padEnd(12)}  ${summary}\n`);
  return (
    'Usage: multipass [options] <command>\nCreate, control and connect to Ubuntu instances.\n\n' +
    '(This is a test double, not Multipass.)\n\n' +
    `${OPTIONS}\nAvailable commands:\n${lines.join('')}`
  );
}

function helpOf({ names, summary, synopsis, options }: Command): string {
  const lines = options.map((option) => {
    const words = option.names.map((name) => (name.length === 1 ? `-${name}` : `--${name}`)).join(', ');
    return `  ${words}${option.value ? ' <value>' : ''}\n`;
  });
  return `Usage: multipass ${names[0]} [options] ${synopsis}\n${summary}\n\n${OPTIONS}${lines.join('')}`;
}
