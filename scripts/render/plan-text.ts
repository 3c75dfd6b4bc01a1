import { AT_RUN_TIME, findsAddresses, isPending } from '../plan/found.ts';
import { type Choice, type LabPlan, machinesOf, type PeeringPlan, theMachine } from '../plan/types.ts';
import { table, wrap as wrapText } from '../shared/text.ts';

const WIDTH = 100;
/** More sessions than this and the iBGP mesh is one line. */
const SESSIONS_LISTED = 15;

/** What the plan itself does not know: the work of this run and its traces on the host. */
export interface PlanTextExtra {
  readonly steps: readonly { readonly title: string; readonly why: string }[];
  /** Debian packages that labup would install on the host. */
  readonly toInstall: readonly string[];
  /** Artifacts that the cache lacks. */
  readonly toBuild: readonly string[];
  /** Everything outside the state folder that labup would create or change. */
  readonly hostChanges: readonly string[];
  /** What is wrong with the host: labup would stop there, before it touches anything. */
  readonly stops?: readonly string[];
  /** Harmless findings about the host. */
  readonly warnings?: readonly string[];
}

/** The readable plan for `labup --dry-run`: at most 100 columns, no colour, ends with a newline. */
export function renderPlan(plan: LabPlan, extra: PlanTextExtra): string {
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['Choices', choiceLines(plan)],
    ['Machines', machineLines(plan)],
    ['Addresses', addressLines(plan)],
    ['BGP sessions', sessionLines(plan)],
    ['Static routes', routeLines(plan)],
    ['Echo services', echoLines(plan)],
    [
      'Steps',
      extra.steps.flatMap(({ title, why }, index) =>
        entry(`${String(index + 1).padStart(2)}. ${title}`, why),
      ),
    ],
    ['To install on the host', listed(extra.toInstall, 'nothing')],
    ['To build or fetch', listed(extra.toBuild, 'nothing: all artifacts are cached')],
    ['Touched on the host', listed(extra.hostChanges, 'nothing')],
    ['labup would stop here', (extra.stops ?? []).flatMap((text) => wrap(text, '- ', '  '))],
    ['Warnings', (extra.warnings ?? []).flatMap((text) => wrap(text, '- ', '  '))],
  ];
  const body = sections
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => [title, ...lines.flatMap(fit).map((line) => `  ${line}`.trimEnd())].join('\n'));
  return `${[`Plan of lab "${plan.lab}"`, ...body].join('\n\n')}\n`;
}

function choiceLines(plan: LabPlan): string[] {
  const { driver, distribution, artifacts, cni } = plan.choices;
  const line = (name: string, { value, why }: Choice<string>) =>
    wrap(why, `${name.padEnd(13)} ${value.padEnd(8)} `, ' '.repeat(23));
  return [
    ...line('driver', driver),
    ...line('distribution', distribution),
    ...line('artifacts', artifacts),
    ...line('CNI', cni),
  ];
}

function machineLines(plan: LabPlan): string[] {
  const rows = plan.machines.map(({ name, role, address, podBlock, asn }) => [
    name,
    role,
    address,
    asn === undefined ? '-' : String(asn),
    podBlock ?? '-',
  ]);
  return table([['NAME', 'ROLE', 'ADDRESS', 'AS', 'POD BLOCK'], ...rows]);
}

function addressLines(plan: LabPlan): string[] {
  const { kubernetes, bgp } = plan;
  return table([
    ['lab network', networkText(plan)],
    [
      'pods',
      plan.choices.cni.value === 'calico'
        ? `${kubernetes.podCidr}, in blocks of /${kubernetes.podBlockLength} that Calico's IPAM gives to nodes`
        : `${kubernetes.podCidr}, a /${kubernetes.podBlockLength} per node`,
    ],
    ['services', `${kubernetes.serviceCidr}, DNS ${kubernetes.dnsAddress} (${kubernetes.domain})`],
    [
      'API server',
      `${isPending(plan) ? AT_RUN_TIME : kubernetes.apiServer} (Kubernetes ${kubernetes.version})`,
    ],
    ['external IPs', `${bgp.externalPrefixes.join(', ')}; ${giver(plan)}`],
    ['router announces', bgp.routerPrefixes.join(', ') || 'nothing'],
  ]).flatMap((line) => wrap(line, '', ' '.repeat(18)));
}

function giver({ choices, echo, calico }: LabPlan): string {
  if (choices.cni.value !== 'calico') return "given by the lab's own controller";
  return echo.loadBalancer === 'ipam'
    ? "given by Calico's IPAM"
    : `given by nobody: Calico ${calico?.version ?? ''} is not to, or cannot before 3.30`;
}

function networkText(plan: LabPlan): string {
  const { subnet, bridge, hostAddress } = plan.network;
  if (isPending(plan)) return `${AT_RUN_TIME}: the network that Multipass gives its machines`;
  if (findsAddresses(plan)) return `${subnet}, that of Multipass, host ${hostAddress}`;
  return `${subnet} on ${bridge}, host ${hostAddress}, no NAT, no uplink`;
}

function sessionLines(plan: LabPlan): string[] {
  const { peerings, keepaliveSeconds, holdSeconds, maximumPaths, maximumPrefix } = plan.bgp;
  const row = ({ kind, a, b }: PeeringPlan) => {
    const end = ({ machine, address, asn }: PeeringPlan['a']) =>
      isPending(plan) ? `${machine} AS ${asn}` : `${machine} ${address} AS ${asn}`;
    return [kind === 'ibgp' ? 'iBGP' : 'eBGP', end(a), '--', end(b)];
  };
  const listAll = peerings.length <= SESSIONS_LISTED;
  const mesh = peerings.filter(({ kind }) => kind === 'ibgp');
  const nodes = machinesOf(plan, 'control-plane', 'worker').length;
  const timers = `timers ${keepaliveSeconds}/${holdSeconds} s, maximum paths ${maximumPaths}, maximum prefix ${maximumPrefix}`;
  return [
    ...(listAll
      ? []
      : [
          `iBGP  full mesh of all ${nodes} Kubernetes nodes, AS ${plan.bgp.clusterAsn}: ${mesh.length} sessions`,
        ]),
    ...table(peerings.filter(({ kind }) => listAll || kind === 'ebgp').map(row)),
    timers,
  ];
}

function routeLines(plan: LabPlan): string[] {
  return plan.machines.flatMap(({ name, role, routes }) => {
    const none = role === 'router' ? 'none: it learns its routes by BGP' : 'none';
    const gateways = [...new Set(routes.map(({ via }) => via))];
    const texts = gateways.map((gateway) => {
      const prefixes = routes.filter(({ via }) => via === gateway).map(({ to }) => to);
      const router = isPending(plan) ? theMachine(plan, 'router').name : gateway;
      return `${prefixes.join(', ')} ${gateway === undefined ? 'on-link' : `via ${router}`}`;
    });
    const indent = nameWidth(plan) + 2;
    return wrap(texts.join('; ') || none, name.padEnd(indent), ' '.repeat(indent));
  });
}

function nameWidth(plan: LabPlan): number {
  // A name has up to 63 characters; the longest must leave room for what follows.
  return Math.min(40, Math.max(...plan.machines.map(({ name }) => name.length)));
}

function echoLines(plan: LabPlan): string[] {
  const { variant, namespace, servers, clientPod, tcpPort, udpPort, externalIp } = plan.echo;
  const pods = servers.map(({ pod, hostname, node }) => `${pod} (${hostname}) on ${node}`);
  return [
    ...wrap(
      `variant ${variant}, namespace ${namespace}, TCP/${tcpPort} and UDP/${udpPort}, external IP ${externalIp}`,
      '',
      '  ',
    ),
    ...pods,
    `${clientPod.pod} on ${clientPod.node}`,
  ];
}

function listed(items: readonly string[], none: string): string[] {
  return items.length === 0 ? [none] : items.flatMap((item) => wrap(item, '- ', '  '));
}

/** A title and, under it, its reason. */
function entry(title: string, why: string): string[] {
  return [...wrap(title, '', '    '), ...wrap(why, '    ', '    ')];
}

/** Long names make long rows: those lose their alignment and wrap. */
function fit(line: string): string[] {
  return line.length <= WIDTH - 2 ? [line] : wrap(line.replace(/ {2,}/g, ' '), '', '    ');
}

/** A text in lines that, indented by a section's two columns, fit the width. */
function wrap(text: string, first: string, rest: string): string[] {
  return wrapText(text, WIDTH - 2, rest, first);
}
