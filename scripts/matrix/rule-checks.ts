import type { Answer } from '../bgp/checks/ask.ts';
import { type CheckOf, makeCheck, unseenCheck } from '../bgp/checks/check.ts';
import { type EchoService, type Endpoint, externalAddresses, type ServicePort } from './endpoints.ts';
import { backendsOf } from './expect/backends.ts';
import { networkOf } from './expect/network-state.ts';
import type { Machine, NetworkState } from './expect/types.ts';
import { type CountersByNode, optionOf, type RuleCounters } from './proof-counters.ts';
import { type BackendShare, MODELLED_MODES, type ObservedState } from './state/types.ts';

/**
 * Whether every node's kube-proxy has made the rules that services and endpoints call for: per service and node, the
 * endpoints that its chains lead to. Nothing is checked where kube-proxy is in a mode that is not modelled. Pure.
 */
export function checkRules(state: ObservedState, counters: CountersByNode): readonly ServiceRules[] {
  const network = networkOf(state);
  return state.nodes.flatMap(({ name, proxy = state.proxy }) => {
    const machine = network.machine(name);
    const answer = counters.get(name);
    if (machine === undefined || answer === undefined || !MODELLED_MODES.includes(proxy.mode)) return [];
    const backends = proxy.mode === 'nftables' ? nftBackends(machine) : inIptables(answer);
    return state.services
      .filter(({ clusterIp }) => clusterIp !== undefined)
      .map((service) => checkService(network, machine, service, backends));
  });
}

function checkService(
  network: NetworkState,
  machine: Machine,
  service: EchoService,
  backends: Answer<BackendsOf>,
): ServiceRules {
  const subject = { machine: machine.name, service: service.name };
  const wanted = { chains: service.ports.flatMap((port) => wantedChains(network, machine, service, port)) };
  if (!backends.ok) return unseenCheck('service-rules', subject, wanted, backends);
  const seen = {
    chains: wanted.chains.map(({ chain }) => ({ chain, ...backends.value(chain) })),
  };
  const isWrong = wrongChains({ wanted, seen }).length > 0;
  const isOnlyUnequal = seen.chains.every(({ backends }, index) => isSame(backends, wanted.chains[index]));
  return makeCheck('service-rules', subject, {
    reason: !isWrong ? 'as-wanted' : isOnlyUnequal ? 'unequal-shares' : 'wrong-backends',
    wanted,
    seen,
  });
}

type ServiceRules = CheckOf<'service-rules'>;
type WantedChain = ServiceRules['wanted']['chains'][number];

/** The chains that a check found wrong; all of the service's where the node could not say what it has. */
export function wrongChains({ wanted, seen }: Pick<ServiceRules, 'wanted' | 'seen'>): readonly string[] {
  return wanted.chains
    .filter(({ backends }, index) => {
      const found = seen?.chains[index];
      return !isSame(backends, found) || found?.percents !== undefined;
    })
    .map(({ chain }) => chain);
}

function isSame(
  backends: readonly string[],
  chain: { readonly backends: readonly string[] } | undefined,
): boolean {
  return backends.join() === chain?.backends.join();
}

function wantedChains(
  network: NetworkState,
  machine: Machine,
  service: EchoService,
  port: ServicePort,
): readonly WantedChain[] {
  const rules = machine.kubeProxy?.rules;
  const { all, local } = backendsOf(network, service, port, machine);
  const isExternal = port.nodePort !== undefined || externalAddresses(service).length > 0;
  if (rules === undefined) return [];
  const isLocalInside = rules.hasLocalDrops && service.internalPolicy === 'Local';
  const names = rules.names(service, port);
  const cluster = { chain: names.all, backends: addresses(all, port) };
  const own = { chain: names.local, backends: addresses(local, port) };
  return [
    ...(isExternal || !isLocalInside ? [cluster] : []),
    ...(isLocalInside || (isExternal && service.policy === 'Local') ? [own] : []),
  ];
}

function addresses(endpoints: readonly Endpoint[], port: ServicePort): readonly string[] {
  return endpoints.map(({ ip, ports }) => `${ip}:${ports[port.name]}`).sort();
}

/** The backends that a chain leads to, in order; what each gets of them, where that is not the same. */
type BackendsOf = (chain: string) => SeenBackends;
type SeenBackends = Omit<NonNullable<ServiceRules['seen']>['chains'][number], 'chain'>;

function inIptables(answer: Answer<RuleCounters>): Answer<BackendsOf> {
  if (!answer.ok) return answer;
  const { value } = answer;
  return {
    ok: true,
    value: (chain) => ({ backends: leadsTo(value, chain), ...unequalShares(sharesOf(value, chain)) }),
  };
}

function nftBackends({ state: { problem, nftServices } }: Machine): Answer<BackendsOf> {
  return nftServices === undefined
    ? {
        ok: false,
        fault: 'harness',
        detail: problem ?? 'it has no table "ip kube-proxy", or no program nft that could list it',
      }
    : {
        ok: true,
        value: (chain) => {
          const shares = nftServices.backends.get(chain) ?? [];
          return { backends: shares.map(({ backend }) => backend).sort(), ...unequalShares(shares) };
        },
      };
}

/**
 * The backends that a chain jumps to by way of KUBE-SEP-* chains. With sessionAffinity it jumps twice to each: first for
 * clients that it remembers.
 */
function leadsTo(rules: RuleCounters, chain: string): readonly string[] {
  return [...new Set(jumpsOf(rules, chain).map(({ target }) => target))]
    .flatMap((endpoint) => backendsAt(rules, endpoint))
    .sort();
}

function jumpsOf(rules: RuleCounters, chain: string): RuleCounters {
  return rules.filter((rule) => rule.chain === chain && rule.target.startsWith('KUBE-SEP-'));
}

function backendsAt(rules: RuleCounters, endpoint: string): readonly string[] {
  return rules
    .filter((rule) => rule.chain === endpoint && rule.target === 'DNAT')
    .map((rule) => optionOf(rule, '--to-destination') ?? '');
}

/** kube-proxy writes probabilities with ten or eleven digits; the kernel keeps 31 bits of them. */
const ROUNDING = 1e-6;

function sharesOf(rules: RuleCounters, chain: string): readonly BackendShare[] {
  // The jumps for clients that are remembered (sessionAffinity) are no choice.
  const choices = jumpsOf(rules, chain).filter(({ rule }) => !rule.includes('--rcheck'));
  let left = 1;
  return choices.map((rule) => {
    const share = left * Number(optionOf(rule, '--probability') ?? 1);
    left -= share;
    return { backend: backendsAt(rules, rule.target).join(), share };
  });
}

/** What each backend gets where that is not the same for all, in order; and what none of them gets. */
function unequalShares(shares: readonly BackendShare[]): Pick<SeenBackends, 'percents' | 'lostPercent'> {
  if (shares.every(({ share }) => Math.abs(share - 1 / shares.length) < ROUNDING)) return {};
  const percent = (share: number) => Math.round(share * 1000) / 10;
  const lost = 1 - shares.reduce((sum, { share }) => sum + share, 0);
  return {
    percents: shares
      .map(({ backend, share }) => ({ backend, percent: percent(share) }))
      .sort((a, b) => a.backend.localeCompare(b.backend)),
    ...(lost < ROUNDING ? {} : { lostPercent: percent(lost) }),
  };
}
