import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { readAsset } from '../shared/assets.ts';
import { podBlockOf } from './bird.ts';
import { fillTemplate } from './template.ts';

/**
 * The CNI configuration of one node: a routed veth per pod, addresses from the node's own block. The pods' gateway is
 * the node's own address, so that no address of the block is spent on the node and masqueraded traffic shows the node's
 * address. Leases are kept in /run: they end with the pods at a reboot.
 */
export function renderCniConflist(machine: MachinePlan): string {
  return fillTemplate(readAsset('bird', 'cni', '10-lab.conflist'), {
    POD_BLOCK: podBlockOf(machine),
    NODE_ADDRESS: machine.address,
  });
}

/** The rules, for iptables-restore, that masquerade what leaves the pod network. */
export function renderNatOutgoingRules(plan: LabPlan): string {
  return fillTemplate(readAsset('bird', 'cni', 'nat-outgoing.rules'), { POD_CIDR: plan.kubernetes.podCidr });
}
