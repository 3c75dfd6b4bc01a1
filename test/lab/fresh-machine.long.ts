/**
 * README's two commands on machines that have never seen the project: a Debian 12 and a Debian 13 that hold nothing but
 * mmdebstrap's minbase, ca-certificates, git and Node.js. Kernel, network and the cache of artifacts are this host's; what
 * is installed on it is not seen. Needs root on Debian, and a package mirror.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cacheFolder } from '../../scripts/artifacts/cache.ts';
import { findDebianSource } from '../../scripts/artifacts/debian.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { installPackages, missingPackages } from '../../scripts/machines/packages.ts';
import { silent } from '../../scripts/shared/events.ts';
import { packageRoot } from '../../scripts/shared/files.ts';
import { host, until } from './support.ts';

const MACHINES = [
  { debian: 'Debian 12', suite: 'bookworm', daemon: /^\[.*\] {3}lxd 5\.0\./m },
  { debian: 'Debian 13', suite: 'trixie', daemon: /^\[.*\] {3}incus 6\.0\./m },
] as const;

const SCRIPTS = join(import.meta.dirname, 'fresh-machine');
const README = readFileSync(join(packageRoot, 'README.md'), 'utf8');
const [LAB = '', TESTS = ''] = README.match(/^npm ci && .+$/gm) ?? [];

/** How this network is reached, which the machine shares; nothing else of this process's environment is its. */
const ENVIRONMENT = {
  HOME: '/root',
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C.UTF-8',
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(https?|no)_proxy$/i.test(name))),
  ...(process.env.NODE_EXTRA_CA_CERTS && { NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt' }),
};

const canRun = process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
if (!canRun) console.warn('SKIPPED: this tier needs root on a Debian host');

describe.skipIf(!canRun).each(MACHINES)('a fresh $debian', ({ suite, daemon }) => {
  const work = mkdtempSync(join(tmpdir(), `fresh-${suite}-`));
  const root = join(work, 'root');
  const before = seenOnHost();

  afterAll(() => {
    // Left only where a command was stopped from outside: the name was free when this file began.
    if (!before.links.includes('labbr0')) {
      host('ip', 'link', 'delete', 'labbr0');
      host('ip', 'rule', 'del', 'iif', 'labbr0', 'priority', '13013');
    }
    rmSync(work, { recursive: true });
  });

  it('is made', async () => {
    await makeRoot(suite, work, root);
    expect(readFileSync(join(root, 'etc/os-release'), 'utf8')).toContain(`VERSION_CODENAME=${suite}`);
    for (const absent of ['usr/sbin/dnsmasq', 'usr/sbin/ip', 'usr/bin/lxd', 'usr/libexec/incus']) {
      expect(existsSync(join(root, absent)), absent).toBe(false);
    }
  });

  it('brings the lab up, proves it and removes it, with one command of README.md', async () => {
    expect(before.links).not.toContain('labbr0');
    expect(LAB).toBe('npm ci && npx labup --yes && npx labtest && npx labdown --yes');
    const { code, said } = await enter(root, `${LAB} || { code=$?; npx labdown --yes; exit $code; }`);
    expect(code, said.slice(-3000)).toBe(0);
    expect(said).toMatch(daemon);
    expect(said).toMatch(/^cells: +(\d+) planned: \1 passed$/m);
  });

  it('has left nothing on the host', async () => {
    await until('the host to be as before', 30_000, async () => same(seenOnHost(), before)).catch(() => {});
    expect(seenOnHost()).toEqual(before);
    expect(host('chroot', root, 'ip', 'rule')).toMatch(/^0:\tfrom all lookup local\n/);
    expect(host('chroot', root, 'ip', 'rule')).not.toContain('labbr0');
  });

  it("passes the project's own tests, with the other one", async () => {
    expect(TESTS).toBe('npm ci && npm test');
    const { code, said } = await enter(root, TESTS);
    expect(code, said.slice(-3000)).toBe(0);
  });
});

/** A root file system of that suite with a clone of this checkout; its Debian part is kept beside the cache of artifacts. */
async function makeRoot(suite: string, work: string, root: string): Promise<void> {
  const local = localExecutor();
  const missing = async () =>
    (await missingPackages(local, { building: true, fetching: false })).filter(
      (each) => each.package === 'mmdebstrap',
    );
  if ((await missing()).length > 0) await installPackages(local, missing, silent);
  const { mirror, aptOptions } = await findDebianSource(local);
  const sources = [
    `deb ${mirror.main} ${suite} main`,
    `deb ${mirror.main} ${suite}-updates main`,
    `deb ${mirror.security} ${suite}-security main\n`,
  ].join('\n');
  writeFileSync(join(work, 'sources.list'), sources);
  mkdirSync(root);
  const recipe = readFileSync(join(SCRIPTS, 'root.sh'), 'utf8');
  const key = createHash('sha256').update(recipe).update(sources).update(aptOptions.join('\n')).digest('hex');
  const tar = join(`${cacheFolder()}-tests`, `debian-${suite}-${key.slice(0, 16)}.tar`);
  const words = [suite, join(work, 'sources.list'), tar, root, packageRoot, process.execPath];
  const options = aptOptions.map((option) => `--aptopt=${option}`);
  await local.run(['sh', join(SCRIPTS, 'root.sh'), ...words, ...options], { timeoutMs: 10 * 60_000 });
}

/** Runs a shell command on the fresh machine; what it says is shown. When it is stopped, so is everything there. */
async function enter(
  root: string,
  command: string,
): Promise<{ readonly code: number | null; readonly said: string }> {
  mkdirSync(cacheFolder(), { recursive: true });
  const argv = [
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    'sh',
    join(SCRIPTS, 'enter.sh'),
    root,
    cacheFolder(),
    command,
  ];
  const child = spawn('unshare', argv, {
    env: ENVIRONMENT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 14 * 60_000,
    killSignal: 'SIGKILL',
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      process.stderr.write(chunk);
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, said };
}

interface SeenOnHost {
  readonly links: readonly string[];
  readonly mounts: readonly string[];
  readonly loops: readonly string[];
}

// With nothing but the kernel's own files: this host may be as fresh.
function seenOnHost(): SeenOnHost {
  return {
    links: readdirSync('/sys/class/net').sort(),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').sort(),
    loops: readdirSync('/sys/block')
      .filter((name) => existsSync(`/sys/block/${name}/loop`))
      .sort(),
  };
}

const same = (one: SeenOnHost, other: SeenOnHost) => JSON.stringify(one) === JSON.stringify(other);
