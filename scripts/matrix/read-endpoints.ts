import type { Kubectl } from '../cluster/kubectl.ts';
import type { LabPlan } from '../plan/types.ts';
import type { Endpoints } from './endpoints.ts';
import { parseClusterObjects } from './state/cluster.ts';
import { OBSERVED_KINDS } from './state/read.ts';

/** Asks the API server, in one call, for the services and pods of the echo namespace. */
export async function readEndpoints(kubectl: Kubectl, plan: LabPlan): Promise<Endpoints> {
  const { stdout } = await kubectl.run(['get', OBSERVED_KINDS, '-n', plan.echo.namespace, '-o', 'json']);
  return parseClusterObjects(stdout);
}
