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
const SUITE =
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
          types.includes('deb') && components.includes('main') && suites.some((suite) => SUITE.test(suite))
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
