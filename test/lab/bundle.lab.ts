/**
 * A lab from a bundle on a host without a network: container daemon, bridge and machines live in a network namespace that
 * has nothing but loopback, and the cache is empty. Needs root on Debian.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { reportSchema } from '../../scripts/report/json.ts';
import { packageRoot } from '../../scripts/shared/files.ts';
import { RUN_DIR } from '../../scripts/shared/labels.ts';
import { Workplace } from './support.ts';

/**
 * labup, labtest and labdown, without a network: $0 is Node.js, $1 the folder of the commands, $2 the bundle. /sys tells
 * the daemon of the interfaces of the namespace that it was mounted in; the control groups beneath stay the host's. All of
 * it in one process tree, so that what the daemon mounts is there for the commands after it.
 */
const OFFLINE = `set -e
mount --rbind /sys/fs/cgroup cgroup
mount -t sysfs sysfs /sys
mount --rbind cgroup /sys/fs/cgroup
ip link set lo up
trap '"$0" "$1/labdown.js" --yes' EXIT
"$0" "$1/labup.js" --small --yes --artifacts "$2"
ip -4 route show default > routes.txt
"$0" "$1/labtest.js" --json > report.json
`;

const canRun = process.platform === 'linux' && process.getuid?.() === 0;
// A daemon that runs already lives in the host's network, and so would the lab.
const isFree = !existsSync('/run/systemd/system') && !existsSync(join(RUN_DIR, 'daemon.json'));
if (!canRun) console.warn('SKIPPED: the lab tier needs root on a Linux host');
else if (!isFree) console.warn('SKIPPED: the container daemon runs already, in the network of this host');

describe.skipIf(!canRun || !isFree)('a bundle', () => {
  const place = new Workplace();
  const { dir } = place;
  const bundle = join(dir, 'bundle');

  afterAll(() => rmSync(dir, { recursive: true }));

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
    mkdirSync(join(dir, 'cgroup'));
    const env = { ...process.env, XDG_CACHE_HOME: join(dir, 'cache') };
    const words = [process.execPath, join(packageRoot, 'dist/scripts'), bundle];
    const ran = spawnSync('unshare', ['--net', '--mount', 'sh', '-c', OFFLINE, ...words], {
      cwd: dir,
      env,
      encoding: 'utf8',
      timeout: 10 * 60_000,
    });
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
