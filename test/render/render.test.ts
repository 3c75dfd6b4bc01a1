import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { type LabPlan, machinesOf } from '../../scripts/plan/types.ts';
import { renderAnnouncerConfig, renderBirdConf, renderNodeFiles } from '../../scripts/render/bird.ts';
import { renderNetworkConfig, renderUserData } from '../../scripts/render/cloud-init.ts';
import { renderFrrConf, renderRouterFiles } from '../../scripts/render/frr.ts';
import { renderK3sAgent, renderK3sServer } from '../../scripts/render/k3s.ts';
import { renderKubeadmInit } from '../../scripts/render/kubeadm.ts';
import { renderEcho } from '../../scripts/render/manifests.ts';
import { CA_CERTIFICATE } from '../fakes/ca.ts';
import { labPlan, labSecrets, machine } from './fixture.ts';

const plan = labPlan();
const secrets = labSecrets(plan);
const nodes = machinesOf(plan, 'control-plane', 'worker');
const worker = machine(plan, 'k8sworker1');

describe('secrets', () => {
  it.each(plan.machines)('user-data of $name holds its own host key and no other secret', (each) => {
    const text = renderUserData(plan, each, secrets);
    expect(parse(text).ssh_keys.ed25519_private).toBe(secrets.hostKeys[each.name]?.privateKey);
    const others = plan.machines.filter(({ name }) => name !== each.name);
    const foreign = [
      secrets.bgpPassword,
      secrets.joinToken,
      bodyOf(secrets.clientKey.privateKey),
      ...others.map(({ name }) => bodyOf(secrets.hostKeys[name]?.privateKey)),
    ];
    // The fixture's client key has the same body in both halves; the public half is meant to be there.
    const withoutLogin = text.replace(secrets.clientKey.publicKey.trim(), '');
    expect(foreign.filter((secret) => withoutLogin.includes(secret))).toEqual([]);
  });

  it('the BGP password is only in files that others cannot read', () => {
    const files = [...renderNodeFiles(plan, worker, secrets), ...renderRouterFiles(plan, secrets)];
    const holders = files.filter(({ content }) => content.includes(secrets.bgpPassword));
    expect(holders.map(({ path, mode, owner }) => `${path} ${mode?.toString(8)} ${owner}`)).toEqual([
      '/etc/bird/bird.conf 640 root:bird',
      '/etc/frr/frr.conf 640 frr:frr',
    ]);
  });

  it('the control plane has no session with the router and no password', () => {
    const text = renderBirdConf(plan, machine(plan, 'k8smaster1'), secrets);
    expect(text).not.toContain(secrets.bgpPassword);
    expect(text).not.toContain('protocol bgp Node_');
  });

  it('a password that would need quoting stops both ends', () => {
    const bad = { ...secrets, bgpPassword: 'a"; }' };
    expect(() => renderBirdConf(plan, worker, bad)).toThrow('BGP password');
    expect(() => renderFrrConf(plan, bad)).toThrow('BGP password');
  });
});

describe('routes', () => {
  it.each(plan.machines)('$name gets the routes of the plan and no default route', (each) => {
    const commands: string[] = parse(renderUserData(plan, each, secrets)).bootcmd.map((command: unknown) =>
      Array.isArray(command) ? command.join(' ') : command,
    );
    expect(commands[0]).toBe('set -e');
    expect(commands.filter((command) => command.startsWith('ip route '))).toHaveLength(each.routes.length);
    expect(renderNetworkConfig(plan, each)).not.toMatch(/gateway|routes:/);
  });

  it('sysctl sets ip_forward first, because it resets others', () => {
    for (const each of plan.machines) {
      const [, sysctl] = parse(renderUserData(plan, each, secrets)).bootcmd;
      expect(sysctl.slice(0, 3)).toEqual(['sysctl', '--quiet', '--write']);
      expect(sysctl[3]).toBe(`net.ipv4.ip_forward=${each.role === 'client' ? 0 : 1}`);
    }
  });
});

describe('BGP', () => {
  it('of every two nodes exactly one waits for the other to dial', () => {
    const waits = nodes.flatMap((node) =>
      [...renderBirdConf(plan, node, secrets).matchAll(/passive on; {2}# (\S+) dials/g)].map(
        ([, peer]) => `${node.name} < ${peer}`,
      ),
    );
    expect(waits).toEqual([
      'k8smaster1 < k8sworker1',
      'k8smaster1 < k8sworker2',
      'k8smaster1 < k8sworker3',
      'k8sworker1 < k8sworker2',
      'k8sworker1 < k8sworker3',
      'k8sworker2 < k8sworker3',
    ]);
  });

  it('the router has a neighbor per worker, and it and every node room for as many next hops', () => {
    const large = labPlan(20);
    const text = renderFrrConf(large, labSecrets(large));
    expect(text.match(/^ neighbor [\d.]+ peer-group K8S$/gm)).toHaveLength(20);
    expect(text).toContain('\n  maximum-paths 20\n');
  });

  it('a wider router prefix gets its first address on lo, and no prefix at all an explicit deny', () => {
    const wide: LabPlan = { ...plan, bgp: { ...plan.bgp, routerPrefixes: ['5.5.5.0/24'] } };
    expect(renderFrrConf(wide, secrets)).toContain(' ip address 5.5.5.1/24\n');
    expect(renderFrrConf(wide, secrets)).toContain('  network 5.5.5.0/24\n');
    const none: LabPlan = { ...plan, bgp: { ...plan.bgp, routerPrefixes: [] } };
    expect(renderFrrConf(none, secrets)).toContain('ip prefix-list K8S-OUT seq 10 deny any\n');
  });

  it('the announcer writes the file that BIRD includes', () => {
    const { output } = JSON.parse(renderAnnouncerConfig(plan, worker));
    expect(renderBirdConf(plan, worker, secrets)).toContain(`include "${output}";`);
    const dropIn = renderNodeFiles(plan, worker, secrets).find(({ path }) => path.includes('bird.service.d'));
    expect(dropIn?.content).toContain(`ExecStartPre=/usr/bin/touch ${output}\n`);
  });
});

describe('Kubernetes', () => {
  it('kubelet takes no more pods than the block has addresses, and no more than kubelet can', () => {
    const maxPods = (podBlockLength: number): number => {
      const sized: LabPlan = { ...plan, kubernetes: { ...plan.kubernetes, podBlockLength } };
      const documents = parseAllDocuments(renderKubeadmInit(sized, secrets)).map((each) => each.toJS());
      return documents.find(({ kind }) => kind === 'KubeletConfiguration').maxPods;
    };
    expect([28, 26, 24].map(maxPods)).toEqual([14, 62, 110]);
  });

  it('kube-proxy is in the mode that lab.yaml says, for kubeadm and on every node of k3s', () => {
    const nft: LabPlan = { ...plan, kubernetes: { ...plan.kubernetes, proxyMode: 'nftables' } };
    const modeOf = (each: LabPlan) =>
      parseAllDocuments(renderKubeadmInit(each, secrets))
        .map((document) => document.toJS())
        .find(({ kind }) => kind === 'KubeProxyConfiguration').mode;
    expect([modeOf(plan), modeOf(nft)]).toEqual(['iptables', 'nftables']);
    const [server] = renderK3sServer(nft, secrets, 'systemd');
    const [agent] = renderK3sAgent(nft, worker, secrets, CA_CERTIFICATE, 'systemd');
    for (const file of [server, agent]) expect(file?.content).toContain('- proxy-mode=nftables\n');
  });

  it('a server pod per worker, each on its own', () => {
    const pods = parseAllDocuments(renderEcho(plan))
      .map((each) => each.toJS())
      .filter(({ kind }) => kind === 'Pod');
    expect(pods.map(({ metadata, spec }) => [metadata.name, ...Object.values(spec.nodeSelector)])).toEqual([
      ['echo-server1', 'k8sworker1'],
      ['echo-server2', 'k8sworker2'],
      ['echo-server3', 'k8sworker3'],
      ['echo-client1', 'k8sworker1'],
    ]);
  });

  it('every node port of a variant is fixed and there once', () => {
    for (const variant of ['full', 'simple'] as const) {
      const services = parseAllDocuments(renderEcho(labPlan(3, variant)))
        .map((each) => each.toJS())
        .filter(({ kind, spec }) => kind === 'Service' && ['NodePort', 'LoadBalancer'].includes(spec.type));
      const ports = services.flatMap(({ spec }) => [
        ...spec.ports.map(({ nodePort }: { nodePort?: number }) => nodePort),
        ...(spec.type === 'LoadBalancer' ? [spec.healthCheckNodePort] : []),
      ]);
      expect(ports.every(Number.isInteger)).toBe(true);
      expect(new Set(ports).size).toBe(ports.length);
    }
  });
});

function bodyOf(privateKey = ''): string {
  return privateKey.split('\n')[1] ?? '';
}
