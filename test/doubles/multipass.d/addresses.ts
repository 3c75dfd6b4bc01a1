import type { Connection } from './backends/backend.ts';
import { backendOf } from './daemon/daemon.ts';
import { connectTo } from './daemon/ready.ts';
import type { Instance } from './instance.ts';
import type { Call } from './io.ts';
import { isModern, named, valueFor } from './knobs.ts';

/** What `list` and `info` show: the daemon's own address first, if it knows one, then those that the guest has. */
export async function addressesOf(
  call: Call,
  instance: Instance,
  connection: Connection | undefined,
): Promise<readonly string[]> {
  const { knobs } = call;
  const backend = backendOf(call);
  if (named(knobs.noIp, instance.name)) return isModern(knobs) ? [] : ['N/A'];
  const own = await backend.address(instance);
  const inside = connection === undefined ? [] : await backend.addresses(instance, connection);
  const extra = valueFor(knobs.extraIps, instance.name);
  const all = [...(extra?.first ? extra.addresses : []), ...(own === undefined ? [] : [own])];
  all.push(...inside, ...(extra?.addresses ?? []));
  if (all.length === 0) return isModern(knobs) ? [] : ['N/A'];
  return [...new Set(all)];
}

/** For `list`, which takes a guest that does not answer for one without more addresses. */
export async function addressesIfAny(call: Call, instance: Instance): Promise<readonly string[]> {
  const connection = await connectTo(call, instance).catch(() => undefined);
  try {
    return await addressesOf(call, instance, connection);
  } finally {
    connection?.close();
  }
}
