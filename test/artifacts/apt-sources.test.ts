import { describe, expect, it } from 'vitest';
import {
  chooseMirror,
  DEFAULT_MIRROR,
  parseDeb822Sources,
  parseOneLineSources,
  renderSources,
  transportOptions,
} from '../../scripts/artifacts/debian.ts';

const deb822 = `# a comment between stanzas
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
 non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
`;

describe('apt sources', () => {
  it('reads deb822: several suites, continuation lines, an embedded key, a stanza that is off', () => {
    const sources = parseDeb822Sources(deb822);
    expect(sources.map(({ uris }) => uris[0])).toEqual([
      'http://mirror.example/debian/',
      'http://mirror.example/debian-security',
    ]);
    expect(sources[0]).toMatchObject({
      types: ['deb', 'deb-src'],
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main', 'non-free-firmware'],
    });
  });

  it('reads one-line format with options and comments', () => {
    const text = `# deb http://no.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
nonsense`;
    expect(parseOneLineSources(text)).toEqual([
      {
        types: ['deb'],
        uris: ['https://mirror.example/debian'],
        suites: ['bookworm'],
        components: ['main', 'contrib'],
      },
      {
        types: ['deb-src'],
        uris: ['http://mirror.example/debian'],
        suites: ['bookworm'],
        components: ['main'],
      },
    ]);
  });

  it('takes main and security from the host, without the slash at the end', () => {
    expect(chooseMirror(parseDeb822Sources(deb822))).toEqual({
      main: 'http://mirror.example/debian',
      security: 'http://mirror.example/debian-security',
    });
  });

  it('is not led astray by third parties, cdroms and source-only entries', () => {
    const text = `deb https://packages.cloud.google.com/apt cloud-sdk-bookworm main
deb https://deb.nodesource.com/node_20.x nodistro main
deb https://download.docker.example/linux/debian bookworm stable
deb cdrom:[Debian 12]/ bookworm main
deb-src http://src.example/debian bookworm main`;
    expect(chooseMirror(parseOneLineSources(text))).toEqual(DEFAULT_MIRROR);
  });

  it('uses a newer host release of the same mirror', () => {
    expect(chooseMirror(parseOneLineSources('deb http://m.example/debian trixie main')).main).toBe(
      'http://m.example/debian',
    );
  });

  it('renders signed sources with updates, security and source packages', () => {
    expect(
      renderSources({ main: 'http://m/debian', security: 'http://s/debian-security' }, 'bookworm', '/k.gpg'),
    ).toBe(
      `deb [signed-by=/k.gpg] http://m/debian bookworm main
deb [signed-by=/k.gpg] http://m/debian bookworm-updates main
deb [signed-by=/k.gpg] http://s/debian-security bookworm-security main
deb-src [signed-by=/k.gpg] http://m/debian bookworm main
`,
    );
  });

  it('keeps what says how the mirror is reached, and nothing else', () => {
    const dump = `APT "";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::http::Proxy::local.example "DIRECT";
Acquire::https::CaInfo "/etc/ca.pem";
Acquire::http "";
Acquire::http::User-Agent-Non-Interactive "true";
Dir::Etc "etc/apt";
DPkg::Post-Invoke:: "rm -rf /";`;
    expect(transportOptions(dump)).toEqual([
      'Acquire::http::Proxy "http://proxy.example:3142";',
      'Acquire::http::Proxy::local.example "DIRECT";',
      'Acquire::https::CaInfo "/etc/ca.pem";',
    ]);
  });
});
