import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { reportSchema } from '../../scripts/report/json.ts';
import { packageRoot } from '../../scripts/shared/files.ts';

/** What a command of the package came to. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Bin = 'lab' | 'labup' | 'labtest' | 'labdown';

/**
 * A folder of its own with a lab.yaml, by default the default lab's, where the built commands run as a user would run
 * them; `env` is added to the environment.
 */
export class Workplace {
  readonly dir = mkdtempSync(join(tmpdir(), 'lab-tier-'));
  readonly env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.env = env;
    copyFileSync(join(packageRoot, 'lab.yaml'), join(this.dir, 'lab.yaml'));
  }

  /** Starts a command of the package. */
  start(bin: Bin, ...args: string[]): ChildProcess {
    const file = join(packageRoot, 'dist', 'scripts', `${bin}.js`);
    return spawn(process.execPath, [file, ...args], {
      cwd: this.dir,
      env: { ...process.env, ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Runs a command of the package to its end; its progress is shown. */
  async run(bin: Bin, ...args: string[]): Promise<Ended> {
    const child = this.start(bin, ...args);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      process.stderr.write(chunk);
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, stdout, stderr };
  }

  /** Runs a command on a machine of the lab. */
  exec(machine: string, ...argv: string[]): Promise<Ended> {
    return this.run('lab', 'exec', machine, '--', ...argv);
  }

  /** Runs kubectl against the lab. */
  kubectl(...argv: string[]): Promise<Ended> {
    return this.run('lab', 'kubectl', ...argv);
  }
}

/** The command ended well; what it said last is told where it did not. */
export function expectPass({ code, stderr, stdout }: Ended): void {
  expect(code, `${stdout.slice(-3000)}\n${stderr.slice(-3000)}`).toBe(0);
}

/** labtest passes, in at least so many cells. */
export async function proveLab(place: Workplace, cells = 90): Promise<void> {
  const ended = await place.run('labtest', '--json');
  expectPass(ended);
  const { summary } = reportSchema.parse(JSON.parse(ended.stdout));
  expect(summary.planned).toBeGreaterThanOrEqual(cells);
  expect(summary.passed).toBe(summary.planned);
}

/** Whether a labup that ended well changed anything. */
export async function changed(place: Workplace, ...args: string[]): Promise<boolean> {
  const ended = await place.run('labup', '--json', ...args);
  expectPass(ended);
  return (JSON.parse(ended.stdout) as { changed: boolean }).changed;
}

/** Output of a host command; empty where the command is not installed. */
export function host(...argv: [string, ...string[]]): string {
  const [command, ...args] = argv;
  const { stdout } = spawnSync(command, args, { encoding: 'utf8', input: '' });
  return stdout ?? '';
}

/** Everything that a lab may leave on its host, in a form that can be compared. */
export function hostSnapshot(): Readonly<Record<string, readonly string[]>> {
  const lines = (text: string) =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .sort();
  return {
    links: lines(host('ip', '-br', 'link')).map((line) => line.split(/[\s@]/)[0] ?? ''),
    addresses: lines(host('ip', '-br', '-4', 'addr')),
    routes: lines(host('ip', '-4', 'route')),
    rules: lines(host('ip', 'rule')),
    iptables: lines(host('iptables-save')).filter((line) => !line.startsWith('#')),
    mounts: lines(readFileSync('/proc/self/mounts', 'utf8')).map((line) => line.split(' ')[1] ?? ''),
    // Without zombies: they have ended, and when they go depends on process 1.
    processes: lines(host('ps', '-eo', 'stat=,comm=')).flatMap((line) => {
      const [, name = ''] = /^[^Z]\S* +(.+)$/.exec(line) ?? [];
      return /^(lxd|incusd|lxc|dnsmasq|containerd|kubelet|kube-|etcd|bird|bgpd|zebra|runc)/.test(name)
        ? [name]
        : [];
    }),
    sysctls: ['net.ipv4.ip_forward', 'fs.inotify.max_user_instances'].map((name) =>
      host('sysctl', name).trim(),
    ),
  };
}

/** Files where programs keep things on this host, written after another file, but for those of daemons themselves. */
export function writtenSince(marker: string): readonly string[] {
  const daemons = /^\/var\/lib\/(lxd|lxcfs|incus|systemd|apt|dpkg|chrony|dhcp|NetworkManager)\//;
  const folders = ['/etc', '/opt', '/srv', '/usr/local', '/var/lib'];
  const found = host('find', ...folders, '-xdev', '-newer', marker, '!', '-type', 'd').split('\n');
  return found.filter((path) => path !== '' && !daemons.test(path)).sort();
}

/**
 * Keeps packets that only cross a bridge out of this host's NAT, as on a host without br_netfilter: what `lab doctor`
 * advises for mode dhcp, for one bridge. Returns what takes it back.
 */
export function exemptBridged(bridge: string): () => void {
  const nft = (commands: string) => {
    const { status, stderr, error } = spawnSync('nft', ['-f', '-'], { encoding: 'utf8', input: commands });
    if (status !== 0) throw error ?? new Error(`nft: ${stderr}`);
  };
  const mac = readFileSync(`/sys/class/net/${bridge}/address`, 'utf8').trim();
  nft(`add table ip ${bridge}
add chain ip ${bridge} bridged { type filter hook prerouting priority raw; }
add rule ip ${bridge} bridged iifname "${bridge}" ether daddr != ${mac} notrack
`);
  return () => nft(`delete table ip ${bridge}\n`);
}

/** Looks at a condition until it holds; returns how long that took in milliseconds. Throws after `timeoutMs`. */
export async function until(what: string, timeoutMs: number, look: () => Promise<boolean>): Promise<number> {
  const started = performance.now();
  while (!(await look())) {
    if (performance.now() - started > timeoutMs)
      throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}`);
    await delay(100);
  }
  return performance.now() - started;
}

/** Packets of the lab's prefixes that pass an interface while `during` runs. */
export async function capture(nic: string, filter: string, during: () => Promise<void>): Promise<string[]> {
  const tcpdump = spawn('tcpdump', ['-i', nic, '-nn', '-l', '--immediate-mode', filter], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let seen = '';
  let said = '';
  tcpdump.stdout.on('data', (chunk: Buffer) => {
    seen += chunk.toString();
  });
  tcpdump.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const closed = new Promise((resolve) => tcpdump.once('close', resolve));
  await until(`tcpdump to listen on ${nic}`, 10_000, async () => said.includes('listening on'));
  try {
    await during();
  } finally {
    tcpdump.kill('SIGINT');
    await closed;
  }
  return seen.split('\n').filter((line) => line !== '');
}
