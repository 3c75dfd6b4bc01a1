import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A file of the project as text. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

/** Everything that is run, applied, rendered or told to the reader. Tests plant what is forbidden, so they are left out. */
export const SHIPPED = [
  '.ci',
  'bird',
  'build',
  'cloud-init',
  'docs',
  'echo',
  'frr',
  'images',
  'lab.yaml',
  'manifests',
  'package.json',
  'probe',
  'scripts',
  'versions.yaml',
  'README.md',
  'CONTRIBUTING.md',
] as const;

/** The files below some paths; what Python leaves behind is none of the project's. */
export function textFiles(paths: readonly string[]): readonly TextFile[] {
  return paths.flatMap((path): readonly TextFile[] => {
    if (!statSync(path).isDirectory()) return [{ path, text: readFileSync(path, 'utf8') }];
    const below = readdirSync(path).filter((name) => name !== '__pycache__');
    return textFiles(below.map((name) => join(path, name)));
  });
}

interface Ban {
  readonly what: string;
  readonly found: RegExp;
  /** What the match may be part of nevertheless. */
  readonly but?: RegExp;
}

// Names of hosts in this one are names only (XML namespaces), or checked by a signature instead of TLS (apt).
const NO_DOWNLOAD = /http:\/\/(www\.w3\.org\/|deb\.debian\.org\/debian|localhost\b|127\.0\.0\.1\b)/;

const BANS: readonly Ban[] = [
  { what: 'a tag that moves', found: /[\w/-]:(latest|stable|edge|nightly)\b(?!-)/ },
  { what: 'a file that names the newest version', found: /\b(stable|latest)(-\d+(\.\d+)*)?\.txt\b/ },
  { what: 'releases/latest', found: /\/releases\/latest\b/ },
  { what: "k3s' installer from its channel", found: /get\.k3s\.io|update\.k3s\.io/ },
  {
    what: 'a download that goes straight into a shell',
    found: /\b(curl|wget)\b[^|\n]*\|\s*(sudo\s+)?(env\s+\S+\s+)*(ba|da|z)?sh\b/,
  },
  // Whatever comes from outside comes through scripts/artifacts/online, apt or npm, which check it.
  { what: 'a download that nobody checks', found: /\b(curl|wget)\s[^\n]*https?:\/\// },
  { what: 'a download without TLS', found: /\bhttp:\/\/\S+/, but: NO_DOWNLOAD },
  {
    what: 'an image that is pulled',
    found: /imagePullPolicy:\s*['"]?Always|\b(docker|podman|crictl)\s+pull\b/,
  },
];

// Scenarios ask servers of the lab: at an address that is known only there, or by a name without a dot.
const SCENARIO = /^(scripts|manifests)\/scenarios\//;
const IN_THE_LAB = /http:\/\/(\$\{|[a-z-]+[/:])/g;

/** Every place where something comes in that is not pinned and checked: "PATH:LINE: what: the line". */
export function supplyChainHoles(files: readonly TextFile[]): readonly string[] {
  return files.flatMap(({ path, text }) =>
    (SCENARIO.test(path) ? text.replaceAll(IN_THE_LAB, '') : text).split('\n').flatMap((line, index) =>
      BANS.filter(({ found, but }) => {
        const match = found.exec(but === undefined ? line : line.replaceAll(new RegExp(but, 'g'), ''));
        return match !== null;
      }).map(({ what }) => `${path}:${index + 1}: ${what}: ${line.trim()}`),
    ),
  );
}
