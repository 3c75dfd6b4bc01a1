import type { Kubectl } from '../cluster/kubectl.ts';
import type { LabPlan } from '../plan/types.ts';
import { type Endpoints, parseEndpoints } from './endpoints.ts';

/** Asks the API server, in one call, for the services, endpoints and pods that expectations follow from. */
export async function readEndpoints(kubectl: Kubectl, plan: LabPlan): Promise<Endpoints> {
  const { stdout: answer } = await kubectl.run([
    'get',
    'services,endpoints,pods',
    '-n',
    plan.echo.namespace,
    '-o',
    'json',
  ]);
  return parseEndpoints(answer, answer, answer);
}
