import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DaemonFact, OtherLab } from '../../plan/host-facts.ts';
import { messageOf } from '../../shared/errors.ts';
import { OWNER_KEY } from '../../shared/labels.ts';
import { incusApi } from './api.ts';
import { type DaemonHost, type DaemonKind, findDaemon, type ServerInfo, THIS_HOST } from './daemon.ts';

/** For one answer, in milliseconds: a daemon that is starting opens its socket before it answers. */
const ANSWER_TIMEOUT_MS = 10_000;

/** What there is of every daemon that this host may have. Starts none. */
export async function lookAtDaemons(host: DaemonHost = THIS_HOST): Promise<readonly DaemonFact[]> {
  return Promise.all(
    host.kinds.map(async (kind) => ({
      kind: kind.name,
      program: kind.program,
      unit: kind.unit,
      installed: existsSync(kind.program),
      startable: existsSync(host.systemdDir) || kind.start.length > 0,
      ...(await lookAtSocket(kind)),
    })),
  );
}

async function lookAtSocket({
  stateDir,
}: DaemonKind): Promise<Pick<DaemonFact, 'socket' | 'why' | 'version' | 'storageDrivers'>> {
  const path = join(stateDir, 'unix.socket');
  if (!existsSync(path)) return { socket: 'absent' };
  try {
    const info = await incusApi(path, ANSWER_TIMEOUT_MS).get<ServerInfo>('/1.0');
    if (info?.auth !== 'trusted') return { socket: 'untrusted' };
    const { server_version: version, storage_supported_drivers: drivers } = info.environment;
    return { socket: 'answers', version, storageDrivers: (drivers ?? []).map(({ Name }) => Name) };
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = (cause as NodeJS.ErrnoException | undefined)?.code;
    return code === 'EACCES'
      ? { socket: 'denied' }
      : { socket: 'silent', why: cause === undefined ? messageOf(error) : messageOf(cause) };
  }
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
