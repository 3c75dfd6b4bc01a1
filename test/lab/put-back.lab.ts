/**
 * Machines that were there before the lab are given back as they were: everything that labup does to a Kubernetes node and
 * to a router without a cluster, then labdown --purge, and not a file, unit, route, filter or package is another one.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBirdNode, ensureRouter } from '../../scripts/bgp/speakers.ts';
import { kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import type { LabArtifacts } from '../../scripts/commands/deps.ts';
import { newSecrets } from '../../scripts/exec/keys.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import type { RemoteMachine } from '../../scripts/exec/ssh.ts';
import { connectMachines, requireMachine } from '../../scripts/machines/connect.ts';
import { ensureSoftware } from '../../scripts/machines/deliver.ts';
import { sshDriver } from '../../scripts/machines/ssh/driver.ts';
import { Registry } from '../../scripts/machines/ssh/login.ts';
import { type LabPlan, theMachine } from '../../scripts/plan/types.ts';
import { silent } from '../../scripts/shared/events.ts';
import { ensureReady, NAMES, smallPlan, whyNot } from './contract/harness.ts';
import { PreparedMachines } from './contract/prepared.ts';
import { snapshotOf } from './contract/snapshot.ts';

const reason = whyNot();
if (reason !== undefined) console.warn(`SKIPPED: machines are given back as they were: ${reason}`);

/** What the worker's owner has on it: rules, names and settings beside those that the lab will make. */
const OWNERS_OWN = `
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet --no-install-recommends iptables conntrack
iptables -A INPUT -s 192.0.2.1 -j DROP
iptables -t nat -N THEIRS && iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j THEIRS
echo '192.0.2.7 printer' >> /etc/hosts
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=1
printf '%s' 'ssh-ed25519 AAAAnot-a-key without-newline' >> /home/admin/.ssh/authorized_keys
`;

/** What kube-proxy leaves in the filters of a node. */
const LIKE_KUBE_PROXY = `
iptables -t nat -N KUBE-SERVICES && iptables -t nat -A PREROUTING -j KUBE-SERVICES
iptables -t nat -A KUBE-SERVICES -d 10.96.0.1/32 -j RETURN
iptables -N KUBE-FORWARD && iptables -A FORWARD -j KUBE-FORWARD
`;

describe.skipIf(reason !== undefined)('machines reached over SSH', () => {
  const prepared = new PreparedMachines('contract-back', 6);
  const registry = new Registry(mkdtempSync(join(tmpdir(), 'put-back-')));
  const driver = sshDriver(localExecutor(), { registry, knownHosts: prepared.knownHosts });
  const both = [NAMES.worker, NAMES.router];
  const before = new Map<string, readonly string[]>();
  const secrets = newSecrets('contract-ssh', []);
  let artifacts: LabArtifacts;

  /** The worker and the router of the lab; no cluster runs here. */
  const planNow = (): LabPlan => {
    const whole = smallPlan('ssh', 7, (name) =>
      prepared.spec(name, name === NAMES.worker ? 'admin' : 'root'),
    );
    return { ...whole, machines: whole.machines.filter(({ name }) => both.some((each) => each === name)) };
  };
  /** What labup does to machines before it makes a cluster of them; returns whether anything had to be done. */
  const take = async (): Promise<boolean> => {
    const plan = planNow();
    await driver.ensureHost(plan, silent);
    const clientKey = secrets.clientKey.publicKey.trim();
    const taken = await driver.ensureMachines(plan, { cloudInit: new Map(), clientKey }, silent);
    const connected = await connectMachines(await driver.reach(plan, secrets, silent), silent);
    try {
      const changed = await Promise.all(
        plan.machines.map((planned) => furnish(plan, planned.name, connected)),
      );
      return taken || changed.includes(true);
    } finally {
      for (const machine of connected.values()) machine.close();
    }
  };
  const furnish = async (plan: LabPlan, name: string, connected: ReadonlyMap<string, RemoteMachine>) => {
    const machine = requireMachine(connected, name);
    const planned = plan.machines.find((each) => each.name === name) ?? theMachine(plan, 'router');
    const common = await ensureSoftware(machine, plan, planned, silent);
    if (planned.role === 'router') return (await ensureRouter(machine, plan, secrets)) || common;
    const software = await kubeadmDistribution.install(machine, planned, artifacts.software, silent);
    await kubeadmDistribution.prepareNode(machine);
    return (await ensureBirdNode(machine, plan, planned, secrets)) || software || common;
  };

  beforeAll(async () => {
    artifacts = await ensureReady('plain', silent);
    for (const name of both) await prepared.add(name);
    await prepared.root(NAMES.worker, OWNERS_OWN);
    for (const name of both) before.set(name, await snapshotOf(prepared, name));
  });
  afterAll(() => prepared.double.remove());

  it('are the same as long as nobody takes them', async () => {
    for (const name of both) expect(await snapshotOf(prepared, name)).toEqual(before.get(name));
  });

  it('get what a node and a router need, once', async () => {
    expect(await take()).toBe(true);
    expect(await take()).toBe(false);
    for (const name of both) expect(await snapshotOf(prepared, name)).not.toEqual(before.get(name));
  });

  it('keep the lab address, and what is for the lab off their uplink, over a restart', async () => {
    await prepared.double.call(['restart', NAMES.router]);
    await prepared.root(NAMES.router, 'systemctl is-system-running --wait; true');
    const { address } = theMachine(planNow(), 'router');
    expect(await prepared.root(NAMES.router, 'ip -br -4 address')).toContain(`${address}/24`);
    // Only asks the kernel which way a packet would go.
    const way = await prepared.root(NAMES.router, 'ip route get 2.2.2.2 2>&1; true');
    expect(way).toMatch(/unreachable/);
    expect(await take()).toBe(false);
  });

  it('are given back exactly as they were', async () => {
    await prepared.root(NAMES.worker, LIKE_KUBE_PROXY);
    await driver.remove(planNow().lab, silent, { purge: true });
    for (const name of both) {
      const now = await snapshotOf(prepared, name);
      const then = before.get(name) ?? [];
      const more = now.filter((line) => !then.includes(line)).map((line) => `+ ${line}`);
      const less = then.filter((line) => !now.includes(line)).map((line) => `- ${line}`);
      expect([...less, ...more], name).toEqual([]);
    }
    expect(await registry.read(planNow().lab)).toBeUndefined();
  });
});
