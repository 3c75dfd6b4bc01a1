import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A machine of the wire: a network namespace with one NIC, and a BIRD that is told what to run with. */
export class Speaker {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
  readonly #folder: string;
  #bird: ChildProcess | undefined;

  constructor(name: string, address: string, folder: string) {
    this.name = name;
    this.address = address;
    this.namespace = `labann-${name}`;
    this.#folder = folder;
  }

  /** Runs a command in the namespace; throws where it fails. */
  run(...argv: string[]): string {
    return must('ip', 'netns', 'exec', this.namespace, ...argv);
  }

  /** Starts BIRD with a configuration. */
  start(configuration: string): void {
    const file = join(this.#folder, `${this.name}.conf`);
    writeFileSync(file, configuration, { mode: 0o600 });
    const bird = ['/usr/sbin/bird', '-d', '-c', file, '-s', this.#socket, '-P', `${this.#socket}.pid`];
    this.run('/usr/sbin/bird', '-p', '-c', file);
    this.#bird = spawn('ip', ['netns', 'exec', this.namespace, ...bird], { stdio: 'ignore' });
  }

  /** Ends BIRD, and removes the routes that it leaves (persist). */
  async stop(): Promise<void> {
    const bird = this.#bird;
    this.#bird = undefined;
    if (bird !== undefined && bird.exitCode === null) {
      const closed = new Promise((resolve) => bird.once('close', resolve));
      bird.kill('SIGTERM');
      await closed;
    }
    this.run('ip', 'route', 'flush', 'proto', 'bird');
  }

  /** What BIRD's own client answers. */
  ask(...words: string[]): string {
    return must('/usr/sbin/birdc', '-s', this.#socket, ...words);
  }

  get #socket(): string {
    return join(this.#folder, `${this.name}.ctl`);
  }
}

/** Namespaces on one bridge in a namespace of its own: nothing of it is in the host's network. */
export class Wire {
  readonly #switch = 'labann-switch';
  readonly #speakers: readonly Speaker[];

  constructor(speakers: readonly Speaker[]) {
    this.#speakers = speakers;
  }

  make(prefixLength: number): void {
    this.remove();
    must('ip', 'netns', 'add', this.#switch);
    must('ip', '-n', this.#switch, 'link', 'add', 'wire', 'type', 'bridge');
    must('ip', '-n', this.#switch, 'link', 'set', 'wire', 'up');
    this.#speakers.forEach(({ namespace, address }, index) => {
      must('ip', 'netns', 'add', namespace);
      const end = ['peer', 'name', `port${index}`, 'netns', this.#switch];
      must('ip', '-n', namespace, 'link', 'add', 'eth0', 'type', 'veth', ...end);
      must('ip', '-n', this.#switch, 'link', 'set', `port${index}`, 'master', 'wire', 'up');
      must('ip', '-n', namespace, 'address', 'add', `${address}/${prefixLength}`, 'dev', 'eth0');
      must('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
      must('ip', '-n', namespace, 'link', 'set', 'eth0', 'up');
    });
  }

  /** Removes the namespaces, by name; with them go their NICs. */
  remove(): void {
    for (const name of [...this.#speakers.map(({ namespace }) => namespace), this.#switch])
      spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
  }
}

function must(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', input: '' });
  if (status !== 0)
    throw new Error(`${[command, ...args].join(' ')}: ${error?.message ?? `${stdout}${stderr}`.trim()}`);
  return stdout;
}
