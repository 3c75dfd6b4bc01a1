import type { Kubectl } from '../cluster/kubectl.ts';
import type { LabPlan } from '../plan/types.ts';
import type { Endpoints } from './endpoints.ts';
import { parseClusterObjects } from './state/cluster.ts';
import { OBSERVED_KINDS, readBlocks } from './state/read.ts';

/** Asks the API server for the services and pods of the echo namespace, and with Calico for the pod blocks. */
export async function readEndpoints(kubectl: Kubectl, plan: LabPlan): Promise<Endpoints> {
  const [{ stdout }, blocks] = await Promise.all([
    kubectl.run(['get', OBSERVED_KINDS, '-n', plan.echo.namespace, '-o', 'json']),
    readBlocks(kubectl, plan),
  ]);
  return { ...parseClusterObjects(stdout), ...blocks };
}
