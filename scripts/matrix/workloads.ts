import { type Check, checkId, makeCheck } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import { type Endpoints, serverPods, tested } from './endpoints.ts';

/** The check that the client pod's cells depend on. */
export const CLIENT_POD_CHECK = checkId('client-pod', { pod: '' });

/** Whether there is anything to probe and a pod to probe from; cells follow the state, so without these they could be vacuous. */
export function checkWorkloads(plan: LabPlan, endpoints: Endpoints): readonly Check[] {
  const { pod } = plan.echo.clientPod;
  const client = endpoints.pods.find(({ name }) => name === pod);
  const own = tested(plan, endpoints);
  const servers = serverPods(own);
  const probed = own.services.filter(({ clusterIp }) => clusterIp !== undefined);
  const isReady = client?.ready === true && client.ip !== undefined;
  return [
    makeCheck(
      'client-pod',
      { pod },
      {
        reason: isReady ? 'as-wanted' : client === undefined ? 'missing' : 'not-ready',
        wanted: { ready: true },
        seen: {
          exists: client !== undefined,
          ready: client?.ready === true,
          address: client?.ip ?? null,
        },
      },
    ),
    makeCheck(
      'servers',
      {},
      {
        ...present(servers),
        // Somebody may have scaled them away: then all cells are connections that must fail.
        ...(servers.length === 0 ? { verdict: 'skipped' } : {}),
        seen: { pods: servers.map(({ name, node }) => ({ name, node: node ?? null })) },
      },
    ),
    ...(plan.test?.namespaces ?? [plan.echo.namespace]).map((namespace) => {
      const there = probed.filter((service) => service.namespace === namespace);
      const pending = hasGiver(plan) ? there.filter(({ isPending }) => isPending) : [];
      return makeCheck(
        'services',
        { namespace },
        {
          ...present(there),
          ...(pending.length > 0 ? { reason: 'pending' } : {}),
          seen: { services: there.map(({ name }) => name), pending: pending.map(({ name }) => name) },
        },
      );
    }),
  ];
}

/** Whether somebody of the lab's gives LoadBalancer services their addresses. */
function hasGiver({ choices, echo }: LabPlan): boolean {
  return choices.cni.value !== 'calico' || echo.loadBalancer === 'ipam';
}

function present(things: readonly unknown[]) {
  return { reason: things.length > 0 ? 'as-wanted' : 'missing', wanted: { least: 1 } } as const;
}
