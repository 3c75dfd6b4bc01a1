import type { RemoteMachine } from '../exec/ssh.ts';
import { ensureUnits } from '../machines/deliver.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { renderNodeFiles } from '../render/bird.ts';
import { renderRouterFiles } from '../render/frr.ts';
import type { Secrets } from '../shared/secrets.ts';

/** FRR on the router, configured and running. Returns whether anything had to be done. */
export async function ensureRouter(
  machine: RemoteMachine,
  plan: LabPlan,
  secrets: Secrets,
): Promise<boolean> {
  return ensureUnits(machine, renderRouterFiles(plan, secrets), ['frr.service']);
}

/**
 * The `bird` CNI on a Kubernetes node: CNI configuration, BIRD, the announcer and the nat-outgoing rule. The announcer
 * waits by itself for the certificate that kubelet gets when the node joins.
 */
export async function ensureBirdNode(
  machine: RemoteMachine,
  plan: LabPlan,
  node: MachinePlan,
  secrets: Secrets,
): Promise<boolean> {
  const units = ['lab-nat-outgoing.service', 'bird.service', 'lab-announcer.service'];
  return ensureUnits(machine, renderNodeFiles(plan, node, secrets), units);
}
