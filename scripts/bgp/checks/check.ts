import { z } from 'zod';
import { ECHO_NAMESPACE } from '../../spec/names.ts';

/** `harness`: it could not be looked at, so nothing is known. `blocked`: something below it is known to be broken. */
export const CHECK_VERDICTS = ['passed', 'failed', 'blocked', 'skipped', 'harness'] as const;
export type CheckVerdict = (typeof CHECK_VERDICTS)[number];

const text = z.string();
const count = z.int().nonnegative();
const texts = z.array(text).readonly();
const lists = <T extends z.ZodRawShape>(shape: T) => z.array(z.strictObject(shape).readonly()).readonly();

/** Why a route has to be as it is. `owner` of the check's `wanted` is the node that announces the prefix. */
const ROUTE_RULES = [
  'own-block-to-router',
  'block-without-session',
  'service-cidr',
  'external-to-router',
  'refused-by-router',
  'own-block',
  'block-over-ibgp',
  'announced-here',
  'learned-over-ibgp',
  'router-prefix',
  'router-prefix-without-session',
  'encapsulated',
] as const;

/** Which part of the specification of Kubernetes DNS, or of what servers have beyond it, gives a name its answer. */
const DNS_RULES = [
  'service',
  'service-reverse',
  'headless',
  'pod',
  'pod-reverse',
  'api-server',
  'no-such-service',
  'endpoint',
  'srv',
  'pod-address',
  'external-name',
  'node',
] as const;

/** The reasons that checks of every kind can have: it is as wanted; nobody could look; what has to answer fails. */
const COMMON_REASONS = ['as-wanted', 'not-read', 'no-answer'] as const;

function about<
  const K extends string,
  const R extends string,
  S extends z.ZodRawShape,
  W extends z.ZodRawShape,
  N extends z.ZodRawShape,
>(kind: K, reasons: readonly R[], parts: { readonly subject: S; readonly wanted: W; readonly seen: N }) {
  return z.strictObject({
    kind: z.literal(kind),
    id: text.describe('Made from the subject, so stable from run to run.'),
    verdict: z.enum(CHECK_VERDICTS),
    reason: z.enum([...COMMON_REASONS, ...reasons]).describe('Why the verdict is what it is.'),
    subject: z.strictObject(parts.subject).readonly().describe('What was looked at.'),
    wanted: z.strictObject(parts.wanted).readonly(),
    seen: z.strictObject(parts.seen).readonly().nullable().describe('null where nothing could be seen.'),
    problem: text.optional().describe('What was said where nothing could be seen.'),
    blockedBy: text.optional().describe('The id of the failed check that this one follows from.'),
  });
}

const machine = { machine: text };

/** What the ends of an established session have agreed on; where only one kind of daemon tells, it is optional. */
const agreed = {
  holdSeconds: z.number(),
  capabilities: texts,
  password: z.boolean().optional().describe('Whether TCP segments are signed (RFC 2385).'),
  restartSeconds: z.number().optional().describe('How long routes of a peer that restarts are kept.'),
  asPaths: texts.describe('Of the routes that came in.'),
};
const session = about(
  'session',
  [
    'not-configured',
    'not-established',
    'wrong-as',
    'unplanned',
    'hold-time',
    'capabilities',
    'password',
    'restart-time',
    'as-path',
  ],
  {
    subject: { a: text, b: text, protocol: z.enum(['ebgp', 'ibgp']) },
    wanted: { state: z.enum(['Established', 'absent']), ends: lists({ machine: text, ...agreed }) },
    seen: {
      ends: lists({
        machine: text,
        state: text.nullable().describe('null where no session is configured.'),
        asn: z.number().optional().describe('The AS number of the other end, where it is a wrong one.'),
        wantedAsn: z.number().optional(),
        problem: text.optional().describe('What this end said instead of its state.'),
        agreed: z.strictObject(agreed).readonly().optional(),
        drops: count.optional().describe('How often the session has ended since the daemon knows it.'),
      }),
    },
  },
);
const route = about('route', ['missing', 'unwanted', 'wrong-next-hops', 'encapsulated'], {
  subject: { ...machine, table: text, prefix: text },
  wanted: {
    nextHops: texts.describe('Addresses, or "blackhole"; empty where the prefix must be absent.'),
    take: count.describe('How many of them, where the BGP daemon chooses among them for the kernel.'),
    rule: z.enum(ROUTE_RULES),
    owner: text.optional(),
  },
  seen: { nextHops: texts },
});
const unplannedRoutes = about('unplanned-routes', ['unwanted'], {
  subject: machine,
  wanted: { prefixes: texts },
  seen: {
    held: lists({ prefix: text, tables: texts, nextHops: texts }),
    offered: lists({
      prefix: text,
      to: text.describe('The other end of the BGP session.'),
      refusedBy: text.nullable().describe('The filter that keeps it out there; null where it is taken in.'),
    }),
  },
});
const unread = { unread: texts.describe('Lines that no reader knows, so left out.') };
const state = about('state', ['partly-read'], {
  subject: machine,
  wanted: {},
  seen: { routes: count, ...unread },
});
const proxyMode = about('proxy-mode', ['not-modelled'], {
  subject: {},
  wanted: { mode: text },
  seen: { mode: text },
});
const clientPod = about('client-pod', ['missing', 'not-ready'], {
  subject: { pod: text },
  wanted: { ready: z.literal(true) },
  seen: { exists: z.boolean(), ready: z.boolean(), address: text.nullable() },
});
const servers = about('servers', ['missing'], {
  subject: {},
  wanted: { least: count },
  seen: { pods: lists({ name: text, node: text.nullable() }) },
});
const services = about('services', ['missing', 'pending'], {
  subject: { namespace: text },
  wanted: { least: count },
  seen: {
    services: texts,
    pending: texts.describe('LoadBalancer services that wait for an address, where the lab gives addresses.'),
  },
});
const networks = { sources: texts, except: texts };
const masquerading = about('masquerading', ['missing', 'other-addresses'], {
  subject: machine,
  wanted: networks,
  seen: { rule: z.strictObject(networks).readonly().nullable().describe('null: nothing is masqueraded.') },
});
const podGateway = about('pod-gateway', ['missing'], {
  subject: machine,
  wanted: { gateway: text },
  seen: { interface: text.nullable() },
});
const policies = about('policies', ['not-enforced', 'not-modelled'], {
  subject: {},
  wanted: { enforced: z.literal(true) },
  seen: {
    policies: texts,
    enforced: z.boolean(),
    unmodelled: texts.optional().describe('Those of which labtest does not know what they do.'),
  },
});
const chains = { chains: lists({ chain: text, backends: texts.describe('ADDRESS:PORT, sorted.') }) };
const serviceRules = about('service-rules', ['wrong-backends', 'unequal-shares'], {
  subject: { ...machine, service: text },
  wanted: chains,
  seen: {
    chains: lists({
      chain: text,
      backends: texts,
      percents: lists({ backend: text, percent: z.number() })
        .optional()
        .describe('What part of new connections each gets, where that is not the same for all.'),
      lostPercent: z.number().optional().describe('What part of them goes to none.'),
    }),
  },
});
const udpFlows = about('udp-flows', ['stale', 'partly-read'], {
  subject: machine,
  wanted: { stale: count },
  seen: {
    flows: count,
    stale: lists({
      client: text,
      clientPort: count,
      destination: text,
      port: count,
      backend: text,
      service: text,
    }),
    ...unread,
  },
});
const DNS_OUTCOMES = ['ok', 'dns-nxdomain', 'dns-error', 'harness-error'] as const;
const dns = about('dns', ['no-such-name', 'unexpected-name', 'wrong-answer', 'policy-not-known'], {
  subject: {
    from: text,
    type: z.enum(['A', 'CNAME', 'SRV', 'PTR']),
    name: text,
    host: text.optional().describe('PTR only: the name that the address must have; addresses vary.'),
  },
  wanted: {
    outcome: z.enum(DNS_OUTCOMES),
    answers: texts,
    rule: z.enum(DNS_RULES),
    of: text.optional().describe('The service or pod.'),
    port: text.optional(),
    policy: text
      .optional()
      .describe('Why a policy lets the question get no answer, or why that is not known.'),
  },
  seen: { outcome: z.enum(DNS_OUTCOMES), answers: texts, detail: text.nullable() },
});
const hashPolicy = about('hash-policy', ['other-policy'], {
  subject: machine,
  wanted: { policy: count },
  seen: { policy: count },
});
const spread = about(
  'spread',
  [
    'several-choosers',
    'policy-not-modelled',
    'rare-next-hop',
    'unanswered',
    'wrong-server',
    'wrong-node',
    'several-nodes',
    'missed-node',
  ],
  {
    subject: { from: text, target: text },
    wanted: {
      chooser: text.describe('The machine whose kernel chooses among next hops.'),
      policy: count.describe('Its fib_multipath_hash_policy.'),
      nodes: texts.describe('The machines behind the next hops.'),
      servers: texts.describe('The addresses that may answer.'),
    },
    seen: {
      flows: count.describe('How many connections were made, each with a source port of its own.'),
      counts: lists({ node: text, pod: text, count }),
      lost: count.describe('How many got no answer.'),
      again: count.optional().describe('How many got one at the second try only.'),
      firstLost: text.optional().describe('How the first of them ended.'),
      stranger: text.optional().describe('An address that answered and must not.'),
    },
  },
);
const affinity = about('affinity', ['several-pods', 'unanswered'], {
  subject: { cell: text },
  wanted: { from: text, to: text, service: text, node: text },
  seen: { flows: count, counts: lists({ answer: text, count }) },
});
const fullSize = about('full-size', ['small-link', 'lost'], {
  subject: {},
  wanted: { streamBytes: count.describe('Each way over TCP; over UDP one packet of the path MTU each way.') },
  seen: {
    ways: count.describe('Connections that were right with small packets.'),
    holes: lists({
      machines: texts.describe(
        'The machine that loses them, or what the ways that lose them have in common.',
      ),
      link: z
        .strictObject({ name: text, mtu: count, usualMtu: count })
        .readonly()
        .optional()
        .describe('The interface of that machine, where it takes smaller packets than those of others.'),
      lost: count.describe('How many ways lose full-size packets there.'),
      cell: text.describe('One of them.'),
      detail: text.nullable(),
    }),
  },
});
const run = about('run', [], { subject: {}, wanted: {}, seen: {} });

const KINDS = [
  session,
  route,
  unplannedRoutes,
  state,
  proxyMode,
  clientPod,
  servers,
  services,
  masquerading,
  podGateway,
  policies,
  serviceRules,
  udpFlows,
  dns,
  hashPolicy,
  spread,
  affinity,
  fullSize,
  run,
] as const;

/** Checks as they are, and how they are written down. */
export const checkSchema = z.discriminatedUnion('kind', KINDS);

/** One thing about the lab that was looked at, beside the connectivity matrix. Sentences about it: report/check-text.ts. */
export type Check = Readonly<z.infer<typeof checkSchema>>;
export type CheckKind = Check['kind'];
export type CheckOf<K extends CheckKind> = Extract<Check, { readonly kind: K }>;
export type Subject<K extends CheckKind> = CheckOf<K>['subject'];

const IDS: { readonly [K in CheckKind]: (subject: Subject<K>) => string } = {
  session: ({ a, b }) => `bgp.session.${a}-${b}`,
  route: ({ machine, table, prefix }) => `bgp.route.${machine}.${table}.${prefix}`,
  'unplanned-routes': ({ machine }) => `bgp.route.${machine}.nothing-else`,
  state: ({ machine }) => `state.${machine}`,
  'proxy-mode': () => 'state.kube-proxy',
  'client-pod': () => 'workloads.client-pod',
  servers: () => 'workloads.servers',
  services: ({ namespace }) => `workloads.services${namespace === ECHO_NAMESPACE ? '' : `.${namespace}`}`,
  masquerading: ({ machine }) => `pod-network.${machine}`,
  'pod-gateway': ({ machine }) => `pod-network.${machine}.gateway`,
  policies: () => 'pod-network.policies',
  'service-rules': ({ machine, service }) => `rules.${machine}.${service}`,
  'udp-flows': ({ machine }) => `conntrack.udp.${machine}`,
  dns: ({ type, name, host = name }) => `dns.${type.toLowerCase()}.${host}`,
  'hash-policy': ({ machine }) => `ecmp.policy.${machine}`,
  spread: ({ from, target }) => `ecmp.spread.${from}>${target}`,
  affinity: ({ cell }) => `affinity.${cell}`,
  'full-size': () => 'full-size',
  run: () => 'labtest',
};

/** The id that users see, from what the check is about. */
export function checkId<K extends CheckKind>(kind: K, subject: Subject<K>): string {
  return IDS[kind](subject);
}

/** What a check says beside what it is about. A check without `seen` could see nothing. */
type Finding<K extends CheckKind> = Pick<CheckOf<K>, 'reason' | 'wanted'> &
  Partial<Pick<CheckOf<K>, 'verdict' | 'seen' | 'problem' | 'blockedBy'>>;

/** Makes a check, with its id. Its verdict follows from the reason where none is given. */
export function makeCheck<K extends CheckKind>(
  kind: K,
  subject: Subject<K>,
  finding: Finding<K>,
): CheckOf<K> {
  const id = checkId(kind, subject);
  const verdict = verdictOf(finding.reason);
  // TypeScript cannot see that the parts of one kind make a check of that kind.
  return { kind, id, subject, seen: null, verdict, ...finding } as unknown as CheckOf<K>;
}

function verdictOf(reason: string): CheckVerdict {
  return reason === 'as-wanted' ? 'passed' : reason === 'not-read' ? 'harness' : 'failed';
}

/** A check of what could not be seen: the lab's failure where something there does not answer, else the harness's. */
export function unseenCheck<K extends CheckKind>(
  kind: K,
  subject: Subject<K>,
  wanted: CheckOf<K>['wanted'],
  { fault, detail }: { readonly fault: 'lab' | 'harness'; readonly detail: string },
): CheckOf<K> {
  const reason = fault === 'lab' ? 'no-answer' : 'not-read';
  return makeCheck(kind, subject, { reason, wanted, problem: detail } as Finding<K>);
}
