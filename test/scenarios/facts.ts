import type { Facts, PodFact, ServiceFact } from '../../scripts/scenarios/facts.ts';
import type { Seen } from '../../scripts/scenarios/scenario.ts';
import { labPlan } from '../render/fixture.ts';

/** Facts of a lab, for tests of what follows from them. */
export function factsOf({ pods = [], services = [] }: Partial<Pick<Facts, 'pods' | 'services'>>): Facts {
  return {
    plan: labPlan(),
    pods,
    services,
    after: (step) => {
      throw new Error(`no step ${step}`);
    },
  };
}

/** A Ready pod. */
export function pod(name: string, more: Partial<PodFact> = {}): PodFact {
  return {
    namespace: 'lab-test',
    name,
    labels: {},
    phase: 'Running',
    ready: true,
    ending: false,
    ip: '10.255.0.1',
    node: 'k8sworker1',
    hostNetwork: false,
    restarts: 0,
    reason: 'Running',
    owner: '',
    ...more,
  };
}

/** A ClusterIP service with these endpoints, all ready. */
export function service(
  name: string,
  addresses: readonly string[],
  more: Partial<ServiceFact> = {},
): ServiceFact {
  return {
    namespace: 'lab-test',
    name,
    type: 'ClusterIP',
    clusterIp: '10.96.0.9',
    externalName: '',
    loadBalancerIps: [],
    ports: [{ name: 'http', port: 80, nodePort: 0 }],
    healthCheckNodePort: 0,
    endpoints: addresses.map((address) => ({ address, port: 80, ready: true, pod: '' })),
    ...more,
  };
}

/** What a command printed, and the facts after it. */
export function seen(facts: Facts, said: Partial<Omit<Seen, 'facts'>>): Seen {
  return { exitCode: 0, stdout: '', stderr: '', ...said, facts };
}
