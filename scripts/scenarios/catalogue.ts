import { kubeProxy } from './catalogue/kube-proxy.ts';
import { nodes } from './catalogue/nodes.ts';
import { podNetwork } from './catalogue/pod-network.ts';
import { replicas } from './catalogue/replicas.ts';
import type { Scenario } from './scenario.ts';

/** All scenarios, in the order in which they are best read. */
export const SCENARIOS: readonly Scenario[] = [replicas, kubeProxy, podNetwork, nodes];
