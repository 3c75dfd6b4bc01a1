import type { ClusterContext } from '../cluster/distribution.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
import type { RemoteMachine } from '../exec/ssh.ts';
import type { Software } from '../plan/software.ts';
import type { MachinePlan } from '../plan/types.ts';

/**
 * The pod network and who announces it. Every verb looks first and does only what is missing; it returns whether it had
 * to do anything.
 */
export interface Cni {
  /** On a Kubernetes node, before Kubernetes is there. */
  prepareNode(machine: RemoteMachine, node: MachinePlan, context: ClusterContext): Promise<boolean>;
  /** In the cluster, as soon as its API answers. */
  deploy(kubectl: Kubectl, software: Software, context: ClusterContext): Promise<boolean>;
  /** In the cluster, when every node of the plan has joined. */
  settle(kubectl: Kubectl, context: ClusterContext): Promise<boolean>;
  /** Waits until the CNI itself says that it works on every node. */
  waitUntilReady(kubectl: Kubectl, context: ClusterContext): Promise<void>;
}
