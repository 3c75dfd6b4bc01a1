import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { CommandError, type Executor } from '../../scripts/exec/executor.ts';
import { thisProcess } from '../../scripts/exec/local.ts';
import type { Io } from './multipass.d/io.ts';
import { multipass, worker } from './multipass.d/main.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A double without machines, in a state folder of its own; its calls run in this process. */
export class Double {
  readonly folder = mkdtempSync(join(tmpdir(), 'multipass-double-'));
  readonly home = mkdtempSync(join(tmpdir(), 'home-'));
  /** What the daemon's jobs said; nobody sees it but who looks into their logs. */
  readonly #daemon: string[] = [];
  #knobs: object = { backend: 'sandbox', spinner: false };

  /** Sets knobs, beside those that are set. */
  set(knobs: object): void {
    this.#knobs = { ...this.#knobs, ...knobs };
    writeFileSync(join(this.folder, 'knobs.json'), JSON.stringify(this.#knobs));
  }

  /** What commands in guests answer, as exec.json. */
  answers(rows: readonly object[]): void {
    writeFileSync(join(this.folder, 'exec.json'), JSON.stringify(rows));
  }

  /** One call: the words of its command line, and its standard input. */
  async run(
    argv: readonly string[],
    stdin: string | Buffer = '',
    stdinIs: Io['stdinIs'] = 'pipe',
  ): Promise<Ran> {
    if (!existsSync(join(this.folder, 'knobs.json'))) this.set({});
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const input = Readable.from([Buffer.from(stdin)]);
    const io: Io = {
      env: { HOME: this.home, MULTIPASS_DOUBLE_STATE: this.folder },
      cwd: this.home,
      stdin: () => input,
      stdinIs,
      stdoutIsTerminal: false,
      out: (chunk) => out.push(Buffer.from(chunk as Uint8Array)),
      err: (chunk) => err.push(Buffer.from(chunk as Uint8Array)),
      background: async (jobFolder) => {
        void worker({ ...io, out: () => {}, err: (chunk) => this.#daemon.push(String(chunk)) }, jobFolder);
        return thisProcess();
      },
    };
    const code = await multipass(io, argv);
    return { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
  }

  /** This host for a driver, where `multipass` is this double. */
  readonly local: Executor = {
    where: 'this host',
    run: async (argv, { input = '', okCodes = [0] } = {}) => {
      const { code: exitCode, ...said } = await this.run(argv.slice(1), input);
      if (!okCodes.includes(exitCode)) throw new CommandError('this host', argv, { exitCode, ...said });
      return { exitCode, ...said };
    },
  };

  /** A call that must succeed; its standard output. */
  async ok(...argv: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv);
    if (code !== 0) throw new Error(`multipass ${argv.join(' ')}: ${code}\n${stderr}`);
    return stdout;
  }

  /** A document that a call prints. */
  async json<T>(...argv: readonly string[]): Promise<T> {
    return JSON.parse(await this.ok(...argv, '--format', 'json')) as T;
  }

  /** The state of an instance, as `list` has it. */
  async state(name: string): Promise<string | undefined> {
    const { list } = await this.json<{ list: readonly { name: string; state: string }[] }>('list');
    return list.find((each) => each.name === name)?.state;
  }

  /** A file in the home folder. */
  file(name: string, text: string): string {
    const path = join(this.home, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** A file of a guest. */
  inGuest(instance: string, path: string): string {
    return readFileSync(join(this.folder, 'sandbox', instance, path), 'utf8');
  }

  /** The lines of the argv log. */
  log(): readonly {
    event: string;
    id: string;
    argv?: readonly string[];
    code?: number;
    stdinBytes?: number;
  }[] {
    const lines = readFileSync(join(this.folder, 'argv.jsonl'), 'utf8').trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line));
  }
}
