import { parseAllDocuments } from 'yaml';
import { type LabPlan, type MachinePlan, machinesOf } from '../../../scripts/plan/types.ts';
import { renderBgpResources } from '../../../scripts/render/calico.ts';
import type { Secrets } from '../../../scripts/shared/secrets.ts';

/** What confd learns from the cluster besides BGP resources. */
export interface ClusterFacts {
  /** Confirmed block affinities, by node. */
  readonly blocks: Readonly<Record<string, string>>;
  /** Single service addresses, with the nodes that announce them (confd's routes.go). */
  readonly services: Readonly<Record<string, readonly string[]>>;
}

interface Rule {
  readonly action: string;
  readonly cidr?: string;
  readonly matchOperator?: string;
  readonly source?: string;
  readonly interface?: string;
}

const MAX = 2147483647;
const NORMAL = 1024;
const OPERATORS: Readonly<Record<string, string>> = { Equal: '=', NotEqual: '!=', In: '~', NotIn: '!~' };

/**
 * A stand-in for confd of Calico 3.32.1: the bird.cfg, bird_ipam.cfg and bird_aggr.cfg, in one text, that it would make
 * for a node from the resources which the lab renders. Statement by statement after confd/etc/calico/confd/templates and
 * confd/pkg/backends/calico/bgp_processor.go; left out is what the lab has not: tunnels, communities, route reflectors.
 */
export function calicoBirdConf(
  plan: LabPlan,
  node: MachinePlan,
  facts: ClusterFacts,
  secrets: Secrets,
): string {
  const [configuration, filter, peer] = parseAllDocuments(
    renderBgpResources(plan, 'projectcalico.org/v3'),
  ).map((document) => document.toJS());
  const { asNumber, serviceClusterIPs } = configuration.spec;
  const cidrs: readonly string[] = serviceClusterIPs.map(({ cidr }: { cidr: string }) => cidr);
  const own = Object.entries(facts.services).flatMap(([prefix, nodes]) =>
    nodes.includes(node.name) ? [prefix] : [],
  );
  const statics = [...cidrs, ...own];
  const block = facts.blocks[node.name];
  const pool = plan.kubernetes.podCidr;
  const isPeer = node.role === 'worker';
  const mesh = machinesOf(plan, 'control-plane', 'worker').filter(({ name }) => name !== node.name);
  return `
function apply_communities () { }
protocol static {
${block === undefined ? '' : `   route ${block} blackhole;`}
${statics.map((prefix) => `   route ${prefix} blackhole;`).join('\n')}
}
function calico_aggr () {
${block === undefined ? '' : aggregate(block)}
}
function reject_tunnel_routes () {
  if (defined(ifname)) then { if ((ifname ~ "*.cali") || (ifname ~ "*.calico")) then { reject; } }
}
function reject_local_routes () {
  if (defined(ifname)) then { if (ifname ~ "bpf*.cali") then { reject; } }
}
function calico_export_to_bgp_peers(bool internal_peer) {
  if (internal_peer) then { reject_tunnel_routes(); }
  reject_local_routes();
  apply_communities();
  calico_aggr();
${statics.map((prefix) => `  if ( net ~ ${prefix} ) then { accept; }`).join('\n')}
  if (net ~ ${pool}) then { accept; }
}
filter calico_kernel_programming {
${cidrs.map((cidr) => `  if ( net ~ ${cidr} ) then { reject; }`).join('\n')}
  if (defined(source) && (source = RTS_BGP) && !defined(krt_metric)) then {
      krt_metric = ${NORMAL};
      if (defined(bgp_local_pref)) then { krt_metric = ${MAX} - bgp_local_pref; }
      if (krt_metric < ${NORMAL}) then { preference = 200; }
  }
  if (net ~ ${pool}) then { accept; }
  accept;
}
router id ${node.address};
protocol kernel { learn; persist; scan time 2; import all; export filter calico_kernel_programming; graceful restart; merge paths on; }
protocol device { debug { states }; scan time 2; }
protocol direct { debug { states }; interface -"cali*", -"kube-ipvs*", "*"; }
template bgp bgp_template {
  debug { states };
  description "Connection to BGP peer";
  local as ${asNumber};
  gateway recursive;
  add paths on;
  graceful restart;
  connect delay time 2;
  connect retry time 5;
  error wait time 5,30;
}
function 'bgp_lab-router_importFilterV4'() {
${statements(filter.spec.importV4)}
}
function 'bgp_lab-router_exportFilterV4'() {
${statements(filter.spec.exportV4)}
}
${mesh.map((other) => meshProtocol(node, other, asNumber, seconds(configuration.spec.nodeMeshMaxRestartTime))).join('\n')}
${isPeer ? peerProtocol(node, peer.spec, secrets.bgpPassword) : ''}
`;
}

function aggregate(block: string): string {
  return `
      if ( net = ${block} ) then { accept; }
      if ( net ~ ${block} && krt_metric < ${NORMAL} ) then { accept; }
      if ( net ~ ${block} ) then { reject; }`;
}

function meshProtocol(own: MachinePlan, other: MachinePlan, asn: number, restart: number): string {
  return `protocol bgp Mesh_${other.address.replaceAll('.', '_')} from bgp_template {
  neighbor ${other.address} as ${asn};
  source address ${own.address};
  import filter { ${importEnd} };
  export filter { ${exportStart} calico_export_to_bgp_peers(true); reject; };
  ${other.address > own.address ? 'passive on;' : ''}
  graceful restart time ${restart};
}`;
}

function peerProtocol(own: MachinePlan, spec: Readonly<Record<string, string>>, password: string): string {
  return `protocol bgp Node_${spec.peerIP?.replaceAll('.', '_')} from bgp_template {
  ttl security off;
  multihop;
  neighbor ${spec.peerIP} as ${spec.asNumber};
  source address ${own.address};
  import filter { 'bgp_lab-router_importFilterV4'(); ${importEnd} };
  export filter { ${exportStart} 'bgp_lab-router_exportFilterV4'(); calico_export_to_bgp_peers(false); reject; };
  graceful restart time ${seconds(spec.maxRestartTime)};
  ${spec.keepaliveTime === undefined ? '' : `keepalive time ${seconds(spec.keepaliveTime)};`}
  password "${password}";
}`;
}

const importEnd = `if (defined(bgp_local_pref)&&(bgp_local_pref > ${MAX - NORMAL})) then preference = 200; accept;`;
const exportStart = `
    if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {
      krt_metric = ${MAX} - bgp_local_pref;
    } else {
      if (!defined(krt_metric)) then { krt_metric = ${NORMAL}; }
      bgp_local_pref = ${MAX} - krt_metric;
    }`;

/** template_funcs.go, filterStatement. */
function statements(rules: readonly Rule[]): string {
  return rules
    .map(({ action, cidr, matchOperator = '', source, interface: nic }) => {
      const conditions = [
        ...(cidr === undefined ? [] : [`(net ${OPERATORS[matchOperator]} ${cidr})`]),
        ...(source === undefined ? [] : ['((defined(source))&&(source ~ [ RTS_BGP ]))']),
        ...(nic === undefined ? [] : [`((defined(ifname))&&(ifname ~ "${nic}"))`]),
      ];
      const verdict = `${action.toLowerCase()};`;
      return conditions.length === 0 ? `  ${verdict}` : `  if (${conditions.join('&&')}) then { ${verdict} }`;
    })
    .join('\n');
}

function seconds(duration: unknown): number {
  const [, number] = /^(\d+)s$/.exec(String(duration)) ?? [];
  if (number === undefined) throw new Error(`not a duration in seconds: ${duration}`);
  return Number(number);
}
