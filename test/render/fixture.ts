import type { LabPlan, MachinePlan, PeeringPlan } from '../../scripts/plan/types.ts';
import { nthBlock } from '../../scripts/shared/ip.ts';
import type { KeyPair, Secrets } from '../../scripts/shared/secrets.ts';

const POD_CIDR = { address: '10.255.0.0', length: 16 };
const SERVICE_CIDR = '10.96.0.0/12';
const ROUTER = '192.168.13.39';
const EXTERNAL_IP = '2.2.2.2';
const LOAD_BALANCER_CIDR = '203.0.113.16/28';

/**
 * The plan of a lab with that many workers, written out by hand on purpose: planLab has tests of its own, and a change
 * there must not change these goldens unseen. Three workers is the default lab. Beyond three, workers are .41 and up.
 */
export function labPlan(workers = 3, variant: LabPlan['echo']['variant'] = 'full'): LabPlan {
  const nodes: MachinePlan[] = [
    node('k8smaster1', 'control-plane', '192.168.13.30', 0),
    ...Array.from({ length: workers }, (_, index) =>
      node(`k8sworker${index + 1}`, 'worker', `192.168.13.${index < 3 ? 35 + index : 41 + index}`, index + 1),
    ),
  ];
  const lab = ['10.255.0.0/16', SERVICE_CIDR, `${EXTERNAL_IP}/32`, LOAD_BALANCER_CIDR, '5.5.5.5/32'];
  const machines: MachinePlan[] = [
    ...nodes,
    { name: 'bgp', role: 'router', address: ROUTER, asn: 65000, routes: [] },
    {
      name: 'routed',
      role: 'client',
      address: '192.168.13.40',
      routes: lab.map((to) => ({ to, via: ROUTER })),
    },
    { name: 'ubuntu', role: 'client', address: '192.168.13.104', routes: [] },
  ];
  return {
    schemaVersion: 1,
    lab: 'bgp-lab',
    choices: {
      driver: { value: 'incus', why: 'test' },
      distribution: { value: 'kubeadm', why: 'test' },
      artifacts: { value: 'debian', why: 'test' },
      cni: { value: 'bird', why: 'test' },
    },
    network: {
      bridge: 'labbr0',
      subnet: '192.168.13.0/24',
      prefixLength: 24,
      hostAddress: '192.168.13.1',
    },
    machines,
    kubernetes: {
      version: 'v1.20.2',
      podCidr: '10.255.0.0/16',
      podBlockLength: 26,
      serviceCidr: SERVICE_CIDR,
      loadBalancerCidr: LOAD_BALANCER_CIDR,
      dnsAddress: '10.96.0.10',
      domain: 'cluster.local',
      apiServer: '192.168.13.30:6443',
      dns: 'lab',
    },
    bgp: {
      clusterAsn: 65001,
      routerAsn: 65000,
      peerings: peerings(nodes),
      routerPrefixes: ['5.5.5.5/32'],
      externalPrefixes: [`${EXTERNAL_IP}/32`, LOAD_BALANCER_CIDR],
      maximumPrefix: 200,
      maximumPaths: Math.max(8, workers),
      keepaliveSeconds: 3,
      holdSeconds: 9,
    },
    echo: {
      variant,
      namespace: 'echo-server',
      externalIp: EXTERNAL_IP,
      loadBalancer: 'ipam',
      servers: Array.from({ length: workers }, (_, index) => ({
        pod: `echo-server${index + 1}`,
        hostname: `server${index + 1}`,
        node: `k8sworker${index + 1}`,
      })),
      clientPod: { pod: 'echo-client1', node: 'k8sworker1' },
      tcpPort: 1234,
      udpPort: 5678,
    },
  };
}

/** The default lab with current Kubernetes and Calico. */
export function currentPlan(distribution: 'k3s' | 'kubeadm'): LabPlan {
  const plan = calicoPlan();
  return {
    ...plan,
    choices: {
      ...plan.choices,
      distribution: { value: distribution, why: 'test' },
      artifacts: { value: 'online', why: 'test' },
    },
    kubernetes: {
      ...plan.kubernetes,
      version: distribution === 'k3s' ? 'v1.36.2+k3s1' : 'v1.36.2',
      dns: 'coredns',
    },
  };
}

/** The same lab with Calico, whose IPAM chooses the pod blocks. */
export function calicoPlan(plan: LabPlan = labPlan(), version = 'v3.32.1'): LabPlan {
  return {
    ...plan,
    choices: { ...plan.choices, cni: { value: 'calico', why: 'test' } },
    calico: { version, maximumPaths: 16 },
    machines: plan.machines.map(({ podBlock: _, ...each }) => each),
  };
}

/** The machine of that name in a plan. */
export function machine(plan: LabPlan, name: string): MachinePlan {
  const found = plan.machines.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no machine ${name}`);
  return found;
}

/** Secrets that are none: fixed, so that goldens are. */
export function labSecrets(plan: LabPlan): Secrets {
  return {
    clientKey: key('lab'),
    hostKeys: Object.fromEntries(plan.machines.map(({ name }) => [name, key(name)])),
    bgpPassword: 'not-a-secret_BGP',
    joinToken: 'abcdef.0123456789abcdef',
    serverToken: 'not-a-secret_SERVER',
    agentToken: 'not-a-secret_AGENT',
  };
}

function key(name: string): KeyPair {
  const body = Buffer.from(`no key of ${name}`).toString('base64');
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicKey: `ssh-ed25519 ${body} ${name}\n`,
  };
}

function node(name: string, role: 'control-plane' | 'worker', address: string, block: number): MachinePlan {
  return {
    name,
    role,
    address,
    podBlock: nthBlock(POD_CIDR, 26, block),
    asn: 65001,
    routes: [{ to: SERVICE_CIDR }],
  };
}

function peerings(nodes: readonly MachinePlan[]): PeeringPlan[] {
  const end = ({ name, address }: MachinePlan) => ({ machine: name, address, asn: 65001 });
  const router = { machine: 'bgp', address: ROUTER, asn: 65000 };
  const mesh = nodes.flatMap((a, index) =>
    nodes.slice(index + 1).map((b): PeeringPlan => ({ kind: 'ibgp', a: end(a), b: end(b) })),
  );
  const workers = nodes.filter(({ role }) => role === 'worker');
  return [...mesh, ...workers.map((worker): PeeringPlan => ({ kind: 'ebgp', a: router, b: end(worker) }))];
}
