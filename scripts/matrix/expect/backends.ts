import { groupBy } from '../../shared/group.ts';
import { compareAddresses } from '../addresses.ts';
import type { EchoService, Endpoint, ServicePort } from '../endpoints.ts';
import type { Backends, Machine, NetworkState, PortEndpoints } from './types.ts';

/** Which endpoints a service port has for a node (pkg/proxy/topology.go, CategorizeEndpoints). */
export function backendsOf(
  { memory }: NetworkState,
  service: EchoService,
  port: ServicePort,
  { name, node, kubeProxy }: Machine,
): Backends {
  const usesTerminating = kubeProxy?.usesTerminating === true;
  const key = `${service.name} ${port.name} ${usesTerminating}`;
  const of = memory.endpoints.get(key, () => portEndpoints(service, port, usesTerminating));
  const { followsZoneHints = 'never' } = kubeProxy ?? {};
  const isAsked = followsZoneHints === 'always' || (followsZoneHints === 'annotated' && service.asksForZones);
  const zone = isAsked ? node?.labels['topology.kubernetes.io/zone'] : undefined;
  const hintedNode = kubeProxy?.followsNodeHints === true && of.hasNodeHints ? name : undefined;
  return {
    all:
      of.ready.length === 0
        ? of.fallback
        : memory.hinted.get(`${key} ${hintedNode} ${zone}`, () => hinted(of.ready, hintedNode, zone)),
    local: of.local.get(name) ?? [],
  };
}

function portEndpoints(service: EchoService, port: ServicePort, usesTerminating: boolean): PortEndpoints {
  const ofPort = service.endpoints
    .filter(({ ports }) => ports[port.name] !== undefined)
    .sort((a, b) => compareAddresses(a.ip, b.ip));
  const ready = ofPort.filter((each) => each.ready);
  const fallback = usesTerminating ? ofPort.filter((each) => each.serving && each.terminating) : [];
  const nodeOf = ({ node }: Endpoint) => node;
  return {
    ready,
    fallback,
    local: new Map([...groupBy(fallback, nodeOf), ...groupBy(ready, nodeOf)]),
    hasNodeHints: ready.some(({ hintedNodes }) => hintedNodes.length > 0),
  };
}

/**
 * Hints count only if every endpoint has some and one of them is for this node, or else for this zone
 * (topologyModeFromHints).
 */
function hinted(
  endpoints: readonly Endpoint[],
  node: string | undefined,
  zone: string | undefined,
): readonly Endpoint[] {
  const keptFor = (of: (endpoint: Endpoint) => readonly string[], place: string | undefined) =>
    place === undefined || endpoints.some((each) => of(each).length === 0)
      ? []
      : endpoints.filter((each) => of(each).includes(place));
  const here = keptFor(({ hintedNodes }) => hintedNodes, node);
  const near = here.length > 0 ? here : keptFor(({ zones }) => zones, zone);
  return near.length > 0 ? near : endpoints;
}
