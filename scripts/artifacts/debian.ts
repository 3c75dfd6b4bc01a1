import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import { UserError } from '../shared/errors.ts';
import {
  type AptSource,
  chooseMirror,
  type DebianMirror,
  parseDeb822Sources,
  parseOneLineSources,
  transportOptions,
} from './apt-sources.ts';

/** The Debian release that every artifact is made of: the last one whose source package holds all of Kubernetes. */
export const SUITE = 'bookworm';

/** Checks the archive's signatures; from the package debian-archive-keyring, on every Debian host. */
export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** How packages are had on this host. */
export interface DebianSource {
  readonly mirror: DebianMirror;
  /** apt.conf lines for proxies and TLS, as the host has them. */
  readonly aptOptions: readonly string[];
}

/** Debian's name for this machine's architecture. Throws UserError for one that the lab is not made for. */
export function debianArchitecture(arch: string = process.arch): 'amd64' | 'arm64' {
  if (arch === 'x64') return 'amd64';
  if (arch === 'arm64') return 'arm64';
  throw new UserError(
    `The lab's Debian artifacts are made for amd64 and arm64, and this machine is ${arch}.`,
  );
}

/** The mirror and the way to it, from the host's own apt configuration (one-line and deb822 sources). */
export async function findDebianSource(host: Executor, etcApt = '/etc/apt'): Promise<DebianSource> {
  const sources: AptSource[] = parseOneLineSources(await readOptional(join(etcApt, 'sources.list')));
  const names = await readdir(join(etcApt, 'sources.list.d')).catch(none);
  for (const name of names.sort()) {
    const text = await readOptional(join(etcApt, 'sources.list.d', name));
    if (name.endsWith('.list')) sources.push(...parseOneLineSources(text));
    if (name.endsWith('.sources')) sources.push(...parseDeb822Sources(text));
  }
  const dump = await host.run(['apt-config', 'dump']);
  return { mirror: chooseMirror(sources), aptOptions: transportOptions(dump.stdout) };
}

/** Whether the mirror answers, asked with apt's own downloader so that its proxies count. Undefined, or why not. */
export async function mirrorProblem(host: Executor, { mirror }: DebianSource): Promise<string | undefined> {
  const url = `${mirror.main}/dists/${SUITE}/InRelease`;
  const folder = await mkdtemp(join(tmpdir(), 'k8s-bgp-lab-'));
  try {
    const timeouts = ['http', 'https'].flatMap((scheme) => ['-o', `Acquire::${scheme}::Timeout=8`]);
    const options = ['-o', 'Acquire::Retries=0', ...timeouts];
    const command = ['/usr/lib/apt/apt-helper', ...options, 'download-file', url, join(folder, 'InRelease')];
    const asked = await host.run(command, { okCodes: [0, 100], timeoutMs: 60_000 });
    if (asked.exitCode === 0) return undefined;
    const said = asked.stderr.split('\n').find((line) => line.startsWith('E: '));
    return said?.slice(3) ?? `${url}: apt-helper ended with code ${asked.exitCode}`;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function readOptional(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
}

function none(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return [];
  throw error;
}
