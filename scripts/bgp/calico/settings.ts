import { z } from 'zod';
import { HarnessError } from '../../shared/errors.ts';
import type { CalicoObject } from './objects.ts';

/** A block of the pod CIDR that Calico's IPAM has given to a node. A node may have several, or none yet. */
export interface PodBlock {
  readonly prefix: string;
  readonly node: string;
}

/** One of Calico's IPPools for pods. */
export interface IpPool {
  readonly cidr: string;
  readonly natOutgoing: boolean;
  /** How packets between nodes are carried, where they are: `CrossSubnet` between subnets only. */
  readonly ipip: EncapMode;
  readonly vxlan: EncapMode;
  /** No new addresses are taken from it; those that were go on. */
  readonly disabled: boolean;
}
type EncapMode = 'Never' | 'Always' | 'CrossSubnet';

/** What Calico's own objects set, as far as routes and masquerading follow from it. */
export interface CalicoSettings {
  readonly pools: readonly IpPool[];
  /** Every node has a session with every other one. */
  readonly nodeMesh: boolean;
  /** Prefixes of service addresses that nodes announce. */
  readonly serviceClusterIps: readonly string[];
  readonly serviceExternalIps: readonly string[];
  readonly serviceLoadBalancerIps: readonly string[];
  /** A pool of addresses of load balancers is announced as a whole, not each address. */
  readonly aggregatesLoadBalancers: boolean;
}

const mode = z
  .enum(['', 'Never', 'Always', 'CrossSubnet'])
  .nullish()
  .transform((value): EncapMode => value || 'Never');
const cidrs = z
  .array(z.looseObject({ cidr: z.string().optional() }))
  .nullish()
  .transform((items) => (items ?? []).flatMap(({ cidr }) => cidr ?? []));

/**
 * `deleted` is a string in crd.projectcalico.org/v1. `type` is "host", or "virtual" for the addresses of LoadBalancer services;
 * without it (Calico up to 3.29) all are of nodes.
 */
const affinity = z.looseObject({
  cidr: z.string(),
  node: z.string(),
  state: z.string().nullish(),
  type: z.string().nullish(),
  deleted: z.union([z.boolean(), z.string()]).nullish(),
});
const pool = z.looseObject({
  cidr: z.string(),
  natOutgoing: z.boolean().default(false),
  ipipMode: mode,
  vxlanMode: mode,
  disabled: z.boolean().default(false),
  allowedUses: z.array(z.string()).nullish(),
});
const configuration = z.looseObject({
  nodeToNodeMeshEnabled: z.boolean().default(true),
  serviceClusterIPs: cidrs,
  serviceExternalIPs: cidrs,
  serviceLoadBalancerIPs: cidrs,
  serviceLoadBalancerAggregation: z.string().default('Enabled'),
});

/** The blocks that nodes own and announce, sorted. Throws HarnessError where an object is not what Calico writes. */
export function podBlocksOf(objects: readonly CalicoObject[]): readonly PodBlock[] {
  return specsOf(objects, 'BlockAffinity', affinity)
    .filter(({ type, deleted }) => (type || 'host') === 'host' && String(deleted ?? false) === 'false')
    .filter(({ state }) => (state || 'confirmed') === 'confirmed')
    .map(({ cidr, node }) => ({ prefix: cidr, node }))
    .sort((a, b) => a.prefix.localeCompare(b.prefix, 'en', { numeric: true }));
}

/** The settings of IPv4. Throws HarnessError where an object is not what Calico writes. */
export function calicoSettings(objects: readonly CalicoObject[]): CalicoSettings {
  const named = objects.filter(({ name }) => name === 'default');
  const [bgp = configuration.parse({})] = specsOf(named, 'BGPConfiguration', configuration);
  return {
    // Felix leaves pools of load balancers out of its IP sets (3.31.7, 3.32.1; before that it did not, which does no harm).
    pools: specsOf(objects, 'IPPool', pool)
      .filter(({ allowedUses }) => !allowedUses?.length || allowedUses.some((use) => use !== 'LoadBalancer'))
      .filter(({ cidr }) => !cidr.includes(':'))
      .map(({ cidr, natOutgoing, ipipMode: ipip, vxlanMode: vxlan, disabled }) => ({
        cidr,
        natOutgoing,
        ipip,
        vxlan,
        disabled,
      }))
      .sort((a, b) => a.cidr.localeCompare(b.cidr, 'en', { numeric: true })),
    nodeMesh: bgp.nodeToNodeMeshEnabled,
    serviceClusterIps: bgp.serviceClusterIPs,
    serviceExternalIps: bgp.serviceExternalIPs,
    serviceLoadBalancerIps: bgp.serviceLoadBalancerIPs,
    aggregatesLoadBalancers: bgp.serviceLoadBalancerAggregation === 'Enabled',
  };
}

function specsOf<T extends z.ZodType>(
  objects: readonly CalicoObject[],
  kind: string,
  schema: T,
): z.output<T>[] {
  return objects
    .filter((each) => each.kind === kind)
    .map(({ name, spec }) => {
      const read = schema.safeParse(spec);
      if (read.success) return read.data;
      throw new HarnessError(`Calico's ${kind} ${name} is not what was expected.`, {
        details: z.prettifyError(read.error).split('\n'),
        cause: read.error,
      });
    });
}
