import { commentOf, optionOf, parseCounters, type RuleCounters } from '../matrix/proof-counters.ts';
import { counts, parseAnswers } from './answers.ts';
import { ipsOf, prints } from './expect.ts';
import type { Facts, PodFact } from './facts.ts';
import type { Expectation, Judgement, Value } from './scenario.ts';
import { find } from './words.ts';

/** kube-proxy's rules for the first port of a service, as `iptables-save -c -t nat` has them. */
export interface ServiceTree {
  /** The rule for its ClusterIP; undefined: there is none. */
  readonly chain: string | undefined;
  /** Connections from sources outside the pod network are marked for masquerading. */
  readonly marksOutside: boolean;
  /** In their order. */
  readonly backends: readonly {
    /** Of what the rules before it leave over; absent: all of it. */
    readonly probability?: number;
    /** "ADDRESS:PORT" */
    readonly to: string;
    /** A connection of the pod to itself is marked for masquerading. */
    readonly marksItself: boolean;
    /** Connections that were led there. */
    readonly packets: number;
  }[];
  /** What its node port leads to: chains, and whether the connection is marked on the way. */
  readonly nodePort: { readonly marks: boolean; readonly chains: readonly string[] } | undefined;
}

const MARK = 'KUBE-MARK-MASQ';

/** Finds the rules of a service, by the comments that kube-proxy gives them. Throws where the text is no output of iptables-save. */
export function serviceTree(text: string, owner: string, clusterIp: string): ServiceTree {
  const rules = parseCounters(text);
  const own = rules.filter((rule) => commentOf(rule).startsWith(owner));
  const portal = own.find(
    ({ chain, rule, target }) =>
      chain === 'KUBE-SERVICES' && target.startsWith('KUBE-SVC-') && rule.includes(` -d ${clusterIp}/32 `),
  );
  const marks = ({ chain, target }: RuleCounters[number], of: string) => chain === of && target === MARK;
  const outside = (rule: RuleCounters[number]) =>
    / ! -s \S+/.test(rule.rule) && optionOf(rule, '-d') === `${clusterIp}/32`;
  const port = own.filter(({ chain }) => chain === 'KUBE-NODEPORTS');
  const first = port.find(({ target }) => target.startsWith('KUBE-') && target !== MARK)?.target;
  const next = rules.find(({ chain, target }) => chain === first && target.startsWith('KUBE-SVC-'))?.target;
  const chains = [first, next].flatMap((chain) => chain ?? []);
  return {
    chain: portal?.target,
    marksOutside: own.some(
      (rule) => outside(rule) && (marks(rule, 'KUBE-SERVICES') || marks(rule, portal?.target ?? '')),
    ),
    backends: rules
      .filter(({ chain, target }) => chain === portal?.target && target.startsWith('KUBE-SEP-'))
      .map((jump) => {
        const there = rules.filter(({ chain }) => chain === jump.target);
        const dnat = there.find(({ target }) => target === 'DNAT');
        const to = dnat === undefined ? '' : (optionOf(dnat, '--to-destination') ?? '');
        const probability = optionOf(jump, '--probability');
        return {
          ...(probability === undefined ? {} : { probability: Number(probability) }),
          to,
          marksItself: there.some(
            (rule) => rule.target === MARK && optionOf(rule, '-s') === `${to.split(':')[0]}/32`,
          ),
          packets: dnat?.packets ?? 0,
        };
      }),
    nodePort:
      first === undefined
        ? undefined
        : {
            marks: [...port, ...rules.filter(({ chain }) => chain === first)].some(
              (rule) => rule.target === MARK && !rule.rule.includes(' -s 127.0.0.0/8 '),
            ),
            chains,
          },
  };
}

function treeOf(service: string, stdout: string, facts: Facts): ServiceTree {
  const { namespace, name, ports, clusterIp } = find('service', facts.services, service);
  const port = ports[0]?.name ?? '';
  return serviceTree(
    stdout,
    port === '' ? `${namespace}/${name}` : `${namespace}/${name}:${port}`,
    clusterIp,
  );
}

function tree(
  service: string,
  wanted: string,
  judge: (tree: ServiceTree, facts: Facts) => Judgement,
): Expectation {
  return prints(
    wanted,
    (stdout) => stdout,
    (stdout, facts) => judge(treeOf(service, stdout, facts), facts),
  );
}

/** A rule leads the ClusterIP to the service's chain, and one marks what comes from outside the pod network. */
export function portalRules(service: string): Expectation {
  return tree(
    service,
    `KUBE-SERVICES leads the ClusterIP of ${service} to a chain of its own, and ${MARK} marks what comes from outside the pod network`,
    ({ chain, marksOutside }) => ({
      right: chain !== undefined && marksOutside,
      seen: `${chain ?? 'no rule for the ClusterIP'}, ${marksOutside ? 'marked' : 'not marked'}`,
    }),
  );
}

/** kube-proxy writes probabilities with ten or eleven digits; the kernel keeps 31 bits of them. */
const ROUNDING = 1e-6;

/** One rule for each pod, in turn with probability 1/n, 1/(n-1) ... and the rest. */
export function backendRules(service: string, pods: Value<readonly PodFact[]>): Expectation {
  return tree(
    service,
    `one rule for each of ${pods.text}, with probability 1/n of n, 1/(n-1) of the rest, and so on; none for the last`,
    ({ backends }, facts) => {
      const wanted = ipsOf(pods, facts);
      const has = backends.map(({ to }) => to.split(':')[0] ?? '').sort();
      const even = backends.every(
        ({ probability = 1 }, index) => Math.abs(probability - 1 / (backends.length - index)) < ROUNDING,
      );
      const seen = backends.map(({ to, probability }) => `${to} ${probability?.toFixed(4) ?? 'the rest'}`);
      return { right: even && wanted.join() === has.join(), seen: seen.join(', ') || 'no backend' };
    },
  );
}

/** The chain of the service leads to these addresses and ports, whatever answers there. */
export function leadsTo(service: string, wanted: Value<string>): Expectation {
  return tree(
    service,
    `the rules lead the ClusterIP of ${service} to ${wanted.text}`,
    ({ backends }, facts) => {
      const seen = backends.map(({ to }) => to).join(', ');
      return { right: seen === wanted.of(facts), seen: seen || 'nowhere' };
    },
  );
}

/** Each backend's chain marks the connection of the pod to itself: its answer would otherwise not pass the node. */
export function hairpinRules(service: string): Expectation {
  return tree(
    service,
    'each KUBE-SEP chain marks what comes from its own pod, then translates to it',
    ({ backends }) => {
      const wrong = backends.filter(({ marksItself, to }) => !marksItself || to === '');
      return {
        right: backends.length > 0 && wrong.length === 0,
        seen:
          wrong.length === 0
            ? `${backends.length} chains, each marks and translates`
            : `not so: ${wrong.map(({ to }) => to).join(', ')}`,
      };
    },
  );
}

/**
 * Of a command between two `iptables-save -c`: each backend's rule has counted as many connections as its pod has
 * answered. In one look, for kube-proxy sets all counters back whenever it writes its rules, which another service in
 * another namespace may cause; then the next look counts again.
 */
export function countedAnswers(service: string): Expectation {
  return prints(
    'between the two lists each rule has counted the connections that its pod answered',
    (stdout) => stdout,
    (stdout, facts) => {
      const [before = '', after = ''] = stdout.split(/^COMMIT$/m);
      const old = treeOf(service, before, facts).backends;
      const moved = treeOf(service, after, facts).backends.flatMap(({ to, packets }) => {
        const was = old.find((each) => each.to === to)?.packets ?? 0;
        return Array.from({ length: packets - was }, () => to.split(':')[0] ?? '');
      });
      const answered = parseAnswers(after).flatMap(({ server }) => server ?? []);
      return {
        right: answered.length > 0 && counts(moved) === counts(answered),
        seen: `counted: ${counts(moved) || 'nothing'}; answered: ${counts(answered)}`,
      };
    },
  );
}

/** Since one step, no rule of a service has counted a connection. Where kube-proxy set the counters back, none is less. */
export function countedNothingSince(before: string, service: string): Expectation {
  return tree(
    service,
    `since step ${before} no rule of ${service} has counted a connection`,
    (now, facts) => {
      const then = facts.after(before);
      const old = treeOf(service, then.stdout, { ...then.facts, after: facts.after });
      const sum = ({ backends }: ServiceTree) => backends.reduce((all, { packets }) => all + packets, 0);
      const counted = Math.max(0, sum(now) - sum(old));
      return {
        right: now.backends.length > 0 && counted === 0,
        seen: `counted: ${counted}, at ${now.backends.length} rules`,
      };
    },
  );
}

/** The rule of the node port leads to the service's chain, and the connection is marked for masquerading. */
export function nodePortRules(service: string): Expectation {
  return tree(
    service,
    `KUBE-NODEPORTS leads the node port of ${service} to its chain, and the connection is marked`,
    ({ nodePort, chain }) => ({
      right:
        nodePort !== undefined && chain !== undefined && nodePort.marks && nodePort.chains.includes(chain),
      seen:
        nodePort === undefined
          ? 'no rule for the node port'
          : `${nodePort.chains.join(', then ')}, ${nodePort.marks ? 'marked' : 'not marked'}`,
    }),
  );
}
