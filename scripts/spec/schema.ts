import { z } from 'zod';
import {
  ARTIFACTS_NAMES,
  DISTRIBUTION_NAMES,
  DRIVER_NAMES,
  ECHO_NAMESPACE,
  ECHO_VARIANTS,
  LOAD_BALANCERS,
  MACHINE_ROLES,
  PROXY_MODES,
} from './names.ts';
import {
  ADDRESS_PATTERN,
  ASDOT_PATTERN,
  ASN_MAX,
  ASN_MIN,
  addressProblem,
  asnProblem,
  BRIDGE_PATTERN,
  bridgeProblem,
  CIDR_PATTERN,
  cidrProblem,
  type FormatProblem,
  NAME_PATTERN,
  nameProblem,
  namespaceProblem,
} from './problems.ts';

/** The version of lab.yaml that this release reads. */
export const SPEC_VERSION = 1;

// kube-apiserver refuses more than 20 host bits; a /28 still holds the API's and DNS's fixed addresses and the echo services.
const SERVICE_LENGTHS = [12, 28] as const;
// kubeadm refuses a pod subnet longer than a node's default /24, and one more than 16 bits wider than a node's block.
const POD_LENGTHS = [10, 24] as const;
/** How large the lab network may be. */
export const SUBNET_LENGTHS = [8, 29] as const;
// Each address that is given is a route: far below maximum-prefix, at which a session is closed.
const LOAD_BALANCER_LENGTHS = [25, 32] as const;
const ROUTER_PREFIX_LENGTHS = [8, 32] as const;
/** Far below maximum-prefix, at which a session is closed. */
const ROUTER_PREFIXES_MAX = 64;

/** Reports a FormatProblem through zod; the fix travels in `params.hint`. */
function faultCheck<T>(find: (value: T) => FormatProblem | undefined): z.core.CheckFn<T> {
  return (context) => {
    const fault = find(context.value);
    if (fault === undefined) return;
    const { message, hint } = fault;
    context.issues.push({ code: 'custom', input: context.value, message, params: { hint } });
  };
}

// `pattern`, `minimum` and `maximum` in meta() are for editors, through the JSON Schema; the checks decide.
function cidr([shortest, longest]: readonly [number, number], description: string) {
  return z
    .string()
    .check(faultCheck((text) => cidrProblem(text, shortest, longest)))
    .meta({ description, pattern: CIDR_PATTERN });
}

function address(description: string) {
  return z.string().check(faultCheck(addressProblem)).meta({ description, pattern: ADDRESS_PATTERN });
}

function name(description: string) {
  return z
    .string()
    .check(faultCheck(nameProblem))
    .meta({ description, pattern: NAME_PATTERN, maxLength: 63 });
}

function asn(description: string) {
  return z
    .number()
    .check(faultCheck(asnProblem))
    .meta({
      description,
      type: ['number', 'string'],
      minimum: ASN_MIN,
      maximum: ASN_MAX,
      pattern: ASDOT_PATTERN,
    });
}

const sshSchema = z
  .strictObject({
    host: z.string().min(1).describe('Host name or address that SSH connects to.'),
    port: port('Its SSH port.').default(22),
    user: z.string().min(1).default('root').describe('Its user: root, or one with passwordless sudo.'),
    key: z.string().min(1).optional().describe('Path of a private key. Default: the SSH agent.'),
    knownHosts: z
      .string()
      .min(1)
      .optional()
      .describe("Path of the known_hosts file that its host key is in. Default: the user's own."),
    jump: z
      .string()
      .regex(/^[^@\s]+@[^@:\s]+(:\d+)?$/, 'not "user@host" or "user@host:port"')
      .optional()
      .describe('A host that the connection goes through: "user@host" or "user@host:port".'),
    jumpKey: z
      .string()
      .min(1)
      .optional()
      .describe('Path of the private key for the jump host. Default: "key", else the SSH agent.'),
  })
  .describe('Driver ssh: how a machine that exists already is reached.');

const machineSchema = z
  .strictObject({
    name: name('Host name, instance name and node name of the machine.'),
    role: z
      .enum(MACHINE_ROLES)
      .describe('Exactly one control-plane and one router, 1 to 20 workers, any number of clients.'),
    address: address('Its address in network.subnet.'),
    routed: z
      .boolean()
      .optional()
      .describe(
        'Clients only: whether routes to the pod, service and external prefixes lead through the router.',
      ),
    ssh: sshSchema.optional(),
  })
  .describe('One machine of the lab.');

const networkSchema = z.strictObject({
  subnet: cidr(SUBNET_LENGTHS, 'The lab network. It must not overlap a network of the host.').default(
    '192.168.13.0/24',
  ),
  host: address(
    "The host's own address on the lab bridge. Default: the first address of the subnet.",
  ).optional(),
  bridge: z
    .string()
    .check(faultCheck(bridgeProblem))
    .meta({
      description: 'Interface name of the lab bridge on the host.',
      pattern: BRIDGE_PATTERN,
      maxLength: 15,
    })
    .default('labbr0'),
});

const kubernetesSchema = z.strictObject({
  podCidr: cidr(POD_LENGTHS, 'Pod addresses; every node gets a /26 of it.').default('10.255.0.0/16'),
  serviceCidr: cidr(SERVICE_LENGTHS, 'ClusterIP addresses; cluster DNS is the tenth.').default(
    '10.96.0.0/12',
  ),
  loadBalancerCidr: cidr(
    LOAD_BALANCER_LENGTHS,
    'Addresses for services of type LoadBalancer; those that are given are announced by BGP, a /32 each.',
  ).default('203.0.113.16/28'),
  proxyMode: z
    .enum(PROXY_MODES)
    .default('iptables')
    .describe(
      "kube-proxy's mode. nftables: from Kubernetes 1.31 on. ipvs: with Calico; labtest does not model it and says so.",
    ),
});

const bgpSchema = z.strictObject({
  clusterAsn: asn('AS number of all Kubernetes nodes (iBGP mesh): 65001, or 1.10 in asdot notation.').default(
    65001,
  ),
  routerAsn: asn('AS number of the router (eBGP to every worker).').default(65000),
  routerPrefixes: z
    .array(cidr(ROUTER_PREFIX_LENGTHS, 'A prefix that the router originates.'))
    .max(ROUTER_PREFIXES_MAX)
    .default(['5.5.5.5/32'])
    .describe('Prefixes that the router originates, so that the nodes show a route learned from it.'),
});

const echoSchema = z.strictObject({
  variant: z
    .enum(ECHO_VARIANTS)
    .default('full')
    .describe(
      'full: every service type, externalTrafficPolicy Local. simple: a NodePort with policy Cluster.',
    ),
  namespace: z
    .string()
    .check(faultCheck(namespaceProblem))
    .meta({ description: 'Namespace of the echo workloads.', pattern: NAME_PATTERN, maxLength: 63 })
    .default(ECHO_NAMESPACE),
  tcpPort: port('Port of the echo servers and of their services over TCP.').default(1234),
  udpPort: port('The same over UDP.').default(5678),
  externalIp: address('External IP of the LoadBalancer service, announced by BGP.').default('2.2.2.2'),
  loadBalancer: z
    .enum(LOAD_BALANCERS)
    .default('ipam')
    .describe(
      "Where the LoadBalancer service has it: in status.loadBalancer (ipam), written by the lab's own controller or by Calico's from 3.30 on, or in spec.externalIPs, which are deprecated since Kubernetes 1.36.",
    ),
});

function port(description: string) {
  return z.int().min(1).max(65535).describe(description);
}

function vmSize(role: string, cpus: number, memory: string, disk: string) {
  const amount = (description: string) =>
    z
      .string()
      .regex(/^\d+(\.\d+)?[KMG]$/, 'not a size such as "512M" or "2G"')
      .describe(description);
  return z
    .strictObject({
      cpus: z.int().min(1).max(64).default(cpus).describe('Virtual processors.'),
      memory: amount('Memory, for example "2G".').default(memory),
      disk: amount('Disk, for example "10G"; at least what the image needs.').default(disk),
    })
    .describe(`Size of ${role}.`)
    .prefault({});
}

const multipassSchema = z
  .strictObject({
    image: z
      .string()
      .regex(/^[^-\s]\S*$/, 'not an image name')
      .default('24.04')
      .describe('The image, as "multipass launch" takes it.'),
    parallel: z
      .int()
      .min(1)
      .max(8)
      .default(2)
      .describe('How many are launched at once, after a first one has warmed the image.'),
    sizes: z
      .strictObject({
        'control-plane': vmSize('the control plane', 2, '2G', '10G'),
        worker: vmSize('a worker', 1, '1.5G', '8G'),
        router: vmSize('the router', 1, '512M', '5G'),
        client: vmSize('a client', 1, '512M', '5G'),
      })
      .describe('Size of each kind of machine.')
      .prefault({}),
    network: z
      .strictObject({
        mode: z
          .enum(['static', 'bridge', 'dhcp'])
          .default('static')
          .describe(
            "static: the lab's addresses are second addresses on Multipass' own network. bridge: on a second NIC. " +
              "dhcp: the machines' own addresses, found at run time, are the lab's; those in lab.yaml are not used.",
          ),
        bridge: z
          .string()
          .min(1)
          .optional()
          .describe('mode bridge: a network of "multipass networks" of type bridge or switch.'),
      })
      .check(({ value, issues }) => {
        if (value.mode !== 'bridge' || value.bridge !== undefined) return;
        const hint = 'add a network of type bridge or switch: multipass networks   (lists them)';
        const message = 'is missing, with mode bridge';
        issues.push({ code: 'custom', input: value, path: ['bridge'], message, params: { hint } });
      })
      .describe("Where the machines have the lab's addresses.")
      .prefault({}),
  })
  .describe('Driver multipass: what virtual machines are made from.');

const timeoutsSchema = z.strictObject({
  scale: z
    .number()
    .min(1)
    .max(100)
    .default(1)
    .describe(
      'How many times as long as usual everything is waited for. Emulated machines (no hardware virtualization) need 10. It may change while the lab is up.',
    ),
});

const testSchema = z.strictObject({
  namespaces: z
    .array(name('The name of a namespace.'))
    .min(1)
    .optional()
    .describe(
      "The namespaces whose services and pods labtest tests. Default: the lab's own and every other one but Kubernetes' own. It may change while the lab is up.",
    ),
});

/** Strict: unknown keys fail. Absent sections and keys take the values of the default lab. */
export const labSchema = z
  .strictObject({
    version: z.literal(SPEC_VERSION).describe('Version of this file format.'),
    name: name('Name of the lab: its state folder and its project. A second lab needs another.').default(
      'bgp-lab',
    ),
    driver: z
      .enum([...DRIVER_NAMES, 'auto'])
      .default('auto')
      .describe('Where machines come from. auto: multipass if installed, else incus.'),
    distribution: z
      .enum([...DISTRIBUTION_NAMES, 'auto'])
      .default('auto')
      .describe(
        'How Kubernetes gets on them. auto: k3s with online artifacts, what a bundle holds, else kubeadm.',
      ),
    artifacts: z
      .enum([...ARTIFACTS_NAMES, 'auto'])
      .default('auto')
      .describe('Where binaries and images come from. auto: debian, or online where k3s is asked for.'),
    bundle: z
      .string()
      .min(1)
      .optional()
      .describe('artifacts bundle: the folder with bundle.yaml in it, as "lab bundle create" makes it.'),
    network: networkSchema.prefault({}).describe('The network that all machines share.'),
    machines: z
      .array(machineSchema)
      .optional()
      .describe(
        'All machines, in the order in which they get pod blocks. Default: the seven of the default lab.',
      ),
    kubernetes: kubernetesSchema.prefault({}).describe('Address plan of the cluster.'),
    bgp: bgpSchema.prefault({}).describe('AS numbers and prefixes of the router.'),
    echo: echoSchema.prefault({}).describe('The echo workload.'),
    timeouts: timeoutsSchema.prefault({}).describe('How long labup waits.'),
    test: testSchema.prefault({}).describe('What labtest tests.'),
    multipass: multipassSchema.prefault({}),
  })
  .describe('A Kubernetes BGP lab (lab.yaml).');

/** A spec with every value acceptable by itself; what spans several values is not checked yet. */
export type ParsedSpec = z.output<typeof labSchema>;

/** The JSON Schema of lab.yaml for editors, as the text of lab.schema.json. */
export function labJsonSchema(): string {
  const schema = z.toJSONSchema(labSchema, { io: 'input', target: 'draft-7' });
  return `${JSON.stringify({ title: 'lab.yaml', ...schema }, undefined, 2)}\n`;
}
