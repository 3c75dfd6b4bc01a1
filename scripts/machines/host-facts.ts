import { existsSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import {
  type HostFacts,
  parseIpAddresses,
  parseIpRoutes,
  parseLinkNames,
  parseResolvers,
} from '../plan/host-facts.ts';
import type { ObservedThing } from './driver.ts';

/** Looks at this host, as far as the lab can collide with it. Changes nothing. */
export async function gatherHostFacts(
  local: Executor,
  diskPath: string,
  ours: readonly ObservedThing[],
  bridge: string,
): Promise<Omit<HostFacts, 'networkReachable' | 'missingArtifacts'>> {
  const [routes, addresses, resolvConf, memory, disk] = await Promise.all([
    local.run(['ip', '-j', '-4', 'route']),
    local.run(['ip', '-j', 'addr']),
    readFile('/etc/resolv.conf', 'utf8').catch(() => ''),
    readFile('/proc/meminfo', 'utf8'),
    statfs(existingParent(diskPath)),
  ]);
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(memory)?.[1];
  return {
    uid: process.getuid?.() ?? -1,
    routes: parseIpRoutes(routes.stdout).filter(({ dev }) => dev !== bridge || !isOurs(ours, bridge)),
    addresses: parseIpAddresses(addresses.stdout).filter(
      ({ dev }) => dev !== bridge || !isOurs(ours, bridge),
    ),
    links: parseLinkNames(addresses.stdout),
    bridgeIsOurs: isOurs(ours, bridge),
    resolvers: parseResolvers(resolvConf),
    diskPath,
    freeDiskBytes: disk.bavail * disk.bsize,
    freeMemoryBytes: Number(available ?? 0) * 1024,
    existingMachines: ours.filter(({ kind }) => kind === 'machine').map(({ name }) => name),
  };
}

function isOurs(ours: readonly ObservedThing[], bridge: string): boolean {
  return ours.some(({ kind, name }) => kind === 'network' && name === bridge);
}

function existingParent(path: string): string {
  return existsSync(path) ? path : existingParent(dirname(path));
}
