import type { RemoteMachine } from '../exec/ssh.ts';

/** When each machine booted, in milliseconds since 1970 by its own clock. */
export async function bootTimes(
  machines: ReadonlyMap<string, RemoteMachine>,
): Promise<ReadonlyMap<string, number>> {
  const entries = await Promise.all(
    [...machines].map(async ([name, machine]) => {
      // The age of process 1: a container's own, where /proc/uptime may be the host's.
      const { stdout } = await machine.run(['sh', '-c', 'date +%s; ps -o etimes= -p 1']);
      const [now = 0, age = 0] = stdout.trim().split(/\s+/).map(Number);
      return [name, (now - age) * 1000] as const;
    }),
  );
  return new Map(entries);
}
