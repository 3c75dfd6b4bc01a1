import type { RemoteMachine } from '../exec/ssh.ts';
import { requireMachine } from '../machines/connect.ts';
import { type MachinePlan, machinesOf } from '../plan/types.ts';
import type { ClusterContext, Distribution } from './distribution.ts';
import type { Kubectl } from './kubectl.ts';
import { ensureNodeAddress } from './node-address.ts';
import { removeDeadNodes } from './nodes.ts';

/** The workers of a cluster, and what they join it with. `ca` is the cluster's CA certificate, PEM. */
export interface Workers {
  readonly distribution: Distribution;
  readonly machines: ReadonlyMap<string, RemoteMachine>;
  readonly kubectl: Kubectl;
  readonly ca: string;
  /** Those that were started beside the control plane. */
  readonly started?: readonly MachinePlan[];
}

/**
 * The workers that have yet to join. What an earlier try of them has left is gone then, on the machine and in the API, so
 * that nothing that is applied meanwhile is taken for done on a dead node.
 */
export async function clearedWorkers(
  { distribution, machines, kubectl, ca, started = [] }: Workers,
  context: ClusterContext,
): Promise<readonly MachinePlan[]> {
  const looked = await Promise.all(
    machinesOf(context.plan, 'worker').map(async (node) => {
      if (started.includes(node)) return [];
      const machine = requireMachine(machines, node.name);
      if (await distribution.isJoined(machine, ca)) return [];
      return [{ node, isDead: await distribution.clearWorker(machine, ca, context) }];
    }),
  );
  const missing = looked.flat();
  const dead = missing.filter(({ isDead }) => isDead).map(({ node }) => node.name);
  if (dead.length > 0) await removeDeadNodes(kubectl, dead, context.emit);
  return missing.map(({ node }) => node);
}

/** Joins the workers that have yet to, and has every worker known by its address. Returns whether anything was done. */
export async function joinWorkers(
  { distribution, machines, kubectl, ca, started = [] }: Workers,
  missing: readonly MachinePlan[],
  context: ClusterContext,
): Promise<boolean> {
  const { plan, emit } = context;
  if (missing.length > 0) {
    await distribution.prepareJoin(kubectl, context);
    const join = (node: MachinePlan) =>
      distribution.join(requireMachine(machines, node.name), node, ca, context);
    await Promise.all(missing.map(join));
  }
  const moved = await Promise.all(
    machinesOf(plan, 'worker').map(({ name, address }) =>
      ensureNodeAddress(requireMachine(machines, name), plan, address, emit),
    ),
  );
  return started.length + missing.length > 0 || moved.includes(true);
}
