import type { MachineRole } from '../spec/types.ts';
import type { PeeringPlan } from './types.ts';

interface Speaker {
  readonly name: string;
  readonly role: MachineRole;
  readonly address: string;
}

/** All BGP sessions: a full iBGP mesh of the Kubernetes nodes, and eBGP from every worker to the router. */
export function peeringsOf(
  machines: readonly Speaker[],
  asns: { readonly clusterAsn: number; readonly routerAsn: number },
): readonly PeeringPlan[] {
  const end = ({ name, address, role }: Speaker) => ({
    machine: name,
    address,
    asn: role === 'router' ? asns.routerAsn : asns.clusterAsn,
  });
  const nodes = machines.filter(({ role }) => role === 'control-plane' || role === 'worker');
  const workers = nodes.filter(({ role }) => role === 'worker');
  const routers = machines.filter(({ role }) => role === 'router');
  const mesh = nodes.flatMap((a, index) =>
    nodes.slice(index + 1).map((b): PeeringPlan => ({ kind: 'ibgp', a: end(a), b: end(b) })),
  );
  const external = routers.flatMap((router) =>
    workers.map((worker): PeeringPlan => ({ kind: 'ebgp', a: end(router), b: end(worker) })),
  );
  return [...mesh, ...external];
}
