import { bareName, type EchoPod, type EchoService, isKubernetesOwn } from '../endpoints.ts';
import { type PolicyObjects, policyNames } from '../policy/policies.ts';
import type { MachineState, NodeState, ObservedState } from './types.ts';

/** A part of the state in words, by what it is part of: "service web", "worker1 route 10.0.0.0/24". */
type Parts = ReadonlyMap<string, string>;

/**
 * What expectations depend on and is not the same in both states, one line each with both values, sorted. Empty where
 * everything that was predicted from the first would be predicted from the second.
 */
export function movedParts(before: ObservedState, after: ObservedState): readonly string[] {
  const [old, now] = [partsOf(before), partsOf(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((part) => old.get(part) !== now.get(part))
    .map((part) => `${part}: ${old.get(part) ?? 'absent'} -> ${now.get(part) ?? 'absent'}`)
    .sort();
}

/** Everything that expectations depend on. Times, versions of objects and the order of lists are not among it. */
function partsOf(state: ObservedState): Parts {
  const parts = new Map<string, string>();
  for (const service of state.services) addService(parts, service);
  for (const pod of state.pods)
    if (!isKubernetesOwn(pod) && !isLeaving(pod)) parts.set(`pod ${pod.name}`, podText(pod));
  for (const node of state.nodes) parts.set(`node ${node.name}`, nodeText(node));
  for (const { prefix, node } of state.podBlocks ?? []) parts.set(`pod block ${prefix}`, node);
  for (const [key, value] of Object.entries(state.calico ?? {}))
    parts.set(`Calico ${key}`, JSON.stringify(value));
  if (state.policies !== undefined) addPolicies(parts, state.policies, state.pods.filter(isLeaving));
  for (const machine of state.machines.values()) addMachine(parts, machine);
  parts.set('kube-proxy', JSON.stringify(state.proxy, Object.keys(state.proxy).sort()));
  return parts;
}

/**
 * Nothing leads to a pod that is being deleted, except a port of its node. The API server lists it until kubelet has
 * removed its containers, which kubelet 1.20 does up to a minute later: that it goes then changes nothing.
 */
function isLeaving({ isDeleted, ports }: EchoPod): boolean {
  return isDeleted === true && ports.every(({ host }) => host === undefined);
}

function addService(parts: Map<string, string>, service: EchoService): void {
  const { name, type, clusterIp, ports, policy, internalPolicy, affinity } = service;
  const numbers = ports.map(
    ({ port, protocol, nodePort }) => `${port}/${protocol}${nodePort ? `:${nodePort}` : ''}`,
  );
  parts.set(
    `service ${name}`,
    [
      `${type} ${clusterIp ?? 'headless'} ${numbers.join(',')}`,
      `externalTrafficPolicy ${policy}, internalTrafficPolicy ${internalPolicy}, sessionAffinity ${affinity}`,
      ...(service.healthCheckNodePort === undefined
        ? []
        : [`healthCheckNodePort ${service.healthCheckNodePort}`]),
    ].join(', '),
  );
  parts.set(
    `service ${name} external addresses`,
    listOf([...service.externalIps, ...service.loadBalancerIps]),
  );
  parts.set(`service ${name} source ranges`, listOf(service.sourceRanges));
  for (const {
    ip,
    pod,
    node,
    ready,
    serving,
    terminating,
    zones,
    hintedNodes,
    ports: own,
  } of service.endpoints) {
    const condition = ready ? 'ready' : serving && terminating ? 'terminating' : 'not ready';
    parts.set(
      `service ${name} endpoint ${pod ?? ip}`,
      `${ip} on ${node ?? 'no node'}, ${condition}, ports ${JSON.stringify(own)}, zones ${listOf(zones)}, nodes ${listOf(hintedNodes)}`,
    );
  }
}

function podText({ ip, node, ready, hostname, subdomain, hostNetwork }: EchoPod): string {
  const name = hostname === undefined ? '' : `, ${hostname}.${subdomain ?? ''}`;
  return `${ip ?? 'no address'} on ${node ?? 'no node'}, ${ready ? 'ready' : 'not ready'}${hostNetwork ? ', host network' : ''}${name}`;
}

function nodeText({ addresses, podCidrs, proxyVersion, labels }: NodeState): string {
  const zone = labels['topology.kubernetes.io/zone'];
  return `${listOf(addresses)}, pods ${listOf(podCidrs)}, kube-proxy ${proxyVersion}${zone === undefined ? '' : `, zone ${zone}`}`;
}

/** Labels matter where there is a policy that selects by them. */
function addPolicies(parts: Map<string, string>, policies: PolicyObjects, leaving: readonly EchoPod[]): void {
  const { kubernetes, admin, calico = [], pods, namespaces } = policies;
  for (const { namespace, name, spec } of kubernetes)
    parts.set(`NetworkPolicy ${namespace}/${name}`, JSON.stringify(spec));
  for (const { name, spec } of admin) parts.set(name, JSON.stringify(spec));
  for (const { kind, namespace = '', name, labels, spec } of calico)
    parts.set(`Calico ${kind} ${namespace}/${name}`, JSON.stringify([spec, labels]));
  if (policyNames(policies).length === 0) return;
  for (const [name, labels] of Object.entries(namespaces))
    parts.set(`namespace ${name}`, JSON.stringify(labels));
  const isSeen = ({ namespace, name }: { readonly namespace: string; readonly name: string }) =>
    !leaving.some((pod) => pod.namespace === namespace && bareName(pod.name) === name);
  for (const { namespace, name, ip: _, ...pod } of pods.filter(isSeen))
    parts.set(`labels of pod ${namespace}/${name}`, JSON.stringify(pod));
}

function addMachine(parts: Map<string, string>, machine: MachineState): void {
  const { name, problem, interfaces, routes, natOutgoing, serviceLoop } = machine;
  if (problem !== undefined) {
    parts.set(name, `could not be looked at: ${problem}`);
    return;
  }
  parts.set(
    `${name} addresses`,
    listOf(interfaces.flatMap(({ addresses }) => addresses.map((each) => each.address))),
  );
  parts.set(
    `${name} settings`,
    `ip_forward ${Number(machine.ipForward)}, fib_multipath_hash_policy ${machine.hashPolicy}, route_localnet ${Number(machine.routeLocalnet)}, drops INVALID ${Number(machine.dropsInvalid ?? false)}, pods to host ${machine.podsToHost ?? 'by kube-proxy'}`,
  );
  parts.set(`${name} policy rules`, listOf([...machine.policyRules, ...machine.refusedPrefixes]));
  if (natOutgoing !== undefined)
    parts.set(
      `${name} ${natOutgoing.chain}`,
      natOutgoing.problem ?? `from ${listOf(natOutgoing.sources)} except to ${listOf(natOutgoing.except)}`,
    );
  if (serviceLoop !== undefined)
    parts.set(`${name} cali-cidr-block`, `${serviceLoop.action} ${listOf(serviceLoop.prefixes)}`);
  for (const [address, owners] of machine.externalOwners ?? [])
    parts.set(`${name} rules for ${address}`, owners.join(', '));
  for (const { prefix, type, hops, metric, source } of routes) {
    const by = hops.map(({ gateway, interface: device }) => gateway ?? `dev ${device}`);
    const key = `${name} route ${prefix}${metric === 0 ? '' : ` metric ${metric}`}`;
    parts.set(
      key,
      `${type === 'unicast' ? listOf(by) : type}${source === undefined ? '' : ` src ${source}`}`,
    );
  }
}

function listOf(items: readonly string[]): string {
  return [...new Set(items)].sort().join(', ') || 'none';
}
