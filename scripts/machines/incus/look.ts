import { existsSync } from 'node:fs';
import type { DaemonFact, OtherLab } from '../../plan/host-facts.ts';
import { OWNER_KEY } from '../../shared/labels.ts';
import { askSocket, type DaemonHost, findDaemon, THIS_HOST } from './daemon.ts';

/** What there is of every daemon that this host may have. Starts none. */
export async function lookAtDaemons(host: DaemonHost = THIS_HOST): Promise<readonly DaemonFact[]> {
  return Promise.all(
    host.kinds.map(async (kind) => ({
      kind: kind.name,
      program: kind.program,
      unit: kind.unit,
      installed: existsSync(kind.program),
      startable: existsSync(host.systemdDir) || kind.start.length > 0,
      ...(await askSocket(kind)),
    })),
  );
}

/**
 * The bridges that carry the owner label of another lab. Throws where a daemon is installed that does not answer: what
 * it holds is then not known.
 */
export async function lookAtOtherLabs(
  lab: string,
  host: DaemonHost = THIS_HOST,
): Promise<readonly OtherLab[]> {
  const daemon = await findDaemon(host);
  if (daemon === undefined) {
    if (host.kinds.some(({ program }) => existsSync(program)))
      throw new Error('the container daemon does not answer');
    return [];
  }
  interface Network {
    readonly name: string;
    readonly config: Readonly<Record<string, string>>;
  }
  const networks = (await daemon.api.get<readonly Network[]>('/1.0/networks?recursion=1')) ?? [];
  return networks.flatMap(({ name, config }) => {
    const owner = config[OWNER_KEY];
    if (owner === undefined || owner === lab) return [];
    const subnet = config['ipv4.address'];
    return [{ lab: owner, bridge: name, ...(subnet === undefined ? {} : { subnet }) }];
  });
}

/** Where the machines of the daemon that labup would use have their disks. */
export function machineFolder(daemons: readonly DaemonFact[], host: DaemonHost = THIS_HOST): string {
  const chosen =
    daemons.find(({ socket }) => socket === 'answers') ?? daemons.find(({ installed }) => installed);
  const kind = host.kinds.find(({ program }) => program === chosen?.program);
  return kind?.stateDir ?? '/var/lib';
}
