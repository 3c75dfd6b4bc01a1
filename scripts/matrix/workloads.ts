import type { Check } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import type { Endpoints } from './endpoints.ts';
import { serverPods } from './endpoints.ts';

/** The check that the client pod's cells depend on. */
export const CLIENT_POD_CHECK = 'workloads.client-pod';

/** Whether there is anything to probe and a pod to probe from; cells follow the state, so without these they could be vacuous. */
export function checkWorkloads(plan: LabPlan, endpoints: Endpoints): readonly Check[] {
  const client = endpoints.pods.find(({ name }) => name === plan.echo.clientPod.pod);
  const servers = serverPods(endpoints);
  const probed = endpoints.services.filter(({ clusterIp }) => clusterIp !== undefined);
  return [
    {
      id: CLIENT_POD_CHECK,
      title: `pod ${plan.echo.clientPod.pod} is ready`,
      verdict: client?.ready === true && client.ip !== undefined ? 'passed' : 'failed',
      expected: 'ready, with an address',
      observed:
        client === undefined
          ? 'there is no such pod'
          : `${client.ready ? 'ready' : 'not ready'}, ${client.ip ?? 'no address'}`,
      why: 'Cells from inside the pod network start there.',
    },
    {
      id: 'workloads.servers',
      title: 'echo servers are ready',
      verdict: servers.length > 0 ? 'passed' : 'failed',
      expected: 'at least one ready pod behind a service',
      observed: servers.map(({ name, node }) => `${name} on ${node ?? 'no node'}`).join(', ') || 'none',
      why: 'Without a ready pod nothing can answer.',
    },
    {
      id: 'workloads.services',
      title: `namespace ${plan.echo.namespace} has services`,
      verdict: probed.length > 0 ? 'passed' : 'failed',
      expected: 'at least one service with a ClusterIP',
      observed: probed.map(({ name }) => name).join(', ') || 'none',
      why: 'Services are what the matrix is about.',
    },
  ];
}
