import type { Check, CheckKind, CheckOf } from '../bgp/checks/check.ts';
import { MISS_PROBABILITY } from '../matrix/ecmp.ts';
import { wrongChains } from '../matrix/rule-checks.ts';
import { isIPv4 } from '../shared/ip.ts';
import { countText } from './causes.ts';

/** A check in words. */
export interface CheckText {
  readonly title: string;
  readonly expected: string;
  readonly observed: string;
  readonly why: string;
}

/** What checks of one kind say. What could not be seen has its own words. */
interface Sentences<C extends Check> {
  title(check: C): string;
  expected(check: C): string;
  observed(seen: NonNullable<C['seen']>, check: C): string;
  why(check: C): string;
}

/** The sentences of a check. */
export function describeCheck(check: Check): CheckText {
  // Those of a kind are for checks of that kind, which TypeScript cannot see in a table.
  const sentences = SENTENCES[check.kind] as Sentences<Check>;
  const { seen, problem, blockedBy } = check;
  const said = problem ?? (seen === null ? 'not tried' : sentences.observed(seen, check));
  return {
    title: sentences.title(check),
    expected: sentences.expected(check),
    observed: blockedBy === undefined ? said : `${said} (follows from ${blockedBy})`,
    why: sentences.why(check),
  };
}

/** How the connections to one target came out, for the pictures of it. */
export interface Spread {
  readonly from: string;
  readonly target: string;
  readonly flows: number;
  readonly counts: NonNullable<CheckOf<'spread'>['seen']>['counts'];
  readonly verdict: Check['verdict'];
  readonly why: string;
}

/** The checks of load balancing, with what was counted. */
export function spreadsOf(checks: readonly Check[]): readonly Spread[] {
  return checks.flatMap((check) => {
    if (check.kind !== 'spread') return [];
    const { subject, seen, verdict } = check;
    const { flows = 0, counts = [] } = seen ?? {};
    return [{ ...subject, flows, counts, verdict, why: describeCheck(check).why }];
  });
}

const ROUTES: Readonly<
  Record<CheckOf<'route'>['wanted']['rule'], (machine: string, owner: string) => string>
> = {
  'own-block-to-router': (_, owner) =>
    `Only ${owner} announces its own pod block; a node does not pass on what it learned from another.`,
  'block-without-session': (_, owner) =>
    `${owner} has no session with the router, and the workers do not pass its block on.`,
  'service-cidr': () =>
    'Every worker that takes part in load balancing announces the service CIDR, and any of them can translate a ClusterIP.',
  'external-to-router': () => 'Exactly the workers that can deliver to the service must be next hops.',
  'refused-by-router': () =>
    'Nodes announce it, and the prefix list K8S-IN of the router takes in only the external addresses of lab.yaml.',
  'own-block': (machine) => `${machine} holds its own block as a blackhole beneath the routes of its pods.`,
  'block-over-ibgp': (_, owner) => `${owner} announces its block to every other node over iBGP.`,
  'announced-here': (machine) =>
    `${machine} announces it from a blackhole route; kube-proxy translates packets before they meet it.`,
  'learned-over-ibgp': (machine) =>
    `${machine} does not announce it and learns it over iBGP from those that do.`,
  'router-prefix': () => 'The router announces its own prefix to every worker.',
  'router-prefix-without-session': (machine) =>
    `${machine} has no session with the router, and the workers do not pass on what they learn there.`,
  encapsulated: (_, owner) =>
    `The block of ${owner} is in a pool with VXLAN or IP in IP, so that its routes are Felix's; which they have to be is not modelled, and cells follow what is there.`,
};

const TABLES: Readonly<Record<string, string>> = {
  bgp: 'BGP table',
  rib: 'RIB',
  fib: 'FIB',
  bird: 'BIRD table',
};

/** A routing table in words. */
export function tableName(table: string): string {
  return TABLES[table] ?? table;
}

type DnsWanted = CheckOf<'dns'>['wanted'];
const NAMES: Readonly<
  Record<DnsWanted['rule'], { readonly title: (wanted: DnsWanted) => string; readonly why: string }>
> = {
  service: {
    title: ({ of }) => `service ${of}`,
    why: "A service's name resolves to its ClusterIP.",
  },
  'service-reverse': {
    title: ({ of }) => `reverse name of service ${of}`,
    why: "A ClusterIP resolves back to its service's name.",
  },
  headless: {
    title: ({ of }) => `headless name ${of}`,
    why: 'A headless name has one A record per ready pod, and none exists without a ready pod.',
  },
  pod: {
    title: ({ of }) => `name of pod ${of}`,
    why: "A ready pod with a hostname and the service's name as its subdomain has a name of its own.",
  },
  'pod-reverse': {
    title: ({ of }) => `reverse name of pod ${of}`,
    why: "The address of a pod behind a headless service resolves back to the pod's name.",
  },
  'api-server': {
    title: () => 'the API server has a name',
    why: 'The service kubernetes.default always has the first address of the service CIDR.',
  },
  'no-such-service': {
    title: () => 'a missing service has no name',
    why: 'A name that does not exist must be denied at once, not time out.',
  },
  endpoint: {
    title: ({ of }) => `name of an endpoint of ${of}`,
    why: 'There is a name for each ready endpoint of a service.',
  },
  srv: {
    title: ({ of, port }) =>
      port === undefined ? `SRV records of ${of}` : `SRV record of ${of}, port ${port}`,
    why: "A port has an SRV record with the ClusterIP's name, or one for each endpoint of a headless service.",
  },
  'pod-address': {
    title: () => "name of a pod's address",
    why: 'A pod\'s address has a name, unless a Corefile says neither "pods insecure" nor "pods verified".',
  },
  'external-name': {
    title: ({ of }) => `ExternalName ${of}`,
    why: 'A service of type ExternalName is another name for its target.',
  },
  node: {
    title: ({ of }) => `name of node ${of}`,
    why: "A node's name resolves to its own address, as in k3s.",
  },
};

const SENTENCES: { readonly [K in CheckKind]: Sentences<CheckOf<K>> } = {
  session: {
    title: ({ subject: { a, b, protocol } }) =>
      `${protocol === 'ebgp' ? 'eBGP' : 'iBGP'} session ${a} - ${b}`,
    expected: ({ wanted: { state, ends }, reason }) =>
      state === 'absent'
        ? 'no session'
        : ['Established at both ends', ...new Set(agreements(reason, ends, 'wanted'))].join('; '),
    observed: ({ ends }, { reason }) =>
      ends
        .map((end) => {
          const { machine, state, asn, wantedAsn, problem, drops = 0 } = end;
          const what = problem ?? state ?? 'no session configured';
          const as = asn === undefined ? '' : ` with AS ${asn} instead of ${wantedAsn}`;
          const often = drops === 0 ? '' : `, ended ${countText(drops, 'time')} since its daemon started`;
          const agreed = end.agreed === undefined ? [] : [{ machine, ...end.agreed }];
          return [`${machine}: ${what}${as}${often}`, ...agreements(reason, agreed, 'seen')].join(', ');
        })
        .join('; '),
    why: () => 'Routes are exchanged over established sessions only.',
  },
  route: {
    title: ({ subject: { machine, table, prefix } }) => `${machine} ${tableName(table)}: ${prefix}`,
    expected: ({ wanted: { nextHops, take, rule } }) =>
      rule === 'encapsulated'
        ? 'not judged'
        : `${take === nextHops.length ? '' : `${take} of `}${listed(nextHops, 'absent')}`,
    observed: ({ nextHops }) => listed(nextHops, 'absent'),
    why: ({ subject: { machine }, wanted: { rule, owner = '', nextHops, take } }) =>
      [
        ROUTES[rule](machine, owner),
        ...(take === nextHops.length
          ? []
          : [`Its BIRD gives the kernel ${take} next hops at most, and chooses them itself.`]),
      ].join(' '),
  },
  'unplanned-routes': {
    title: ({ subject: { machine } }) => `${machine}: no unplanned route`,
    expected: ({ wanted: { prefixes } }) => listed(prefixes),
    observed: ({ held, offered }, { subject: { machine } }) =>
      [
        ...held.map(
          ({ prefix, tables, nextHops }) =>
            `${machine} ${tables.map(tableName).join(' and ')}: unplanned ${prefix} ${listed(nextHops.map(hopText))}`,
        ),
        ...[...new Set(offered.map(({ prefix }) => prefix))].map((prefix) => {
          const to = offered
            .filter((each) => each.prefix === prefix)
            .map(({ to, refusedBy }) =>
              refusedBy === null ? to : `${to} (refused by its ${filterText(refusedBy)})`,
            );
          return `${machine} offers unplanned ${prefix} to ${listed(to)}`;
        }),
      ].join('; ') || 'none',
    why: () =>
      'A route that nobody planned draws traffic to where nothing answers, or replaces the one that is needed.',
  },
  state: {
    title: ({ subject: { machine } }) => `${machine} says what its routes and rules are`,
    expected: () => 'an answer',
    observed: ({ routes, unread }) =>
      unread.length > 0 ? `not understood, so left out: ${unread.join('; ')}` : `${routes} routes`,
    why: () => 'What must happen follows from what is there, so it has to be looked at first.',
  },
  'proxy-mode': {
    title: () => 'kube-proxy is set up in a way that is modelled',
    expected: ({ wanted: { mode } }) => `${mode} mode`,
    observed: ({ mode }) => `${mode} mode`,
    why: () => 'Which backend and which source address a connection gets is decided by its rules.',
  },
  'client-pod': {
    title: ({ subject: { pod } }) => `pod ${pod} is ready`,
    expected: () => 'ready, with an address',
    observed: ({ exists, ready, address }) =>
      exists ? `${ready ? 'ready' : 'not ready'}, ${address ?? 'no address'}` : 'there is no such pod',
    why: () => 'Cells from inside the pod network start there.',
  },
  servers: {
    title: () => 'echo servers are ready',
    expected: () => 'at least one ready pod behind a service',
    observed: ({ pods }) => listed(pods.map(({ name, node }) => `${name} on ${node ?? 'no node'}`)),
    why: () => 'Without a ready pod nothing can answer.',
  },
  services: {
    title: ({ subject: { namespace } }) =>
      `namespace ${namespace} has services, and they have their addresses`,
    expected: () => 'at least one service with a ClusterIP, and no LoadBalancer service that is pending',
    observed: ({ services, pending }, { subject: { namespace } }) =>
      pending.length === 0
        ? listed(services)
        : `pending: ${pending.join(', ')} (npx lab kubectl describe services -n ${namespace} says why)`,
    why: () => 'Services are what the matrix is about; a pending one has no address that could be tested.',
  },
  masquerading: {
    title: ({ subject: { machine } }) => `${machine} masquerades what leaves the pod network`,
    expected: ({ wanted }) => masqueraded(wanted),
    observed: ({ rule }) => masqueraded(rule),
    why: ({ wanted }) =>
      wanted.sources.length === 0
        ? 'No IPPool of Calico has natOutgoing, so a pod shows its own address everywhere.'
        : "Whoever is not in the cluster need not have a route to a pod's address, so a pod shows its node's there.",
  },
  'pod-gateway': {
    title: ({ subject: { machine } }) => `${machine} answers its pods for their gateway`,
    expected: ({ wanted: { gateway } }) => `a route to ${gateway}`,
    observed: ({ interface: by }, { wanted }) =>
      by === null ? `no route to ${wanted.gateway} (npx labup puts it back)` : `by ${by}`,
    why: ({ wanted: { gateway } }) =>
      `Calico gives every pod the gateway ${gateway}, and the node's kernel answers for it only while it has a route there by another interface than the pod's; without it no pod reaches anything, nor answers.`,
  },
  policies: {
    title: () => 'policies are enforced',
    expected: () => 'a pod network that enforces them',
    observed: ({ policies, enforced, unmodelled = [] }) => {
      if (!enforced)
        return `${listed(policies)}: ${policies.length === 1 ? 'it is' : 'they are'} there, and nothing enforces ${policies.length === 1 ? 'it' : 'them'}`;
      const known = policies.filter((name) => !unmodelled.includes(name));
      return [
        ...(known.length === 0 ? [] : [`${listed(known)}: enforced by Calico`]),
        ...(unmodelled.length === 0 ? [] : [`${listed(unmodelled)}: not modelled`]),
      ].join('; ');
    },
    why: ({ seen }) =>
      seen?.enforced !== true
        ? 'The `bird` CNI knows no policies, so every connection passes as if there were none; Calico enforces them.'
        : seen.unmodelled === undefined
          ? 'What must happen to connections of the pods that they select follows from them.'
          : 'labtest does not know what policies of this kind let pass, so connections of the pods that they select are not judged.',
  },
  'service-rules': {
    title: ({ subject: { machine, service } }) => `${machine} rules for ${service}`,
    expected: (check) => ruleChains(check.wanted.chains, check),
    observed: ({ chains }, check) => ruleChains(chains, check),
    why: () =>
      'kube-proxy makes one chain per service port that leads to all ready pods, or to those that topology hints keep for the node, and with externalTrafficPolicy Local another one that leads to those of the node; each gets the same part of new connections.',
  },
  'udp-flows': {
    title: ({ subject: { machine } }) => `${machine} sends no UDP client to a pod that is gone`,
    expected: () => 'every tracked flow to a service goes to one of its endpoints',
    observed: ({ flows, stale, unread }) =>
      stale
        .map(
          ({ client, clientPort, destination, port, backend, service }) =>
            `${client}:${clientPort} to ${destination}:${port} goes to ${backend}, which is no endpoint of ${service}`,
        )
        .join('; ') ||
      `${flows} flows, none stale${unread.length === 0 ? '' : `; not understood: ${unread.join('; ')}`}`,
    why: () =>
      'A client that keeps its source port stays with its entry, even where the pod behind it is gone.',
  },
  dns: {
    title: ({ wanted }) => NAMES[wanted.rule].title(wanted),
    expected: ({ wanted: { outcome, answers } }) =>
      outcome === 'harness-error' ? 'not judged' : dnsAnswer(outcome, answers),
    observed: ({ outcome, answers, detail }) => dnsAnswer(outcome, answers, detail),
    why: ({ wanted }) => wanted.policy ?? NAMES[wanted.rule].why,
  },
  'hash-policy': {
    title: ({ subject: { machine } }) => `${machine} spreads the connections of one client`,
    expected: ({ wanted: { policy } }) => hashPolicy(policy),
    observed: ({ policy }) => hashPolicy(policy),
    why: () => 'With policy 0 all connections of one client go to one worker, however many there are.',
  },
  spread: {
    title: ({ subject: { from, target }, seen }) =>
      `${from} to ${target}${seen === null ? '' : `: ${seen.flows} connections`}`,
    expected: ({ wanted: { nodes, policy } }) =>
      `${policy === 0 && nodes.length > 1 ? 'all on one of' : 'all of'} ${listed(nodes, 'nobody')}`,
    observed: ({ counts }) => {
      const perNode = new Map<string, number>();
      for (const { node, count } of counts) perNode.set(node, (perNode.get(node) ?? 0) + count);
      return listed(
        [...perNode].map(([node, count]) => `${node} ${count}`),
        'no answer',
      );
    },
    why: (check) =>
      `${whySpread(check)}${check.seen?.again === undefined ? '' : `; ${check.seen.again} of them was answered as it must be at the second try only`}.`,
  },
  affinity: {
    title: ({ wanted: { from, to }, seen }) => `${from} to ${to}: ${seen?.flows ?? 0} connections`,
    expected: () => 'all answered by one pod',
    observed: ({ counts }) => listed(counts.map(({ answer, count }) => `${answer} ${count}`)),
    why: ({ wanted: { service, node } }) =>
      `${service} has sessionAffinity ClientIP, so ${node} leads a client's address to the pod that it got first.`,
  },
  'full-size': {
    title: () => 'packets of full size pass wherever small ones do',
    expected: ({ wanted: { streamBytes } }) =>
      `${streamBytes} bytes each way over TCP, one packet of the path MTU each way over UDP`,
    observed: ({ ways, holes }) =>
      holes
        .map(({ machines, link, lost, cell, detail }) => {
          const where = `${machines.length === 1 ? 'at' : 'on the path over'} ${listed(machines, 'no machine that is known')}`;
          const how =
            link === undefined
              ? ''
              : ` (its ${link.name} takes packets of ${link.mtu} bytes, other machines' links ${link.usualMtu}, and the senders are not told)`;
          return `${lost} of ${ways} paths lose packets of full size ${where}${how}, e.g. ${cell}: ${detail}`;
        })
        .join('; ') || `all ${ways} paths carry them`,
    why: () =>
      'A link with a smaller MTU whose message "fragmentation needed" does not reach the sender loses large packets without a sign.',
  },
  run: {
    title: () => 'labtest runs to its end',
    expected: () => 'a result for every cell',
    observed: () => 'it ran',
    why: () => 'Where the test itself fails, nothing is known about the lab.',
  },
};

type Agreements = CheckOf<'session'>['wanted']['ends'];

/** What the ends of a session agreed on, or had to, as far as the reason of its check is about it. */
function agreements(
  reason: CheckOf<'session'>['reason'],
  ends: Agreements,
  which: 'wanted' | 'seen',
): readonly string[] {
  return ends.flatMap(({ machine, holdSeconds, capabilities, password, restartSeconds, asPaths }) => {
    switch (reason) {
      case 'as-wanted':
        return which === 'seen' ? `hold time ${holdSeconds} s` : [];
      case 'hold-time':
        return `hold time ${holdSeconds} s`;
      case 'capabilities':
        return `capabilities ${listed(capabilities)}`;
      case 'password':
        return password === undefined ? [] : `${password ? 'with' : 'without'} a TCP MD5 password`;
      case 'restart-time':
        return restartSeconds === undefined ? [] : `routes kept for ${restartSeconds} s in a restart`;
      case 'as-path': {
        const paths = `AS path ${listed(asPaths.map((path) => path || 'empty'))}`;
        return which === 'wanted' ? `${paths} at ${machine}` : paths;
      }
      default:
        return [];
    }
  });
}

function hopText(hop: string): string {
  return isIPv4(hop) ? `via ${hop}` : hop;
}

function listed(items: readonly string[], none = 'none'): string {
  return items.join(', ') || none;
}

type Networks = CheckOf<'masquerading'>['wanted'];

function masqueraded(rule: Networks | null): string {
  return rule === null || rule.sources.length === 0
    ? 'nothing is masqueraded'
    : `what comes from ${rule.sources.join(', ')} is masqueraded, unless it is for ${rule.except.join(', ')}`;
}

type Chains = NonNullable<CheckOf<'service-rules'>['seen']>['chains'];

/** The chains that are wrong, or all where none is. */
function ruleChains(chains: Chains, check: CheckOf<'service-rules'>): string {
  const wrong = wrongChains(check);
  return chains
    .filter(({ chain }) => wrong.length === 0 || wrong.includes(chain))
    .map(({ chain, backends, percents, lostPercent }) => {
      const lost = lostPercent === undefined ? [] : [{ backend: 'nobody', percent: lostPercent }];
      const each = percents?.concat(lost).map(({ backend, percent }) => `${backend} (${percent} %)`);
      return `${chain} to ${listed(each ?? backends, 'nobody')}`;
    })
    .join('; ');
}

function dnsAnswer(outcome: string, answers: readonly string[], detail: string | null = null): string {
  if (outcome === 'ok') return [...answers].sort().join(', ');
  return detail === null ? outcome : `${outcome}: ${detail}`;
}

const HASH_POLICIES = ['by addresses', 'by addresses and ports'];

function hashPolicy(policy: number): string {
  return `net.ipv4.fib_multipath_hash_policy ${policy} (${HASH_POLICIES[policy] ?? 'something else'})`;
}

function whySpread({ reason, subject, wanted, seen, problem }: CheckOf<'spread'>): string {
  const { chooser, policy, nodes, servers } = wanted;
  const { flows = 0, lost = 0, firstLost, stranger, counts = [] } = seen ?? {};
  const reached = [...new Set(counts.map(({ node }) => node))];
  const others = (of: readonly string[], without: readonly string[]) =>
    of.filter((node) => !without.includes(node)).join(', ');
  switch (reason) {
    case 'several-choosers':
      return `More than one machine on the path from ${subject.from} chooses among next hops, which is not modelled`;
    case 'policy-not-modelled':
      return `fib_multipath_hash_policy ${policy} of ${chooser} is not modelled, only 0 and 1`;
    case 'rare-next-hop':
      return `The weights of ${chooser}'s next hops make one of them so rare that it would take more than a thousand connections to see it`;
    case 'not-read':
    case 'no-answer':
      return `It could not be tried: ${problem}`;
    case 'unanswered':
      return `${lost} of ${flows} connections from ${subject.from} got no answer (${firstLost})`;
    case 'wrong-server':
      return `${stranger} answered, which is none of ${servers.join(', ')}`;
    case 'wrong-node':
      return `${others(reached, nodes)} answered, but ${chooser} has only ${nodes.join(', ')} as next hops`;
    case 'several-nodes':
      return `fib_multipath_hash_policy of ${chooser} is 0, so one client's connections must all take one next hop, but they took ${reached.join(', ')}`;
    case 'missed-node':
      return `${others(nodes, reached)} got none of ${flows} connections, though ${chooser} has ${nodes.length} next hops and spreads by addresses and ports`;
    case 'as-wanted':
      if (nodes.length <= 1) return `${chooser} has one next hop, so there is nothing to choose`;
      return policy === 0
        ? `${chooser} chooses among ${nodes.length} next hops by addresses alone (fib_multipath_hash_policy 0), so all connections of one client take one of them`
        : `${chooser} chooses among ${nodes.length} next hops by addresses and ports (fib_multipath_hash_policy 1), so connections reach all of them; ${flows} connections would miss one with a probability of at most ${MISS_PROBABILITY}`;
  }
}

/** BIRD has no name for a filter that is written where it is used, as Calico's are. */
function filterText(name: string): string {
  return name === '(unnamed)' ? 'filter' : `filter ${name}`;
}
