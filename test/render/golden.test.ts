import { describe, expect, it } from 'vitest';
import { type LabPlan, machinesOf } from '../../scripts/plan/types.ts';
import { renderNodeFiles } from '../../scripts/render/bird.ts';
import {
  renderBgpPassword,
  renderBgpResources,
  renderInstallation,
  renderLoadBalancerPools,
  renderPodPool,
} from '../../scripts/render/calico.ts';
import {
  renderMetaData,
  renderNetworkConfig,
  renderUserData,
  renderVmUserData,
} from '../../scripts/render/cloud-init.ts';
import { renderRouterFiles } from '../../scripts/render/frr.ts';
import { renderK3sAgent, renderK3sServer } from '../../scripts/render/k3s.ts';
import { renderKubeadmInit, renderKubeadmJoin } from '../../scripts/render/kubeadm.ts';
import { renderClusterDns, renderEcho, renderLoadBalancer } from '../../scripts/render/manifests.ts';
import { renderRuntimeFiles } from '../../scripts/render/runtime.ts';
import { packagesOf, renderNetworkFiles, renderSshdConfig } from '../../scripts/render/software.ts';
import { CA_CERTIFICATE } from '../fakes/ca.ts';
import { calicoPlan, currentPlan, labPlan, labSecrets, machine } from './fixture.ts';
import { expectDifference, expectGolden, unusedGoldens } from './golden.ts';

const plan = labPlan();
const secrets = labSecrets(plan);
const CA_HASH = `sha256:${'0'.repeat(64)}`;

describe('the default lab', () => {
  const userData = (name: string) => renderUserData(plan, machine(plan, name), secrets);

  it.each(['k8sworker1', 'bgp', 'routed', 'ubuntu'])('cloud-init of %s', async (name) => {
    const each = machine(plan, name);
    await expectGolden(`cloud-init/${name}/user-data`, userData(name));
    await expectGolden(`cloud-init/${name}/network-config`, renderNetworkConfig(plan, each));
    await expectGolden(`cloud-init/${name}/meta-data`, renderMetaData(plan, each));
  });

  it.each(['k8smaster1', 'k8sworker2', 'k8sworker3'])(
    'cloud-init of %s is that of k8sworker1, but for its name and its host key',
    (name) => {
      const anonymous = (of: string) =>
        userData(of)
          .replaceAll(Buffer.from(`no key of ${of}`).toString('base64'), 'KEY')
          .replace(`KEY ${of}`, 'KEY NAME')
          .replace(`hostname: ${of}`, 'hostname: NAME');
      expect(anonymous(name)).toBe(anonymous('k8sworker1'));
    },
  );

  it.each(['k8smaster1', 'bgp', 'ubuntu'])('what plain machine %s is made from', async (name) => {
    const planned = machine(plan, name);
    const userData = renderVmUserData(plan, secrets, packagesOf(planned, plan.choices), renderSshdConfig());
    expect(userData).not.toContain('PRIVATE KEY');
    await expectGolden(`plain/${name}/user-data`, userData);
    const files = [
      ...renderNetworkFiles(plan, planned),
      ...(planned.podBlock === undefined ? [] : renderRuntimeFiles()),
    ];
    for (const { path, content } of files) {
      if (content.startsWith('#!') || path.endsWith('.service')) continue;
      await expectGolden(`plain/${name}${path}`, content);
    }
  });

  /** Programs have tests of their own; here they would only be copies. */
  const filesOf = (name: string) =>
    renderNodeFiles(plan, machine(plan, name), secrets).filter(
      ({ path, content }) => !content.startsWith('#!') && !path.endsWith('.py'),
    );

  it('files of a node that dials some others and waits for some', async () => {
    for (const { path, content } of filesOf('k8sworker2'))
      await expectGolden(`files/k8sworker2${path}`, content);
  });

  it('files of the control plane, which all others dial, and which has no session with the router', async () => {
    const files = filesOf('k8smaster1');
    const others = filesOf('k8sworker2');
    expect(files.map(({ path }) => path)).toEqual(others.map(({ path }) => path));
    const text = (of: typeof files) => of.map(({ path, content }) => `${path}\n${content}`).join('');
    await expectDifference('files/k8smaster1.diff', text(others), text(files));
  });

  it('files of the router', async () => {
    for (const { path, content } of renderRouterFiles(plan, secrets)) {
      await expectGolden(`files/bgp${path}`, content);
    }
  });

  it('kubeadm', async () => {
    await expectGolden('kubeadm/init.yaml', renderKubeadmInit(plan, secrets));
    const join = renderKubeadmJoin(plan, machine(plan, 'k8sworker1'), secrets, CA_HASH);
    await expectGolden('kubeadm/join-k8sworker1.yaml', join);
  });

  it('kubeadm of current Kubernetes', async () => {
    const current = currentPlan('kubeadm');
    await expectGolden(
      'kubeadm-v1beta4/init.yaml',
      renderKubeadmInit(current, secrets, { cgroupDriver: 'systemd' }),
    );
    const join = renderKubeadmJoin(current, machine(plan, 'k8sworker1'), secrets, CA_HASH);
    await expectGolden('kubeadm-v1beta4/join-k8sworker1.yaml', join);
  });

  it('container runtime of current Kubernetes', async () => {
    const files = renderRuntimeFiles({
      containerdMajor: 2,
      sandboxImage: 'registry.k8s.io/pause:3.10.1',
      cgroupDriver: 'systemd',
      cni: 'calico',
      isBrought: true,
    });
    for (const { path, content } of files.slice(0, 3)) await expectGolden(`containerd-2${path}`, content);
  });

  it('k3s', async () => {
    const current = currentPlan('k3s');
    const worker = machine(plan, 'k8sworker1');
    const nodes = {
      k8smaster1: renderK3sServer(current, secrets, 'cgroupfs'),
      k8sworker1: renderK3sAgent(current, worker, secrets, CA_CERTIFICATE, 'systemd'),
    };
    for (const [name, files] of Object.entries(nodes)) {
      for (const { path, content } of files) {
        if (path.includes('lab-cgroups')) continue;
        await expectGolden(`k3s/${name}${path}`, content);
      }
    }
  });

  it('manifests', async () => {
    await expectGolden('manifests/echo-full.yaml', renderEcho(plan));
    await expectDifference('manifests/echo-simple.diff', renderEcho(plan), renderEcho(labPlan(3, 'simple')));
    await expectGolden('manifests/cluster-dns.yaml', renderClusterDns(plan));
    await expectGolden('manifests/load-balancer.yaml', renderLoadBalancer(plan));
  });
});

describe('the same lab with Calico', () => {
  const calico = calicoPlan(plan);
  const externalIPs = { ...calico, echo: { ...calico.echo, loadBalancer: 'externalIPs' as const } };

  it('what the operator is told, and the resources', async () => {
    await expectGolden('calico/installation.yaml', renderInstallation(calico));
    await expectGolden('calico/bgp.yaml', renderBgpResources(calico, 'projectcalico.org/v3'));
    await expectGolden('calico/password.yaml', renderBgpPassword(secrets, 'calico-system'));
    await expectGolden('calico/pod-pool.yaml', renderPodPool(calico, 'projectcalico.org/v3'));
  });

  it('without API server and native resources only the group differs', () => {
    const stored = renderBgpResources(calico, 'crd.projectcalico.org/v1');
    expect(stored.replaceAll('crd.projectcalico.org/v1', 'projectcalico.org/v3')).toBe(
      renderBgpResources(calico, 'projectcalico.org/v3'),
    );
  });

  it('with addresses of LoadBalancer services from IPAM, and without', async () => {
    const resources = (of: LabPlan) => renderBgpResources(of, 'projectcalico.org/v3');
    await expectGolden('calico/load-balancer.yaml', renderLoadBalancerPools(calico, 'projectcalico.org/v3'));
    await expectDifference('calico/echo-full-ipam.diff', renderEcho(plan), renderEcho(calico));
    await expectDifference('calico/bgp-external-ips.diff', resources(calico), resources(externalIPs));
    await expectDifference('calico/echo-full-external-ips.diff', renderEcho(plan), renderEcho(externalIPs));
    expect(renderLoadBalancerPools(externalIPs, 'projectcalico.org/v3')).toBe('');
    expect(renderLoadBalancer(calico)).toBe('');
  });

  it('has no keepalive time where Calico does not know it', () => {
    const older = renderBgpResources(calicoPlan(plan, 'v3.31.7'), 'projectcalico.org/v3');
    expect(older).not.toContain('keepaliveTime');
    expect(renderBgpResources(calicoPlan(plan, 'v3.33.1'), 'projectcalico.org/v3')).toContain(
      'keepaliveTime: 3s',
    );
  });

  it('keeps the password in its secret', () => {
    const texts = [renderInstallation(calico), renderBgpResources(calico, 'projectcalico.org/v3')];
    const encoded = Buffer.from(secrets.bgpPassword).toString('base64');
    for (const text of [secrets.bgpPassword, encoded]) expect(texts.join()).not.toContain(text);
    expect(renderBgpPassword(secrets, 'x')).toContain(`password: ${encoded}`);
  });
});

describe.each([1, 20])('a lab with %i workers', (workers) => {
  const sized = labPlan(workers);
  /** A file of the control plane or of the router: what is not about a session, and the sessions. */
  const partsOf = (of: LabPlan, name: string) => {
    const files = [
      ...renderNodeFiles(of, machine(of, 'k8smaster1'), labSecrets(of)),
      ...renderRouterFiles(of, labSecrets(of)),
    ];
    const text = files.find(({ path }) => path.endsWith(`/${name}`))?.content ?? '';
    const session = /^protocol bgp \w+_[\d_]+ [^}]+}\n+|^ neighbor [\d.]+ (?:peer-group|description) .*\n/gm;
    return { rest: text.replace(session, ''), sessions: text.match(session) ?? [] };
  };

  it.each(['bird.conf', 'frr.conf'])(
    '%s: as many sessions, each like those of the default lab',
    async (name) => {
      const usual = partsOf(plan, name);
      const now = partsOf(sized, name);
      const shape = (sessions: readonly string[]) =>
        new Set(sessions.map((each) => each.replaceAll(/192[._]168[._]13[._]\d+|k8sworker\d+/g, 'X').trim()));
      expect(shape(now.sessions)).toEqual(shape(usual.sessions));
      expect(now.sessions.length / workers).toBe(usual.sessions.length / 3);
      const named = now.sessions.join('');
      for (const { name: worker, address } of machinesOf(sized, 'worker')) {
        expect(named.split(`${address} `).length, worker).toBeGreaterThan(1);
        expect(named).toMatch(new RegExp(`\\b${worker}\\b`));
      }
      await expectDifference(`workers-${workers}/${name}.diff`, usual.rest, now.rest);
    },
  );

  it('its echo pods', () => {
    const pods = renderEcho(sized).match(/^ {2}name: echo-server\d+$/gm);
    expect(pods).toEqual(Array.from({ length: workers }, (_, n) => `  name: echo-server${n + 1}`));
  });
});

it('has no golden that nothing renders', () => {
  expect(unusedGoldens()).toEqual([]);
});
