import { describe, expect, it } from 'vitest';
import { ensureSoftware } from '../../scripts/machines/software.ts';
import { DEBIAN_SOFTWARE } from '../../scripts/plan/plan.ts';
import type { FileRole, NodeRole, Software, SoftwareFile } from '../../scripts/plan/software.ts';
import { silent } from '../../scripts/shared/events.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { labPlan, machine as planned } from '../render/fixture.ts';

const plan = labPlan();
const software: Software = {
  ...DEBIAN_SOFTWARE,
  files: [
    file('kubelet', '/cache/kubernetes/kubelet', ['control-plane', 'worker']),
    file('kubeadm', '/cache/kubernetes/kubeadm', ['control-plane', 'worker']),
    file('image-archive', '/cache/images/kube-apiserver.tar', ['control-plane']),
    file('image-archive', '/cache/images/pause.tar', ['control-plane', 'worker']),
    file('echo-image', '/cache/images/echo.tar', ['worker']),
  ],
};

function file(role: FileRole, path: string, nodes: readonly NodeRole[]): SoftwareFile {
  return { role, path, nodes, version: 'v1', sha256: '1'.repeat(64), inMachineImage: false };
}

/** A machine that has some packages, and after that remembers what it was given. */
function plainMachine(name: string, has: readonly string[]) {
  const installed = new Set(has);
  const executor = recordingExecutor((argv) => {
    const line = argv.join(' ');
    if (argv[0] === 'dpkg-query') {
      const asked = argv.slice(4);
      const lines = asked.filter((each) => installed.has(each)).map((each) => `${each} installed\n`);
      return { exitCode: lines.length === asked.length ? 0 : 1, stdout: lines.join('') };
    }
    if (line.startsWith('apt-get install')) for (const each of argv.slice(4)) installed.add(each);
    if (argv[0] === 'cat') return machine.files.get(argv[1] ?? '')?.content ?? { exitCode: 1 };
    if (line.includes('is-active')) {
      const [, , , stamp = '', ...units] = argv;
      return `${machine.files.get(stamp)?.content ?? ''}\n${units.map(() => 'active\n').join('')}`;
    }
    return '';
  }, name);
  const machine = fakeMachine(name, executor);
  const ensure = () => ensureSoftware(machine, plan, planned(plan, name), software, silent);
  return { executor, machine, ensure };
}

describe('software of a plain machine', () => {
  it('is what its role needs, and nothing the second time', async () => {
    const { executor, machine, ensure } = plainMachine('k8sworker1', ['iptables', 'procps']);
    expect(await ensure()).toBe(true);
    const install = executor.lines().find((line) => line.startsWith('apt-get install')) ?? '';
    expect(install.split(' ')).toEqual(expect.arrayContaining(['containerd', 'bird']));
    expect(install.split(' ')).not.toContain('iptables');
    const given = executor.calls.flatMap(({ options }) => options.inputFile ?? []);
    expect(given).toEqual([
      '/cache/kubernetes/kubelet',
      '/cache/kubernetes/kubeadm',
      '/cache/images/pause.tar',
      '/cache/images/echo.tar',
    ]);
    expect(machine.files.get('/etc/containerd/config.toml')?.content).not.toContain('@');
    executor.calls.length = 0;
    expect(await ensure()).toBe(false);
    expect(executor.lines().filter((line) => /^(apt-get|systemctl restart|ctr)/.test(line))).toEqual([]);
  });

  it('notes the packages before it installs them', async () => {
    const { executor, ensure } = plainMachine('bgp', []);
    await ensure();
    const lines = executor.lines();
    const noted = lines.findIndex((line) => line.startsWith('tee --append'));
    expect(executor.calls[noted]?.options.input).toContain('frr\n');
    expect(noted).toBeLessThan(lines.findIndex((line) => line.startsWith('apt-get')));
    expect(lines.some((line) => line.includes('kubelet'))).toBe(false);
  });

  it('comes again where the artifacts are others', async () => {
    const { executor, machine, ensure } = plainMachine('k8smaster1', []);
    await ensure();
    machine.files.set('/var/lib/lab/applied/container-images', {
      path: '/var/lib/lab/applied/container-images',
      content: 'another\n',
    });
    executor.calls.length = 0;
    expect(await ensure()).toBe(true);
    const given = executor.calls.flatMap(({ options }) => options.inputFile ?? []);
    expect(given).toContain('/cache/images/kube-apiserver.tar');
    expect(given.filter((path) => path.startsWith('/cache/kubernetes'))).toEqual([]);
  });
});
