import { setMaxListeners } from 'node:events';
import { Interrupted } from '../shared/errors.ts';
import { main } from './main.ts';
import type { BinName } from './program.ts';

/** Runs a command of the package on this process: the only place that touches signals and the exit code. */
export async function runBin(name: BinName): Promise<void> {
  const controller = new AbortController();
  // Every command on every machine listens; Node would warn of a leak from the eleventh on.
  setMaxListeners(0, controller.signal);
  const stop = () => {
    // A second Ctrl-C must always get the user out.
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const { stdin, stdout, stderr, env } = process;
  // Whoever reads us may have had enough, as in `lab logs | head`: no reason to fail.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  const terminal = { cwd: process.cwd(), env, stdin, stdout, stderr, signal: controller.signal };
  process.exitCode = await main(name, process.argv.slice(2), terminal);
  // Daemons, sockets and pipes of children must not keep a finished command alive.
  await new Promise<void>((resolve) => stdout.write('', () => resolve()));
  process.exit();
}
