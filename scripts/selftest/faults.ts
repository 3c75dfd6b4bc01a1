import type { Fault, InapplicableFault } from './fault.ts';
import { podFaults } from './pod-faults.ts';
import { routingFaults } from './routing-faults.ts';
import type { Scene } from './scene.ts';
import { serviceFaults } from './service-faults.ts';
import { trafficFaults } from './traffic-faults.ts';

/** Every known fault, fitted to this lab; pure. Their order is that of the run. */
export function faultsFor(scene: Scene): readonly (Fault | InapplicableFault)[] {
  return [...trafficFaults(scene), ...routingFaults(scene), ...serviceFaults(scene), ...podFaults(scene)];
}
