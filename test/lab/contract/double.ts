import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandError, type RunResult } from '../../../scripts/exec/executor.ts';
import { localExecutor } from '../../../scripts/exec/local.ts';
import { messageOf } from '../../../scripts/shared/errors.ts';
import { assetPath } from '../../../scripts/shared/files.ts';

const FOLDER = assetPath('test', 'doubles');
/** A launch with the image to be built first. */
const LONG_MS = 600_000;

/** A stand-in for Multipass of its own: state, project, bridge and addresses that no other one has. */
export class Double {
  readonly state = mkdtempSync(join(tmpdir(), 'contract-double-'));
  readonly bridge: string;
  readonly #own: Readonly<Record<string, unknown>>;
  #knobs: Readonly<Record<string, unknown>> = {};
  /** Waiting for the stand-in times out sooner than waiting for the real one. */
  static readonly GIVE_UP_MS = 3_000;

  constructor(name: string, subnet: number) {
    this.bridge = `ct${name.split('-').at(-1)}${subnet}`;
    this.#own = { project: name, bridge: this.bridge, subnet: `10.66.${subnet}.0/24` };
  }

  /** The environment in which `multipass` is this stand-in. */
  env(): Readonly<Record<string, string>> {
    return {
      PATH: `${FOLDER}:${process.env.PATH}`,
      MULTIPASS_DOUBLE_STATE: this.state,
      MULTIPASS_DOUBLE_KNOBS: JSON.stringify({ ...this.#own, ...this.#knobs }),
    };
  }

  /** Runs work while knobs are set. */
  async with<T>(knobs: Readonly<Record<string, unknown>>, work: () => Promise<T>): Promise<T> {
    this.turn(knobs);
    try {
      return await work();
    } finally {
      this.turn({});
    }
  }

  /** Sets knobs, and all others back to what they are by default. */
  turn(knobs: Readonly<Record<string, unknown>>): void {
    this.#knobs = knobs;
  }

  /** Calls it as a user would, behind the driver's back. */
  async call(argv: readonly string[], input = ''): Promise<RunResult> {
    const options = { input, env: this.env(), timeoutMs: LONG_MS };
    return localExecutor()
      .run(['multipass', ...argv], options)
      .catch((error: unknown) => {
        // The test runner shows messages only.
        const details = error instanceof CommandError ? error.details : [];
        throw new Error([messageOf(error), ...details].join('\n'), { cause: error });
      });
  }

  /** Names of all instances, in alphabetical order. */
  async names(): Promise<readonly string[]> {
    const { stdout } = await this.call(['list', '--format', 'json', '--no-ipv4']);
    return (JSON.parse(stdout) as { list: readonly { name: string }[] }).list.map(({ name }) => name).sort();
  }

  /** Every argv that it was called with, and everything that it read. */
  heard(): string {
    const stdin = join(this.state, 'stdin');
    const files = [
      join(this.state, 'argv.jsonl'),
      ...(existsSync(stdin) ? readdirSync(stdin).map((name) => join(stdin, name)) : []),
    ];
    return files.map((file) => readFileSync(file, 'utf8')).join('\n');
  }

  /** Removes everything of it from this host; twice does no harm. */
  async remove(): Promise<void> {
    await localExecutor().run([join(FOLDER, 'multipass-cleanup')], { env: this.env(), timeoutMs: LONG_MS });
  }
}
