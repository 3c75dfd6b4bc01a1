import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Call } from '../io.ts';
import { nextNumber, update } from '../store.ts';
import type { Backend, Connection, Ended, Power, Streams } from './backend.ts';

/**
 * What commands answer: `exec.json` of the state folder, the first row whose expression fits the argv joined by blanks
 * (and whose instance fits, where it names one).
 */
const tableSchema = z.array(
  z.strictObject({
    match: z.string(),
    instance: z.string().optional(),
    stdout: z.string().default(''),
    stderr: z.string().default(''),
    code: z.number().default(0),
    /** Killed by this signal instead. */
    signal: z.string().optional(),
    /** Answers with its input. */
    echo: z.boolean().default(false),
    delayMs: z.number().default(0),
  }),
);

/**
 * No machines: an instance is a folder (its home is `home/ubuntu` below), its power a file, and its commands are answered
 * from a table. For fast tests of streams, exit codes and states.
 */
export function sandboxBackend(call: Call): Backend {
  const folderOf = (name: string) => join(call.folder, 'sandbox', name);
  const powerFile = (name: string) => join(folderOf(name), 'power');
  const setPower = (name: string, power: Power) => writeFile(powerFile(name), power);
  const nextAddress = async () => {
    const [net = ''] = call.knobs.subnet.split('/');
    const host = 10 + ((await nextNumber(call.folder, 'address')) % 240);
    return `${net.split('.').slice(0, 3).join('.')}.${host}`;
  };
  return {
    prepare: async () => {},
    async create({ name }, seed) {
      await rm(folderOf(name), { recursive: true, force: true });
      await mkdir(join(folderOf(name), 'home/ubuntu'), { recursive: true });
      const seedFolder = join(folderOf(name), 'var/lib/cloud/seed/nocloud-net');
      await mkdir(seedFolder, { recursive: true });
      await writeFile(join(seedFolder, 'user-data'), seed.userData);
      await writeFile(join(seedFolder, 'vendor-data'), seed.vendorData);
      await writeFile(join(seedFolder, 'meta-data'), seed.metaData);
      await writeFile(join(seedFolder, 'network-config'), seed.networkConfig);
      await setPower(name, 'stopped');
      await update(call.folder, name, { address: await nextAddress() });
    },
    async power() {
      const root = join(call.folder, 'sandbox');
      const names = existsSync(root) ? await readdir(root) : [];
      const entries = names.filter((name) => existsSync(powerFile(name)));
      return new Map(
        await Promise.all(
          entries.map(async (name) => [name, (await readFile(powerFile(name), 'utf8')) as Power] as const),
        ),
      );
    },
    start: (name) => setPower(name, 'running'),
    stop: (name) => setPower(name, 'stopped'),
    remove: (name) => rm(folderOf(name), { recursive: true, force: true }),
    address: async ({ address }) => address,
    changeAddress: async ({ name }) => update(call.folder, name, { address: await nextAddress() }),
    connect: async ({ name }) => connection(call, name, folderOf(name)),
    initialized: async () => true,
    networks: async () => [
      { name: 'br0', type: 'bridge', description: 'Network bridge' },
      { name: 'eth0', type: 'ethernet', description: 'Ethernet device' },
      { name: 'mpqemubr0', type: 'bridge', description: 'Network bridge' },
    ],
    cleanUp: async () => {},
  };
}

function connection(call: Call, name: string, folder: string): Connection {
  const home = join(folder, 'home/ubuntu');
  return {
    async exec(commands, streams) {
      const argv = commands.flatMap((command, at) => (at === 0 ? command : ['&&', ...command]));
      const file = join(call.folder, 'exec.json');
      const table = existsSync(file) ? tableSchema.parse(JSON.parse(readFileSync(file, 'utf8'))) : [];
      const row = table.find(
        ({ match, instance }) =>
          (instance === undefined || instance === name) && new RegExp(match, 's').test(argv.join(' ')),
      );
      if (row !== undefined) return answer(row, streams);
      if (call.knobs.sandboxRuns) return run(argv, home, streams);
      streams.err(Buffer.from(`bash: line 1: ${argv[0]}: command not found\n`));
      return { code: 127 };
    },
    close: () => {},
  };
}

type Row = z.infer<typeof tableSchema>[number];

async function answer(row: Row, streams: Streams): Promise<Ended> {
  if (row.delayMs > 0) await new Promise((done) => setTimeout(done, row.delayMs));
  if (row.echo && streams.stdin !== undefined) {
    for await (const chunk of streams.stdin) streams.out(Buffer.from(chunk as Buffer));
  }
  streams.out(Buffer.from(row.stdout));
  streams.err(Buffer.from(row.stderr));
  return row.signal === undefined ? { code: row.code } : { signal: row.signal };
}

function run(argv: readonly string[], cwd: string, { stdin, out, err }: Streams): Promise<Ended> {
  return new Promise((done) => {
    const [command = '', ...args] = argv;
    const child = spawn(command, args, { cwd, env: { ...process.env, HOME: cwd, USER: 'ubuntu' } });
    child.stdout.on('data', out);
    child.stderr.on('data', err);
    // The command may end without having read its input.
    child.stdin.on('error', () => {});
    if (stdin === undefined) child.stdin.end();
    else stdin.pipe(child.stdin);
    child.on('error', () => {
      err(Buffer.from(`bash: line 1: ${command}: command not found\n`));
      done({ code: 127 });
    });
    child.on('close', (code, signal) => done(code === null ? { signal: signal ?? '' } : { code }));
  });
}
