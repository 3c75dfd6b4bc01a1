import { UserError } from '../shared/errors.ts';
import { macOf } from '../shared/labels.ts';
import { K8S_VERSION, kubernetesMinor } from '../shared/versions.ts';
import type { LabSpec, MachineSpec } from '../spec/types.ts';
import { POD_BLOCK_LENGTH } from '../spec/validate.ts';
import {
  apiServerAt,
  checkedCidr,
  dnsAddress,
  externalPrefixes,
  isNode,
  peeringsOf,
  podBlocks,
  routesOf,
} from './addressing.ts';
import { findsAddresses, pendingPlan } from './found.ts';
import type { SoftwareFacts } from './software.ts';
import type { LabPlan, MachinePlan } from './types.ts';

/** What a lab made from Debian's packages is. */
export const DEBIAN_SOFTWARE: SoftwareFacts = {
  distribution: 'kubeadm',
  cni: 'bird',
  versions: { kubernetes: K8S_VERSION },
};

const BGP = {
  /** Pod blocks, service CIDR, external and router prefixes of the largest lab stay well below this. */
  maximumPrefix: 200,
  maximumPaths: 8,
  keepaliveSeconds: 3,
  holdSeconds: 9,
} as const;

/** Calico writes "merge paths on" without a limit: KRT_DEFAULT_ECMP_LIMIT of BIRD 1.6 (sysdep/unix/krt.h). */
const CALICO_MAXIMUM_PATHS = 16;

/**
 * The complete lab for a checked spec; without addresses where only the running machines have them (planAt). Pure: the
 * same spec, choices and versions give the same plan. Throws UserError for a mode of kube-proxy that this lab cannot have.
 */
export function planLab(
  spec: LabSpec,
  choices: LabPlan['choices'],
  software: Pick<SoftwareFacts, 'versions'> = DEBIAN_SOFTWARE,
): LabPlan {
  requireProxyMode(spec.kubernetes.proxyMode, choices, software.versions.kubernetes);
  const plan = planAtSpec(spec, choices, software);
  return findsAddresses(plan) ? pendingPlan(plan) : plan;
}

/** KEP-3866: nftables mode is beta in 1.31, and what came before had other rules. */
const FIRST_WITH_NFTABLES = 31;

function requireProxyMode(
  mode: LabSpec['kubernetes']['proxyMode'],
  { cni }: LabPlan['choices'],
  version: string,
): void {
  const next = 'kubernetes.proxyMode: iptables, or labup --artifacts with another Kubernetes';
  if (mode === 'nftables' && kubernetesMinor(version) < FIRST_WITH_NFTABLES)
    throw new UserError(`Kubernetes ${version} has no nftables mode that the lab could use.`, {
      details: [`kube-proxy has it from 1.${FIRST_WITH_NFTABLES} on`],
      next,
    });
  if (mode === 'ipvs' && cni.value === 'bird')
    throw new UserError('kube-proxy in ipvs mode does not go with the CNI bird.', {
      details: [
        'ipvs gives every service address to every node, and BIRD would announce it from nodes without a pod',
      ],
      next,
    });
}

function planAtSpec(
  spec: LabSpec,
  choices: LabPlan['choices'],
  { versions }: Pick<SoftwareFacts, 'versions'>,
): LabPlan {
  const subnet = checkedCidr(spec.network.subnet);
  const workers = spec.machines.filter(({ role }) => role === 'worker');
  const [firstWorker] = workers;
  const controlPlane = theOne(spec, 'control-plane');
  if (firstWorker === undefined) throw new Error('not a checked spec: it has no worker');
  return {
    schemaVersion: 1,
    lab: spec.name,
    choices,
    network: {
      bridge: spec.network.bridge,
      subnet: spec.network.subnet,
      prefixLength: subnet.length,
      hostAddress: spec.network.host,
    },
    machines: planMachines(spec, choices),
    ...(choices.driver.value === 'multipass' ? { multipass: spec.multipass } : {}),
    kubernetes: {
      version: versions.kubernetes,
      podCidr: spec.kubernetes.podCidr,
      podBlockLength: POD_BLOCK_LENGTH,
      serviceCidr: spec.kubernetes.serviceCidr,
      loadBalancerCidr: spec.kubernetes.loadBalancerCidr,
      dnsAddress: dnsAddress(spec),
      domain: 'cluster.local',
      ...(spec.kubernetes.proxyMode === 'iptables' ? {} : { proxyMode: spec.kubernetes.proxyMode }),
      apiServer: apiServerAt(controlPlane.address),
      // Debian has no package of CoreDNS.
      dns: choices.artifacts.value === 'debian' || choices.cni.value === 'bird' ? 'lab' : 'coredns',
    },
    ...(versions.calico === undefined
      ? {}
      : { calico: { version: versions.calico, maximumPaths: CALICO_MAXIMUM_PATHS } }),
    ...(choices.artifacts.value === 'bundle' && spec.bundle !== undefined ? { bundle: spec.bundle } : {}),
    ...(spec.timeouts.scale === 1 ? {} : { timeouts: spec.timeouts }),
    ...(spec.test.namespaces === undefined ? {} : { test: spec.test }),
    bgp: {
      clusterAsn: spec.bgp.clusterAsn,
      routerAsn: spec.bgp.routerAsn,
      peerings: peeringsOf(spec.machines, spec.bgp),
      routerPrefixes: spec.bgp.routerPrefixes,
      externalPrefixes: externalPrefixes(spec),
      ...BGP,
      // Every worker may announce the same external IP, and all of them must be next hops.
      maximumPaths: Math.max(BGP.maximumPaths, workers.length),
    },
    echo: {
      variant: spec.echo.variant,
      namespace: spec.echo.namespace,
      externalIp: spec.echo.externalIp,
      loadBalancer: givesAddresses(choices, versions) ? spec.echo.loadBalancer : 'externalIPs',
      servers: workers.map(({ name }, index) => ({
        pod: `echo-server${index + 1}`,
        hostname: `server${index + 1}`,
        node: name,
      })),
      clientPod: { pod: 'echo-client1', node: firstWorker.name },
      tcpPort: spec.echo.tcpPort,
      udpPort: spec.echo.udpPort,
    },
  };
}

/** Calico has an address management for LoadBalancer services from 3.30 on; without Calico the lab has its own. */
function givesAddresses({ cni }: LabPlan['choices'], { calico = '' }: SoftwareFacts['versions']): boolean {
  const [major = 0, minor = 0] = calico.replace(/^v/, '').split('.').map(Number);
  return cni.value !== 'calico' || major > 3 || (major === 3 && minor >= 30);
}

function planMachines(spec: LabSpec, { driver: { value: driver }, cni }: LabPlan['choices']): MachinePlan[] {
  // Calico hands out blocks itself, as nodes need them.
  const blocks = cni.value === 'bird' ? podBlocks(spec) : new Map<string, string>();
  const hasLabNic = driver === 'multipass' && spec.multipass.network.mode === 'bridge';
  const router = theOne(spec, 'router');
  return spec.machines.map((machine) => {
    const podBlock = blocks.get(machine.name);
    return {
      name: machine.name,
      role: machine.role,
      address: machine.address,
      ...(podBlock === undefined ? {} : { podBlock }),
      ...asnOf(machine, spec),
      routes: routesOf(machine, spec, router.address, cni.value),
      ...(hasLabNic ? { mac: macOf(spec.name, machine.name) } : {}),
      ...(driver === 'ssh' && machine.ssh !== undefined ? { ssh: machine.ssh } : {}),
    };
  });
}

function asnOf(machine: MachineSpec, spec: LabSpec): { readonly asn?: number } {
  if (machine.role === 'router') return { asn: spec.bgp.routerAsn };
  return isNode(machine) ? { asn: spec.bgp.clusterAsn } : {};
}

function theOne(spec: LabSpec, role: 'control-plane' | 'router'): MachineSpec {
  const machine = spec.machines.find((each) => each.role === role);
  if (machine === undefined) throw new Error(`not a checked spec: it has no ${role}`);
  return machine;
}

/**
 * The same lab in less memory, for laptops: one worker fewer, and no routed client, for the router has the same routes
 * and is tested from too. A lab with one worker keeps it.
 */
export function smallLab(spec: LabSpec): LabSpec {
  const workers = spec.machines.filter(({ role }) => role === 'worker');
  const last = workers.length > 1 ? workers.at(-1) : undefined;
  const machines = spec.machines.filter(
    (machine) => machine !== last && !(machine.role === 'client' && machine.routed === true),
  );
  return { ...spec, machines };
}
