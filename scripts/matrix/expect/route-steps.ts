import type { Route } from '../state/types.ts';
import type { ChainStep } from '../types.ts';
import type { Machine } from './machine.ts';
import { hopNames, routeFailure } from './reach.ts';
import { ended, listed, type Ways } from './ways.ts';
import type { World } from './world.ts';

/** No route is needed. */
export function ownAddressStep(at: string, address: string): readonly ChainStep[] {
  return [{ at, layer: 'route', text: `${address} is its own address` }];
}

/** Names of routing protocols under which BGP daemons install routes: BIRD, FRR's bgpd, zebra of old. */
export const BGP_PROTOCOLS = ['bird', 'bgp', 'zebra'];

/** A route and its next hops in words; how one of several is chosen, and what it was learned from. */
export function routeSteps(
  world: World,
  { name, state }: Machine,
  route: Route,
  destination: string,
): readonly ChainStep[] {
  const hops = hopNames(world, route, destination);
  const isLink = route.hops.every(({ gateway }) => gateway === undefined);
  const devices = [...new Set(route.hops.map((hop) => hop.interface))].join(', ');
  const where = isLink
    ? `on the link ${devices}`
    : `by ${hops.length > 1 ? 'one of ' : ''}${listed(hops, 8)}`;
  const steps: ChainStep[] = [{ at: name, layer: 'route', text: `${route.prefix} ${where}` }];
  if (BGP_PROTOCOLS.includes(route.protocol) && !isLink)
    steps.push({ at: name, layer: 'bgp', text: `learned ${route.prefix} from ${listed(hops, 8)}` });
  if (hops.length > 1)
    steps.push({
      at: name,
      layer: 'route',
      text: `fib_multipath_hash_policy ${state.hashPolicy}: ${
        state.hashPolicy === 0
          ? 'by addresses, so all connections of one client take one next hop'
          : 'by addresses and ports, so each connection may take another next hop'
      }`,
    });
  return steps;
}

/** A forwarded packet ends in a route without a next hop. `cause`: a clause about the machine {at} that says more. */
export function deadEnd(at: string, route: Route, cause?: string): Ways {
  const { prefix, type, protocol } = route;
  const text = cause ?? `the packet ends in a ${type} route of {at}`;
  return ended(routeFailure(route), { text, at }, [
    { at, layer: 'route', text: `${prefix}: ${type} (${protocol})` },
  ]);
}
