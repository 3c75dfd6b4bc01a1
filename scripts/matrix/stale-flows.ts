import { type Check, makeCheck, unseenCheck } from '../bgp/checks/check.ts';
import type { Flow, FlowsByMachine } from './conntrack.ts';
import { type EchoService, externalAddresses } from './endpoints.ts';
import type { ObservedState } from './state/types.ts';

/**
 * Whether a node still sends a client's datagrams to where no endpoint is. kube-proxy must remove such entries when an
 * endpoint goes (pkg/proxy/conntrack), because each datagram of the same client and port renews its entry: probes, which
 * use a fresh port each, never see what that client sees.
 */
export function checkStaleFlows(state: ObservedState, flows: FlowsByMachine): readonly Check[] {
  return [...flows].map(([machine, answer]): Check => {
    const wanted = { stale: 0 };
    if (!answer.ok) return unseenCheck('udp-flows', { machine }, wanted, { ...answer, fault: 'harness' });
    const stale = answer.value.flatMap((flow) => {
      const service = lostService(state, flow);
      const { client, clientPort, destination, port, backend } = flow;
      return service === undefined ? [] : [{ client, clientPort, destination, port, backend, service }];
    });
    const { unread = [] } = answer;
    const seen = { flows: answer.value.length, stale, unread };
    if (stale.length === 0 && unread.length > 0)
      return makeCheck('udp-flows', { machine }, { verdict: 'skipped', reason: 'partly-read', wanted, seen });
    return makeCheck(
      'udp-flows',
      { machine },
      { reason: stale.length > 0 ? 'stale' : 'as-wanted', wanted, seen },
    );
  });
}

/** The service that a flow is for, where the flow goes to none of its endpoints. */
function lostService(state: ObservedState, { destination, port, backend }: Flow): string | undefined {
  const service = state.services.find((each) => serves(state, each, destination, port));
  const isServed = backend === destination || service?.endpoints.some(({ ip }) => ip === backend);
  return isServed ? undefined : service?.name;
}

function serves(state: ObservedState, service: EchoService, address: string, port: number): boolean {
  const isNode = state.nodes.some(({ addresses }) => addresses.includes(address));
  const own = [
    ...(service.clusterIp === undefined ? [] : [service.clusterIp]),
    ...externalAddresses(service),
  ];
  return service.ports.some(
    (each) =>
      each.protocol === 'udp' &&
      ((each.port === port && own.includes(address)) || (each.nodePort === port && isNode)),
  );
}
