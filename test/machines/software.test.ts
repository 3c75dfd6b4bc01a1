import { describe, expect, it } from 'vitest';
import { kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import { ensureSoftware } from '../../scripts/machines/deliver.ts';
import { silent } from '../../scripts/shared/events.ts';
import { debianFiles, fakeNode } from '../cluster/nodes.ts';
import { labPlan, machine as planned } from '../render/fixture.ts';

const plan = labPlan();

describe('software of a plain machine', () => {
  it('is what its role needs, and nothing the second time', async () => {
    const { executor, machine, given } = fakeNode('k8sworker1', { packages: ['iptables', 'procps'] });
    const node = planned(plan, 'k8sworker1');
    const ensure = async () => {
      const common = await ensureSoftware(machine, plan, node, silent);
      return (await kubeadmDistribution.install(machine, node, debianFiles(), silent)) || common;
    };
    expect(await ensure()).toBe(true);
    const install = executor.lines().find((line) => line.startsWith('apt-get install')) ?? '';
    expect(install.split(' ')).toEqual(expect.arrayContaining(['containerd', 'bird']));
    expect(install.split(' ')).not.toContain('iptables');
    expect(given()).toEqual([
      '/cache/kubernetes/kubelet',
      '/cache/kubernetes/kubeadm',
      '/cache/images/pause.tar',
      '/cache/images/kube-proxy.tar',
      '/cache/images/echo.tar',
    ]);
    expect(machine.files.get('/etc/containerd/config.toml')?.content).not.toContain('@');
    executor.calls.length = 0;
    expect(await ensure()).toBe(false);
    expect(executor.lines().filter((line) => /^(apt-get|systemctl restart|ctr)/.test(line))).toEqual([]);
  });

  it('notes the packages before it installs them', async () => {
    const { executor, machine } = fakeNode('bgp');
    await ensureSoftware(machine, plan, planned(plan, 'bgp'), silent);
    const lines = executor.lines();
    const noted = lines.findIndex((line) => line.startsWith('tee --append'));
    expect(executor.calls[noted]?.options.input).toContain('frr\n');
    expect(noted).toBeLessThan(lines.findIndex((line) => line.startsWith('apt-get')));
  });

  it('has no container runtime beside that of k3s, and no BIRD beside Calico', async () => {
    const { executor, machine } = fakeNode('k8sworker1');
    const choices = {
      ...plan.choices,
      distribution: { value: 'k3s' as const, why: 'test' },
      cni: { value: 'calico' as const, why: 'test' },
    };
    await ensureSoftware(machine, { ...plan, choices }, planned(plan, 'k8sworker1'), silent);
    const install = executor.lines().find((line) => line.startsWith('apt-get install')) ?? '';
    expect(install).toContain(' conntrack ');
    expect(install).not.toMatch(/ (containerd|runc|bird|containernetworking-plugins)( |$)/);
  });
});
