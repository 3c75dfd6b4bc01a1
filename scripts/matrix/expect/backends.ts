import { numberOf } from '../addresses.ts';
import type { EchoService, Endpoint, ServicePort } from '../endpoints.ts';
import type { Machine } from './machine.ts';
import { remembered, type World } from './world.ts';

/** The endpoints that kube-proxy of one node chooses from. The arrays are the same for the same question. */
export interface Backends {
  /** For policy Cluster. */
  readonly all: readonly Endpoint[];
  /** For policy Local. */
  readonly local: readonly Endpoint[];
}

const NOBODY: readonly Endpoint[] = [];
/** From 1.26 on kube-proxy falls back to terminating endpoints that still serve (KEP-1669, beta and on by default). */
const USES_TERMINATING = 26;
/** From 1.24 on topology hints are on by default (KEP-2433, beta). Before they need a feature gate. */
const USES_HINTS = 24;
/** From 1.34 on kube-proxy follows hints for nodes (KEP-3015, beta and on by default). */
const USES_NODE_HINTS = 34;

/** The minor version of a node's kube-proxy: 20 for 1.20.2. Undefined for what is no version 1. */
export function minorOf({ node }: Machine): number | undefined {
  const minor = /^1\.(\d+)\./.exec(node?.proxyVersion ?? '')?.[1];
  return minor === undefined ? undefined : Number(minor);
}

/** Which endpoints a service port has for a node (pkg/proxy/topology.go, CategorizeEndpoints). */
export function backendsOf(
  world: World,
  service: EchoService,
  port: ServicePort,
  machine: Machine,
): Backends {
  const minor = minorOf(machine) ?? 0;
  const key = `${service.name}/${port.name}/${minor >= USES_TERMINATING}`;
  const usable = remembered(world, `usable ${key}`, () => {
    const ofPort = service.endpoints
      .filter(({ ports }) => ports[port.name] !== undefined)
      .sort((a, b) => numberOf(a.ip) - numberOf(b.ip));
    const ready = ofPort.filter((each) => each.ready);
    const serving = ofPort.filter((each) => each.serving && each.terminating);
    return { ready, fallback: minor >= USES_TERMINATING ? serving : NOBODY };
  });
  const zone = minor >= USES_HINTS ? machine.node?.labels['topology.kubernetes.io/zone'] : undefined;
  const node =
    minor >= USES_NODE_HINTS && usable.ready.some(({ hintedNodes }) => hintedNodes.length > 0)
      ? machine.name
      : undefined;
  return {
    all: remembered(world, `all ${key} ${zone ?? ''} ${node ?? ''}`, () =>
      usable.ready.length > 0 ? hinted(usable.ready, node, zone) : usable.fallback,
    ),
    local:
      remembered(world, `local ${key}`, () => {
        const ready = byNode(usable.ready);
        const fallback = byNode(usable.fallback);
        return new Map([...fallback, ...ready]);
      }).get(machine.name) ?? NOBODY,
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

function byNode(endpoints: readonly Endpoint[]): Map<string, Endpoint[]> {
  const nodes = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    if (endpoint.node === undefined) continue;
    const here = nodes.get(endpoint.node);
    if (here === undefined) nodes.set(endpoint.node, [endpoint]);
    else here.push(endpoint);
  }
  return nodes;
}
