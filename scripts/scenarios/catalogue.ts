import { kubeProxy } from './catalogue/kube-proxy.ts';
import { replicas } from './catalogue/replicas.ts';
import type { Scenario } from './scenario.ts';

/** All scenarios, in the order in which they are best read. */
export const SCENARIOS: readonly Scenario[] = [replicas, kubeProxy];
