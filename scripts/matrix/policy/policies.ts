import type { CalicoObject } from '../../bgp/calico/objects.ts';
import type { Address } from '../addresses.ts';
import { type AdminPolicy, fromAdmin } from './admin.ts';
import { calicoPolicyNames, fromCalico, hostEndpoints, tiersOf } from './calico.ts';
import { evaluate, type PolicyVerdict } from './evaluate.ts';
import { fromKubernetes, type NetworkPolicy } from './kubernetes.ts';
import type { Direction, Labels, PolicyFlow, PolicyPod } from './types.ts';

/** The policies of all kinds, and what they select by. */
export interface PolicyObjects {
  readonly pods: readonly PolicyPod[];
  /** Labels of namespaces, by name. */
  readonly namespaces: Readonly<Record<string, Labels>>;
  readonly kubernetes: readonly NetworkPolicy[];
  /** Those that are not modelled. */
  readonly admin: readonly AdminPolicy[];
  /** Calico's own objects about policies; absent without Calico: then nothing enforces any policy. */
  readonly calico?: readonly CalicoObject[];
}

/** The names of all policies: "NetworkPolicy echo-server/only-routed". */
export function policyNames({ kubernetes, admin, calico = [] }: PolicyObjects): readonly string[] {
  return [
    ...kubernetes.map(({ namespace: home, name }) => `NetworkPolicy ${home}/${name}`),
    ...admin.map(({ name }) => name),
    ...calicoPolicyNames(calico),
  ];
}

/** What the nodes' policies make of a connection. Absent in a network where nobody has made a policy, or nothing enforces any. */
export interface Policies {
  /** Why nothing is known about what a node lets pass. */
  problemAt(node: string): string | undefined;
  podAt(address: Address): PolicyPod | undefined;
  /** Why it is dropped, or not known; undefined where it passes. */
  ask(direction: Direction, pod: PolicyPod, flow: PolicyFlow): PolicyStop | undefined;
}

/** What keeps a connection from passing. */
export type PolicyStop = Exclude<PolicyVerdict, { readonly kind: 'allowed' }>;

/** Compiles them. */
export function policiesOf(objects: PolicyObjects | undefined): Policies | undefined {
  if (objects?.calico === undefined) return undefined;
  const { calico, kubernetes, admin, pods, namespaces } = objects;
  const endpoints = hostEndpoints(calico);
  if (policyNames(objects).length === 0 && endpoints.size === 0) return undefined;
  const byIp = new Map(pods.map((pod) => [pod.ip, pod]));
  const tiers = tiersOf(calico);
  const [first] = tiers;
  const policies = [
    ...admin.map((policy) => fromAdmin(policy, namespaces, first?.name ?? '')),
    ...kubernetes.map((policy) => fromKubernetes(policy, namespaces)),
    ...fromCalico(calico, pods, namespaces),
  ];
  return {
    problemAt: (node) => {
      const name = endpoints.get(node);
      return name === undefined ? undefined : `HostEndpoint ${name} of ${node} is not modelled`;
    },
    podAt: (address) => byIp.get(address),
    ask: (direction, pod, flow) => {
      const verdict = evaluate(tiers, policies, direction, pod, flow);
      return verdict.kind === 'allowed' ? undefined : verdict;
    },
  };
}
