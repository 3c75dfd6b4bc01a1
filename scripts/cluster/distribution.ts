import type { RemoteMachine } from '../exec/ssh.ts';
import type { Software } from '../plan/software.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import type { Emit } from '../shared/events.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { DistributionName } from '../spec/types.ts';
import type { Kubectl } from './kubectl.ts';

/** What every step of a distribution works with. */
export interface ClusterContext {
  readonly plan: LabPlan;
  readonly secrets: Secrets;
  readonly emit: Emit;
  readonly signal?: AbortSignal | undefined;
}

/** The administrator's access to a cluster. */
export interface AdminAccess {
  /** With the server's address as the certificate has it. */
  readonly kubeconfig: string;
  /** The cluster's CA certificate, PEM. */
  readonly ca: string;
}

/**
 * How Kubernetes gets on machines. Every verb looks first, does only what is missing, undoes what a killed run has left
 * half-done, and returns whether it had to do anything.
 */
export interface Distribution {
  readonly name: DistributionName;
  /** The distribution's own programs and container images on a node: nothing of them runs yet. */
  install(machine: RemoteMachine, node: MachinePlan, software: Software, emit: Emit): Promise<boolean>;
  /** What must run on a worker before it joins, so that the join need not wait for it. */
  prepareWorker(machine: RemoteMachine): Promise<void>;
  ensureControlPlane(machine: RemoteMachine, context: ClusterContext): Promise<boolean>;
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
}
