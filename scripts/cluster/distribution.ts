import type { RemoteMachine } from '../exec/ssh.ts';
import type { Software } from '../plan/software.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import type { Emit } from '../shared/events.ts';
import type { RenderedFile } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { DistributionName } from '../spec/types.ts';
import type { Kubectl } from './kubectl.ts';

/** The administrator's access to a cluster. */
export interface AdminAccess {
  /** With the server's address as the certificate has it. */
  readonly kubeconfig: string;
  /** The cluster's CA certificate, PEM. */
  readonly ca: string;
}

/** What the nodes of a cluster that has yet to be made are given before anything of it runs. */
export interface Credentials extends AdminAccess {
  /** The files of each node, by its name. */
  readonly files: ReadonlyMap<string, readonly RenderedFile[]>;
}

/** What every step of a distribution works with. */
export interface ClusterContext {
  readonly plan: LabPlan;
  readonly secrets: Secrets;
  readonly emit: Emit;
  readonly signal?: AbortSignal | undefined;
  /** Where the whole cluster is made now, and its credentials were made beforehand. */
  readonly credentials?: Credentials | undefined;
}

/**
 * How Kubernetes gets on machines. Every verb looks first, does only what is missing, undoes what a killed run has left
 * half-done, and returns whether it had to do anything.
 */
export interface Distribution {
  readonly name: DistributionName;
  /** The distribution's own programs and container images on a node: nothing of them runs yet. */
  install(machine: RemoteMachine, node: MachinePlan, software: Software, emit: Emit): Promise<boolean>;
  /** What must run on a node, the control plane too, before its Kubernetes is made. */
  prepareNode(machine: RemoteMachine): Promise<void>;
  /** Nothing of it runs before `prepared` is settled. */
  ensureControlPlane(
    machine: RemoteMachine,
    context: ClusterContext,
    prepared?: Promise<unknown>,
  ): Promise<boolean>;
  readAdminAccess(machine: RemoteMachine): Promise<AdminAccess>;
  /** Whether this machine has joined completely: the cluster of this CA certificate (PEM), where it is given. */
  isJoined(machine: RemoteMachine, ca?: string): Promise<boolean>;
  /**
   * Takes apart what is on a machine that has yet to join and cannot be joined with. Returns whether no node of this
   * cluster runs there then: a node object of its name is a dead one.
   */
  clearWorker(machine: RemoteMachine, ca: string, context: ClusterContext): Promise<boolean>;
  /** What the cluster must have before any worker joins; called only when one has to. */
  prepareJoin(kubectl: Kubectl, context: ClusterContext): Promise<void>;
  /** Joins one worker that was cleared. `ca` is the cluster's CA certificate, PEM. */
  join(machine: RemoteMachine, node: MachinePlan, ca: string, context: ClusterContext): Promise<void>;
  /** Starts a worker that was cleared with the credentials of the context: it is a node as soon as the API server answers. */
  startWorker?(machine: RemoteMachine, node: MachinePlan, context: ClusterContext): Promise<void>;
  /** Completes what `join` would have done of workers that were started so, once they are nodes. */
  completeWorkers?(
    kubectl: Kubectl,
    machines: readonly RemoteMachine[],
    context: ClusterContext,
  ): Promise<void>;
}
