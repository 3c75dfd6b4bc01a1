import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Runs a program on the user's own terminal (or pipes) and returns its exit code; a signal counts as 128 plus its number. */
export async function runInteractive(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const [command = '', ...args] = argv;
  const child = spawn(command, args, { stdio: 'inherit', env: { ...env } });
  // Ctrl-C reaches the program through the terminal; it decides what that means, and we report what it came to.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      );
    });
  } finally {
    process.off('SIGINT', ignore);
  }
}
