import { ensurePodBlocks } from '../cluster/nodes.ts';
import type { LabPlan } from '../plan/types.ts';
import { calicoCni } from './calico.ts';
import type { Cni } from './cni.ts';
import { ensureBirdNode } from './speakers.ts';

/**
 * The CNI reference plugins and BIRD, all of it in files of the nodes: nothing runs in the cluster. Its sessions and
 * routes are what the BGP checks look at, so that there is nothing else to wait for.
 */
export const birdCni: Cni = {
  prepareNode: (machine, node, { plan, secrets }) => ensureBirdNode(machine, plan, node, secrets),
  deploy: async () => false,
  settle: (kubectl, { plan }) => ensurePodBlocks(kubectl, plan),
  waitUntilReady: async () => {},
};

/** The CNI of a plan. */
export function cniOf(plan: LabPlan): Cni {
  return plan.choices.cni.value === 'calico' ? calicoCni : birdCni;
}
