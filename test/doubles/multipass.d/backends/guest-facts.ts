import type { Connection } from './backend.ts';

/** Whether cloud-init has ended (src/platform/backends/shared/base_virtual_machine.cpp looks for the same file). */
export async function guestInitialized(connection: Connection): Promise<boolean> {
  const nowhere = () => {};
  const streams = { stdin: undefined, terminal: false, out: nowhere, err: nowhere };
  return (
    (await connection.exec([['test', '-e', '/var/lib/cloud/instance/boot-finished']], streams)).code === 0
  );
}
