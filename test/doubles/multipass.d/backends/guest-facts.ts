import type { Instance } from '../instance.ts';
import type { Connection, GuestFacts } from './backend.ts';

/** Whether cloud-init has ended (src/platform/backends/shared/base_virtual_machine.cpp looks for the same file). */
export async function guestInitialized(connection: Connection): Promise<boolean> {
  return (await ask(connection, ['test', '-e', '/var/lib/cloud/instance/boot-finished'])).code === 0;
}

/** Global IPv4 addresses in the order of interfaces, of each the last one. */
export async function guestAddresses(connection: Connection): Promise<readonly string[]> {
  const { text } = await ask(connection, [
    'ip',
    '-brief',
    '-family',
    'inet',
    'address',
    'show',
    'scope',
    'global',
  ]);
  return text.split('\n').flatMap((line) => {
    const last = line.trim().split(/\s+/).at(-1)?.split('/')[0] ?? '';
    return /^\d+\.\d+\.\d+\.\d+$/.test(last) ? [last] : [];
  });
}

/** What `info` shows of a running guest. Size and CPUs are those of the instance: the container sees its host's. */
export async function guestFacts(instance: Instance, connection: Connection): Promise<GuestFacts> {
  const script =
    '. /etc/os-release; echo "$PRETTY_NAME"; cat /proc/loadavg; df --output=used -B1 / | tail -n 1; ' +
    "awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {print (t-a)*1024}' /proc/meminfo";
  const { text } = await ask(connection, ['sh', '-c', script]);
  const [release = '', load = '', disk = '0', memory = '0'] = text.split('\n');
  return {
    release,
    load: load.split(' ').slice(0, 3).map(Number),
    diskUsed: Math.min(Number(disk), instance.disk),
    diskTotal: instance.disk,
    memoryUsed: Math.min(Number(memory), instance.memory),
    memoryTotal: instance.memory,
    cpus: instance.cpus,
  };
}

async function ask(connection: Connection, argv: readonly string[]): Promise<{ code: number; text: string }> {
  const chunks: Uint8Array[] = [];
  const out = (chunk: Uint8Array) => chunks.push(chunk);
  const { code = 255 } = await connection.exec([argv], {
    stdin: undefined,
    terminal: false,
    out,
    err: () => {},
  });
  return { code, text: Buffer.concat(chunks).toString() };
}
