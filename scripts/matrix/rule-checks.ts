import type { Answer } from '../bgp/checks/ask.ts';
import type { Check } from '../bgp/checks/check.ts';
import type { EchoService, Endpoint, ServicePort } from './endpoints.ts';
import { externalAddresses } from './endpoints.ts';
import { backendsOf } from './expect/backends.ts';
import { serviceChain } from './expect/chain-names.ts';
import type { Machine } from './expect/machine.ts';
import { usesExt } from './expect/rules.ts';
import { type World, worldOf } from './expect/world.ts';
import { ruleCheckId } from './layers.ts';
import { type CountersByNode, optionOf, type RuleCounters } from './proof-counters.ts';
import type { ObservedState } from './state/types.ts';

/**
 * Whether every node's kube-proxy has made the rules that services and endpoints call for: per service and node, the
 * endpoints that its chains lead to. Nothing is checked where kube-proxy is not in iptables mode. Pure.
 */
export function checkRules(state: ObservedState, counters: CountersByNode): readonly Check[] {
  if (state.proxy.mode !== 'iptables') return [];
  const world = worldOf(state);
  return state.nodes.flatMap(({ name }) => {
    const machine = world.machine(name);
    const answer = counters.get(name);
    if (machine === undefined || answer === undefined) return [];
    return state.services
      .filter(({ clusterIp }) => clusterIp !== undefined)
      .map((service) => checkService(world, machine, service, answer));
  });
}

function checkService(
  world: World,
  machine: Machine,
  service: EchoService,
  answer: Answer<RuleCounters>,
): Check {
  const wanted = service.ports.flatMap((port) => wantedChains(world, machine, service, port));
  const seen = wanted.map(({ chain }) => (answer.ok ? leadsTo(answer.value, chain) : []));
  const wrong = wanted.filter(({ backends }, index) => !answer.ok || backends.join() !== seen[index]?.join());
  return {
    id: ruleCheckId(machine.name, service.name),
    title: `${machine.name} rules for ${service.name}`,
    verdict: !answer.ok
      ? answer.fault === 'lab'
        ? 'failed'
        : 'harness'
      : wrong.length > 0
        ? 'failed'
        : 'passed',
    expected: (wrong.length > 0 ? wrong : wanted)
      .map(({ chain, backends }) => text(chain, backends))
      .join('; '),
    observed: answer.ok
      ? wanted
          .map(({ chain }, index) => ({ chain, backends: seen[index] ?? [] }))
          .filter(({ chain }) => wrong.length === 0 || wrong.some((each) => each.chain === chain))
          .map(({ chain, backends }) => text(chain, backends))
          .join('; ')
      : answer.detail,
    why: 'kube-proxy makes one chain per service port that leads to all ready pods, or to those that topology hints keep for the node, and with externalTrafficPolicy Local another one that leads to those of the node.',
  };
}

/** The chains that a failed check found wrong; all of the service's where the node could not say what it has. */
export function wrongChains({ expected }: Check): readonly string[] {
  return [...expected.matchAll(/KUBE-[A-Z]+-[A-Z2-7]{16}/g)].map(([chain]) => chain);
}

interface WantedChain {
  readonly chain: string;
  /** "address:port", sorted. */
  readonly backends: readonly string[];
}

function wantedChains(
  world: World,
  machine: Machine,
  service: EchoService,
  port: ServicePort,
): readonly WantedChain[] {
  const { all, local } = backendsOf(world, service, port, machine);
  const isExternal = port.nodePort !== undefined || externalAddresses(service).length > 0;
  const hasExt = usesExt(machine);
  const isLocalInside = hasExt && service.internalPolicy === 'Local';
  const cluster = { chain: serviceChain('SVC', service, port), backends: addresses(all, port) };
  const own = {
    chain: serviceChain(hasExt ? 'SVL' : 'XLB', service, port),
    backends: addresses(local, port),
  };
  return [
    ...(isExternal || !isLocalInside ? [cluster] : []),
    ...(isLocalInside || (isExternal && service.policy === 'Local') ? [own] : []),
  ];
}

function addresses(endpoints: readonly Endpoint[], port: ServicePort): readonly string[] {
  return endpoints.map(({ ip, ports }) => `${ip}:${ports[port.name]}`).sort();
}

/**
 * The backends that a chain jumps to by way of KUBE-SEP-* chains. With sessionAffinity it jumps twice to each: first for
 * clients that it remembers.
 */
function leadsTo(rules: RuleCounters, chain: string): readonly string[] {
  const jumps = rules.filter((rule) => rule.chain === chain && rule.target.startsWith('KUBE-SEP-'));
  return [...new Set(jumps.map(({ target }) => target))]
    .flatMap((endpoint) =>
      rules
        .filter((rule) => rule.chain === endpoint && rule.target === 'DNAT')
        .map((rule) => optionOf(rule, '--to-destination') ?? ''),
    )
    .sort();
}

function text(chain: string, backends: readonly string[]): string {
  return `${chain} to ${backends.join(', ') || 'nobody'}`;
}
