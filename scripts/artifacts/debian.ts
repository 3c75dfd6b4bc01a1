import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import { UserError } from '../shared/errors.ts';
import { ifMissing } from '../shared/files.ts';

/** One entry of apt's sources: deb822 stanzas with several URIs or suites are kept as they are. See sources.list(5). */
export interface AptSource {
  readonly types: readonly string[];
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
}

/** Where Debian packages come from. Both URIs end without a slash. */
export interface DebianMirror {
  readonly main: string;
  readonly security: string;
}

/** Debian's own, for a host whose sources name no Debian mirror. */
export const DEFAULT_MIRROR: DebianMirror = {
  main: 'http://deb.debian.org/debian',
  security: 'http://deb.debian.org/debian-security',
};

// Names that a suite of Debian's own archive starts with; third parties use words like "stable" too, but not with the
// component "main" at a path that ends in /debian or /debian-security.
const ARCHIVE_SUITE =
  /^(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)([-/].*)?$/;

/** Reads one-line format: `deb [option=value ...] uri suite component ...`. Unknown lines are no sources. */
export function parseOneLineSources(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(deb|deb-src)\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) return [];
    const [, type = '', uri = '', suite = '', components = ''] = match;
    return [{ types: [type], uris: [uri], suites: [suite], components: words(components) }];
  });
}

/** Reads deb822 format: stanzas of `Field: value` with continuation lines; `Enabled: no` leaves a stanza out. */
export function parseDeb822Sources(text: string): AptSource[] {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines
    .join('\n')
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      const fields = new Map<string, string>();
      for (const field of stanza.replaceAll(/\n[ \t]+/g, ' ').split('\n')) {
        const colon = field.indexOf(':');
        if (colon > 0) fields.set(field.slice(0, colon).trim().toLowerCase(), field.slice(colon + 1).trim());
      }
      const get = (name: string) => words(fields.get(name) ?? '');
      if (get('enabled')[0]?.toLowerCase() === 'no' || get('uris').length === 0) return [];
      return [
        { types: get('types'), uris: get('uris'), suites: get('suites'), components: get('components') },
      ];
    });
}

/** The first mirror of Debian's own archive among the sources, of any suite: an archive holds all of them. */
export function chooseMirror(sources: readonly AptSource[]): DebianMirror {
  const uriOf = (archive: RegExp) =>
    sources
      .filter(({ types, suites, components }) => {
        return (
          types.includes('deb') &&
          components.includes('main') &&
          suites.some((suite) => ARCHIVE_SUITE.test(suite))
        );
      })
      .flatMap(({ uris }) => uris.map((uri) => uri.replace(/\/+$/, '')))
      .find((uri) => /^(https?|file):/.test(uri) && archive.test(uri));
  const main = uriOf(/\/debian$/);
  if (main === undefined) return DEFAULT_MIRROR;
  return { main, security: uriOf(/\/debian-security$/) ?? DEFAULT_MIRROR.security };
}

/** sources.list for a build: the suite, its updates and security fixes, and the source packages. */
export function renderSources({ main, security }: DebianMirror, suite: string, keyring: string): string {
  const signed = `[signed-by=${keyring}]`;
  return [
    `deb ${signed} ${main} ${suite} main`,
    `deb ${signed} ${main} ${suite}-updates main`,
    `deb ${signed} ${security} ${suite}-security main`,
    `deb-src ${signed} ${main} ${suite} main`,
    '',
  ].join('\n');
}

/**
 * The host's apt options that say how the mirror is reached (proxies, TLS), out of `apt-config dump`, ready for
 * mmdebstrap's --aptopt, which starts from an empty configuration.
 */
export function transportOptions(aptConfigDump: string): string[] {
  return aptConfigDump
    .split('\n')
    .filter((line) => /^Acquire::(http|https|ftp)::[^ ]+ "[^"]+";$/i.test(line))
    .filter((line) => !/User-Agent/i.test(line));
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

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

/** The mirror and the proxies to it, from the host's own apt configuration (one-line and deb822 sources). */
export async function findDebianSource(host: Executor, etcApt = '/etc/apt'): Promise<DebianSource> {
  const sources: AptSource[] = parseOneLineSources(await readOptional(join(etcApt, 'sources.list')));
  const names = await readdir(join(etcApt, 'sources.list.d')).catch(ifMissing([]));
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
  return readFile(path, 'utf8').catch(ifMissing(''));
}
