import type { Connection } from './backend.ts';

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
