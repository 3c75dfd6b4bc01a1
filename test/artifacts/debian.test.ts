import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  DEFAULT_MIRROR,
  debianArchitecture,
  findDebianSource,
  mirrorProblem,
} from '../../scripts/artifacts/debian.ts';
import type { Executor } from '../../scripts/exec/executor.ts';

function host(answers: Record<string, { exitCode?: number; stdout?: string; stderr?: string }>): Executor {
  return {
    where: 'this host',
    run: async (argv) => {
      const answer = answers[argv[0] ?? ''];
      if (answer === undefined) throw new Error(`unexpected: ${argv.join(' ')}`);
      return { exitCode: 0, stdout: '', stderr: '', ...answer };
    },
  };
}

describe('the Debian source', () => {
  it("is the host's own, from both formats, with its proxy", async () => {
    const etc = mkdtempSync(join(tmpdir(), 'apt-'));
    mkdirSync(join(etc, 'sources.list.d'));
    writeFileSync(join(etc, 'sources.list.d', 'z.list'), 'deb http://list.example/debian bookworm main\n');
    writeFileSync(
      join(etc, 'sources.list.d', 'debian.sources'),
      'Types: deb\nURIs: http://deb822.example/debian\nSuites: bookworm\nComponents: main\n',
    );
    const dump = { 'apt-config': { stdout: 'Acquire::http::Proxy "http://p:1";\n' } };
    expect(await findDebianSource(host(dump), etc)).toEqual({
      mirror: { main: 'http://deb822.example/debian', security: DEFAULT_MIRROR.security },
      aptOptions: ['Acquire::http::Proxy "http://p:1";'],
    });
  });

  it("is Debian's own where the host has no sources at all", async () => {
    const { mirror } = await findDebianSource(host({ 'apt-config': {} }), '/nonexistent');
    expect(mirror).toEqual(DEFAULT_MIRROR);
  });

  it('says why the mirror does not answer', async () => {
    const source = { mirror: DEFAULT_MIRROR, aptOptions: [] };
    const stderr = 'W: unsandboxed\nE: Failed to fetch http://x  Could not resolve\nE: Download Failed\n';
    const helper = '/usr/lib/apt/apt-helper';
    expect(await mirrorProblem(host({ [helper]: {} }), source)).toBeUndefined();
    expect(await mirrorProblem(host({ [helper]: { exitCode: 100, stderr } }), source)).toBe(
      'Failed to fetch http://x  Could not resolve',
    );
  });

  it('is refused on an architecture that nobody tried', () => {
    expect(debianArchitecture('arm64')).toBe('arm64');
    expect(() => debianArchitecture('riscv64')).toThrow(/this machine is riscv64/);
  });
});
