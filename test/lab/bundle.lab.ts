/**
 * A lab from a bundle on a host without a network: container daemon, bridge and machines live in a network namespace that
 * has nothing but loopback, and the cache is empty. Needs root on Debian.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { reportSchema } from '../../scripts/report/json.ts';
import { packageRoot } from '../../scripts/shared/assets.ts';
import { RUN_DIR } from '../../scripts/shared/labels.ts';
import { host, Workplace } from './support.ts';

const NAMESPACE = 'k8s-bgp-lab-offline';

const canRun = process.platform === 'linux' && process.getuid?.() === 0;
// A daemon that runs already lives in the host's network, and so would the lab.
const isFree = !existsSync('/run/systemd/system') && !existsSync(join(RUN_DIR, 'daemon.json'));
if (!canRun) console.warn('SKIPPED: the lab tier needs root on a Linux host');
else if (!isFree) console.warn('SKIPPED: the container daemon runs already, in the network of this host');

describe.skipIf(!canRun || !isFree)('a bundle', () => {
  const place = new Workplace();
  const { dir } = place;
  const bundle = join(dir, 'bundle');
  const inNamespace = (...argv: readonly string[]) => {
    const [command = '', ...args] = ['ip', 'netns', 'exec', NAMESPACE, ...argv];
    const env = { ...process.env, XDG_CACHE_HOME: join(dir, 'cache') };
    return spawnSync(command, args, { cwd: dir, env, encoding: 'utf8', timeout: 10 * 60_000 });
  };

  afterAll(() => {
    if (existsSync(`/run/netns/${NAMESPACE}`)) {
      inNamespace(process.execPath, join(packageRoot, 'dist/scripts/labdown.js'), '--yes');
      host('ip', 'netns', 'delete', NAMESPACE);
    }
    rmSync(dir, { recursive: true });
  });

  it("is made from Debian's packages, and is whole", async () => {
    const spec = readFileSync(join(dir, 'lab.yaml'), 'utf8');
    writeFileSync(join(dir, 'lab.yaml'), spec.replace('name: bgp-lab', 'name: bundle-lab'));
    const made = await place.run('lab', 'bundle', 'create', '--from', 'debian', '--yes', bundle);
    expect(made.code, made.stderr).toBe(0);
    const verified = await place.run('lab', 'bundle', 'verify', '--json', bundle);
    expect(verified.code, verified.stdout).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({ distribution: 'kubeadm', cni: 'bird', problems: [] });
  });

  it('makes a lab with an empty cache and no network, which labtest proves', () => {
    mkdirSync(join(dir, 'cache'));
    host('ip', 'netns', 'add', NAMESPACE);
    // One process tree, so that what the daemon mounts is there for the commands after it (ip-netns(8): every exec has
    // a mount namespace of its own).
    const script = `set -e
      ip link set lo up
      "$0" "$1/labup.js" --small --yes --artifacts "$2"
      ip -4 route show default > routes.txt
      "$0" "$1/labtest.js" --json > report.json
      "$0" "$1/labdown.js" --yes`;
    const ran = inNamespace('sh', '-c', script, process.execPath, join(packageRoot, 'dist/scripts'), bundle);
    expect(ran.status, ran.stderr.slice(-3000)).toBe(0);
    expect(ran.stderr).toContain('artifacts: bundle');
    expect(readFileSync(join(dir, 'routes.txt'), 'utf8')).toBe('');
    const { summary } = reportSchema.parse(JSON.parse(readFileSync(join(dir, 'report.json'), 'utf8')));
    console.info(`a small lab from a bundle, offline: ${summary.passed} of ${summary.planned} cells`);
    expect(summary.passed).toBe(summary.planned);
    expect(summary.planned).toBeGreaterThan(90);
  });

  it('that was altered makes no lab: the file is named before anything is touched', async () => {
    appendFileSync(join(bundle, 'bin/kubelet'), ' ');
    rmSync(join(bundle, 'images/etcd.tar'));
    const refused = await place.run('labup', '--yes', '--artifacts', bundle);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/bin\/kubelet: altered: .*\n.*images\/etcd\.tar: missing/);
    expect(existsSync(join(dir, '.lab/bundle-lab'))).toBe(false);
  });
});
