import { type LabPlan, theMachine } from '../plan/types.ts';
import { type RenderedFile, readAsset } from '../shared/files.ts';
import { firstOf, fromNumber, parseCidr } from '../shared/ip.ts';
import type { Secrets } from '../shared/secrets.ts';
import { checkedPassword, sessionsOf } from './sessions.ts';
import { fillTemplate } from './template.ts';

/** FRR's files on the router. frr.conf holds the BGP password: 0640, as the package has it. */
export function renderRouterFiles(plan: LabPlan, secrets: Secrets): RenderedFile[] {
  return [
    { path: '/etc/frr/daemons', content: readAsset('frr', 'daemons'), mode: 0o640, owner: 'frr:frr' },
    {
      path: '/etc/frr/vtysh.conf',
      content: readAsset('frr', 'vtysh.conf'),
      mode: 0o640,
      owner: 'frr:frrvty',
    },
    { path: '/etc/frr/frr.conf', content: renderFrrConf(plan, secrets), mode: 0o640, owner: 'frr:frr' },
  ];
}

/** frr.conf: neighbors from the plan's eBGP sessions, prefix lists from its prefixes. */
export function renderFrrConf(plan: LabPlan, secrets: Secrets): string {
  const router = theMachine(plan, 'router');
  const { podCidr, podBlockLength, serviceCidr } = plan.kubernetes;
  const { routerPrefixes, externalPrefixes } = plan.bgp;
  const podBlocks =
    podBlockLength === parseCidr(podCidr)?.length
      ? podCidr
      : `${podCidr} ge ${podBlockLength} le ${podBlockLength}`;
  // An external address is announced by itself, never with its neighbours.
  const externals = externalPrefixes.map((each) => (each.endsWith('/32') ? each : `${each} ge 32`));
  return fillTemplate(readAsset('frr', 'frr.conf'), {
    HOSTNAME: router.name,
    ROUTER_ASN: String(plan.bgp.routerAsn),
    ROUTER_ADDRESS: router.address,
    CLUSTER_ASN: String(plan.bgp.clusterAsn),
    BGP_PASSWORD: checkedPassword(secrets.bgpPassword),
    KEEPALIVE: String(plan.bgp.keepaliveSeconds),
    HOLD: String(plan.bgp.holdSeconds),
    MAXIMUM_PREFIX: String(plan.bgp.maximumPrefix),
    MAXIMUM_PATHS: String(plan.bgp.maximumPaths),
    LO_ADDRESSES: lines(routerPrefixes.map((prefix) => `ip address ${hostAddress(prefix)}`)),
    PREFIXES_IN: prefixList('K8S-IN', [podBlocks, serviceCidr, ...externals]),
    PREFIXES_OUT: prefixList('K8S-OUT', routerPrefixes),
    NEIGHBORS: lines(
      sessionsOf(plan, router).map(({ peer }) =>
        [
          `neighbor ${peer.address} peer-group K8S`,
          `neighbor ${peer.address} description ${peer.machine}`,
        ].join('\n'),
      ),
    ),
    NETWORKS: lines(routerPrefixes.map((prefix) => `network ${prefix}`)),
  });
}

// Says the deny of an empty list aloud: nobody should have to know what a list without entries matches.
function prefixList(name: string, prefixes: readonly string[]): string {
  if (prefixes.length === 0) return `ip prefix-list ${name} seq 10 deny any`;
  return lines(
    prefixes.map((prefix, index) => `ip prefix-list ${name} seq ${(index + 1) * 10} permit ${prefix}`),
  );
}

// A prefix is an address already when it is a /32; of a wider one, lo gets the first address after the network's own.
function hostAddress(prefix: string): string {
  const cidr = parseCidr(prefix);
  if (cidr === undefined) throw new Error(`not a prefix: ${prefix}`);
  return `${fromNumber(firstOf(cidr) + (cidr.length < 31 ? 1 : 0))}/${cidr.length}`;
}

function lines(all: readonly string[]): string {
  return all.join('\n');
}
