import { discovery } from './catalogue/discovery.ts';
import { dns } from './catalogue/dns.ts';
import { failures } from './catalogue/failures.ts';
import { hostNetwork } from './catalogue/host-network.ts';
import { hostPorts } from './catalogue/host-ports.ts';
import { ingress } from './catalogue/ingress.ts';
import { ingressPlace } from './catalogue/ingress-place.ts';
import { kubeProxy } from './catalogue/kube-proxy.ts';
import { nodes } from './catalogue/nodes.ts';
import { podNetwork } from './catalogue/pod-network.ts';
import { ports } from './catalogue/ports.ts';
import { replicas } from './catalogue/replicas.ts';
import { serviceTypes } from './catalogue/service-types.ts';
import { statefulset } from './catalogue/statefulset.ts';
import { trafficPolicy } from './catalogue/traffic-policy.ts';
import { withoutPods } from './catalogue/without-pods.ts';
import type { Scenario } from './scenario.ts';

/** All scenarios, in the order in which they are best read. */
export const SCENARIOS: readonly Scenario[] = [
  replicas,
  kubeProxy,
  discovery,
  ports,
  serviceTypes,
  trafficPolicy,
  withoutPods,
  hostNetwork,
  hostPorts,
  dns,
  statefulset,
  podNetwork,
  nodes,
  failures,
  ingress,
  ingressPlace,
];
