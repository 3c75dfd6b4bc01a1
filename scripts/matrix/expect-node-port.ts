import type { LabPlan } from '../plan/types.ts';
import type { EchoService, Endpoints } from './endpoints.ts';
import { backendsOn, machineNamed } from './network.ts';
import { fails, ownAddress, works } from './outcomes.ts';
import type { Expectation, Target, VantagePoint } from './types.ts';

/** Predicts a connection to a service's node port on one node. */
export function expectNodePort(
  plan: LabPlan,
  endpoints: Endpoints,
  from: VantagePoint,
  target: Target,
  service: EchoService,
): Expectation {
  const node = machineNamed(plan, target.node ?? '');
  if (service.backends.length === 0)
    return fails(
      'refused',
      `The service has no ready pod, so kube-proxy on ${node.name} rejects the connection.`,
    );
  if (service.policy === 'Cluster') return clusterPolicy(plan, from, node.name, service);
  if (isOn(from, node.name)) return localPolicyFromInside(from, node.name, service);
  return localPolicy(plan, endpoints, from, node.name, service);
}

/** The connection does not leave the machine before kube-proxy of the addressed node handles it. */
function isOn(from: VantagePoint, node: string): boolean {
  return from.kind === 'pod' ? from.node === node : from.name === node;
}

function clusterPolicy(plan: LabPlan, from: VantagePoint, node: string, service: EchoService): Expectation {
  const { address } = machineNamed(plan, node);
  return works(
    service.backends,
    [address],
    isOn(from, node)
      ? `With externalTrafficPolicy Cluster the node picks any ready pod and masquerades with its own address, also for its own pods and processes.`
      : `With externalTrafficPolicy Cluster ${node} picks any ready pod on any node and masquerades with its own address.`,
  );
}

/** KUBE-XLB's first two rules come before the choice of a local endpoint: pods, then the node itself. */
function localPolicyFromInside(from: VantagePoint, node: string, service: EchoService): Expectation {
  return from.kind === 'pod'
    ? works(
        service.backends,
        ownAddress(from),
        `The pod's own node treats its pods like clients of the ClusterIP: any ready pod, source address kept.`,
      )
    : works(
        service.backends,
        ownAddress(from),
        `${node} treats its own processes like clients of the ClusterIP: any ready pod, masqueraded with its address.`,
      );
}

function localPolicy(
  plan: LabPlan,
  endpoints: Endpoints,
  from: VantagePoint,
  node: string,
  service: EchoService,
): Expectation {
  const local = backendsOn(endpoints, service, node);
  if (local.length === 0)
    return fails(
      'timeout',
      `With externalTrafficPolicy Local a node answers only from its own pods; ${node} has none that is ready and drops the packet.`,
    );
  if (from.kind === 'pod')
    return works(
      local,
      [machineNamed(plan, from.node).address],
      `The packet leaves the pod network, so ${from.node} masquerades it with its own address; ${node} then answers from its own pod only.`,
    );
  return works(
    local,
    ownAddress(from),
    `With externalTrafficPolicy Local ${node} answers from its own pod only and keeps the client's address.`,
  );
}
