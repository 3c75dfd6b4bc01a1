import { z } from 'zod';
import { type Answer, ask, type LeaveOut, read } from '../../bgp/checks/ask.ts';
import { withLength } from '../../bgp/checks/tables.ts';
import type { Executor } from '../../exec/executor.ts';
import { compareAddresses } from '../addresses.ts';
import { parsePodsToHost, parseServiceLoop } from './calico-filter.ts';
import {
  type IpSets,
  parseDropsInvalid,
  parseExternalOwners,
  parseHostPortMasquerades,
  parseNatOutgoing,
  parseSets,
} from './nat.ts';
import { listNft, parseNftTables } from './nft.ts';
import { type Hop, type Interface, type MachineState, ROUTE_TYPES, type Route } from './types.ts';

const SYSCTLS = [
  'net.ipv4.ip_forward',
  'net.ipv4.fib_multipath_hash_policy',
  'net.ipv4.conf.all.route_localnet',
] as const;

/** What is asked on every machine, in one call. */
const QUESTIONS = {
  routes: ['ip', '-j', '-4', 'route', 'show'],
  addresses: ['ip', '-j', '-4', 'addr', 'show'],
  rules: ['ip', '-j', '-4', 'rule', 'show'],
  sysctls: ['sysctl', '-e', ...SYSCTLS],
} as const;

const SAVE_SETS = `
if command -v ipset >/dev/null; then ipset save
elif pid=$(pgrep --oldest --exact calico-node); then nsenter --target "$pid" --mount ipset save
fi
`;

/**
 * Asks for the members of IP sets, which only Calico's rules need. A node without ipset of its own asks that of calico-node, in the
 * container's mount namespace; a node with neither has no such rule.
 */
export function showSets(): readonly string[] {
  return ['sh', '-c', SAVE_SETS];
}

/**
 * Asks for one table. It ends with an error, after part of the table, where nft has put something there that is no rule of
 * iptables: its complaint then stands where the rest is missing.
 */
function saveTable(table: 'nat' | 'filter'): readonly string[] {
  const script = `iptables-save -t ${table} 2>&1 || { code=$?; [ "$code" -lt 126 ] || exit "$code"; echo "iptables-save -t ${table} ended with $code"; }`;
  return ['sh', '-c', script];
}

/** What is asked on Kubernetes nodes besides. */
const NODE_QUESTIONS = {
  ...QUESTIONS,
  nat: saveTable('nat'),
  filter: saveTable('filter'),
  sets: showSets(),
  nft: listNft(),
} as const;

/**
 * Asks one machine for its addresses, routes and settings. What it could not say is in `problem`: a machine that cannot
 * be looked at must not end the run. Throws Interrupted on abort only.
 */
export async function readMachine(
  name: string,
  executor: Executor,
  isNode: boolean,
  signal?: AbortSignal,
): Promise<MachineState> {
  if (!isNode) return machineState(name, await ask(executor, QUESTIONS, { signal }));
  const { nat, filter, sets, nft, ...answers } = await ask(executor, NODE_QUESTIONS, { signal });
  return machineState(name, answers, { nat, filter, sets, nft });
}

/** A machine about which nothing is known. */
export function unknownMachine(name: string, problem: string): MachineState {
  return {
    name,
    problem,
    interfaces: [],
    routes: [],
    policyRules: [],
    refusedPrefixes: [],
    ipForward: false,
    hashPolicy: 0,
    routeLocalnet: false,
  };
}

/** Puts a machine's answers together. */
export function machineState(
  name: string,
  answers: Readonly<Record<keyof typeof QUESTIONS, Answer<string>>>,
  node?: Readonly<Record<'nat' | 'filter' | 'sets' | 'nft', Answer<string>>>,
): MachineState {
  const routes = read(answers.routes, parseRoutes);
  const interfaces = read(answers.addresses, parseInterfaces);
  const policyRules = read(answers.rules, parsePolicyRules);
  const sysctls = read(answers.sysctls, parseSysctls);
  const sets = node === undefined ? undefined : read(node.sets, parseSets);
  const members = sets?.ok === true ? sets.value : new Map();
  const nat = node && read(node.nat, (text, leaveOut) => natRules(text, members, leaveOut));
  const filter = node && read(node.filter, filterRules);
  const nft = node && read(node.nft, parseNftTables);
  const all = [routes, interfaces, policyRules, sysctls, nat, filter, nft];
  for (const answer of all) if (answer?.ok === false) return unknownMachine(name, answer.detail);
  const unread = all.flatMap((answer) => (answer?.ok === true ? (answer.unread ?? []) : []));
  if (!routes.ok || !interfaces.ok || !policyRules.ok || !sysctls.ok)
    return unknownMachine(name, 'no answer');
  const setting = (key: (typeof SYSCTLS)[number]) => sysctls.value.get(key) ?? 0;
  return {
    name,
    ...(unread.length === 0 ? {} : { unread }),
    interfaces: interfaces.value,
    routes: routes.value,
    policyRules: policyRules.value.others,
    refusedPrefixes: policyRules.value.refusedPrefixes,
    ipForward: setting('net.ipv4.ip_forward') !== 0,
    hashPolicy: setting('net.ipv4.fib_multipath_hash_policy'),
    routeLocalnet: setting('net.ipv4.conf.all.route_localnet') !== 0,
    ...(filter?.ok === true ? filter.value : {}),
    ...(nat?.ok === true ? nat.value : {}),
    ...(nft?.ok === true ? nft.value : {}),
  };
}

function natRules(text: string, sets: IpSets, leaveOut: LeaveOut): Partial<MachineState> {
  const natOutgoing = parseNatOutgoing(text, sets, leaveOut);
  const hostPortMasquerades = parseHostPortMasquerades(text);
  return {
    ...(hostPortMasquerades.length > 0 ? { hostPortMasquerades } : {}),
    ...(natOutgoing === undefined ? {} : { natOutgoing }),
    externalOwners: parseExternalOwners(text),
  };
}

function filterRules(text: string, leaveOut: LeaveOut): Partial<MachineState> {
  const serviceLoop = parseServiceLoop(text);
  const podsToHost = parsePodsToHost(text);
  return {
    dropsInvalid: parseDropsInvalid(text, leaveOut),
    ...(serviceLoop === undefined ? {} : { serviceLoop }),
    ...(podsToHost === undefined ? {} : { podsToHost }),
  };
}

const kernelRoute = z.looseObject({
  type: z.string().default('unicast'),
  dst: z.string(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  protocol: z.union([z.string(), z.number()]).default('boot'),
  metric: z.number().default(0),
  prefsrc: z.string().optional(),
  flags: z.array(z.string()).default([]),
  nexthops: z
    .array(
      z.looseObject({
        gateway: z.string().optional(),
        dev: z.string().optional(),
        weight: z.number().default(1),
        flags: z.array(z.string()).default([]),
      }),
    )
    .optional(),
});

/**
 * Reads `ip -j -4 route`. A next hop that is dead is left out, as the kernel does; the others are in the order of their
 * addresses, which the kernel's is not. Throws where it is no list.
 */
export function parseRoutes(text: string, leaveOut: LeaveOut = () => {}): readonly Route[] {
  return itemsOf(kernelRoute, text, leaveOut).map((route): Route => {
    const { type, dst, protocol, metric, prefsrc, gateway, dev, flags, nexthops } = route;
    const known = ROUTE_TYPES.find((each) => each === type) ?? 'other';
    const hops = nexthops ?? [{ gateway, dev, flags, weight: 1 }];
    return {
      prefix: withLength(dst),
      type: known,
      protocol: String(protocol),
      metric,
      ...(prefsrc === undefined ? {} : { source: prefsrc }),
      hops:
        known === 'unicast'
          ? hops
              // A hop whose link is down is used like others, unless ignore_routes_with_linkdown makes it `dead`, too.
              .filter((hop) => !hop.flags.includes('dead'))
              .map((hop) => ({
                ...(hop.gateway === undefined ? {} : { gateway: hop.gateway }),
                interface: hop.dev ?? '',
                ...(hop.weight === 1 ? {} : { weight: hop.weight }),
                ...(hop.flags.includes('linkdown') ? { isDown: true as const } : {}),
              }))
              .sort(byGateway)
          : [],
    };
  });
}

function byGateway(a: Hop, b: Hop): number {
  return compareAddresses(a.gateway ?? '', b.gateway ?? '');
}

const kernelInterface = z.looseObject({
  ifname: z.string().optional(),
  mtu: z.number().optional(),
  addr_info: z
    .array(z.looseObject({ local: z.string(), prefixlen: z.number(), scope: z.string().default('global') }))
    .default([]),
});

/** Reads `ip -j -4 addr`, in the kernel's order. Throws where it is no list. */
export function parseInterfaces(text: string, leaveOut: LeaveOut = () => {}): readonly Interface[] {
  return itemsOf(kernelInterface, text, leaveOut).flatMap(({ ifname: name, mtu, addr_info }) => {
    // iproute2 prints an empty object for every interface that a filter has left out.
    if (name === undefined) return [];
    const addresses = addr_info.map(({ local, prefixlen, scope }) => ({
      address: local,
      length: prefixlen,
      scope,
    }));
    return [{ name, ...(mtu === undefined ? {} : { mtu }), addresses }];
  });
}

const ruleList = z.array(
  z.looseObject({
    priority: z.number(),
    src: z.string().default('all'),
    dst: z.string().default('all'),
    dstlen: z.number().default(32),
    table: z.string().optional(),
    action: z.string().optional(),
    suppress_prefixlen: z.number().optional(),
  }),
);
const MAIN_PRIORITY = 32766;
/** The rules that the kernel itself makes. */
const USUAL_RULES: Readonly<Record<number, string>> = {
  0: 'local',
  [MAIN_PRIORITY]: 'main',
  32767: 'default',
};

/** What `ip -j -4 rule` says beyond the three rules that every machine has. */
export interface PolicyRules {
  /**
   * Prefixes that never follow the default route: looked up in the main table without it, and refused where nothing else
   * is found (images/machine/plain/lab-network).
   */
  readonly refusedPrefixes: readonly string[];
  /** Every other rule, in words. */
  readonly others: readonly string[];
}

/** Reads `ip -j -4 rule`. Throws on anything else. */
export function parsePolicyRules(text: string): PolicyRules {
  const rules = ruleList
    .parse(jsonOf(text))
    .filter(({ priority, src, table = '' }) => src !== 'all' || USUAL_RULES[priority] !== table);
  const guards = rules.filter(({ src, priority }) => src === 'all' && priority < MAIN_PRIORITY);
  const looked = guards.filter((rule) => rule.table === 'main' && rule.suppress_prefixlen === 0);
  const refused = guards.filter((rule) => rule.action === 'unreachable');
  const isPair = (first: (typeof rules)[number], second: (typeof rules)[number]) =>
    first.dst !== 'all' &&
    first.dst === second.dst &&
    first.dstlen === second.dstlen &&
    first.priority < second.priority;
  const pairs = looked.flatMap((first) => {
    const second = refused.find((each) => isPair(first, each));
    return second === undefined ? [] : [[first, second] as const];
  });
  const paired = new Set(pairs.flat());
  return {
    refusedPrefixes: pairs.map(([{ dst, dstlen }]) => `${dst}/${dstlen}`),
    others: rules
      .filter((rule) => !paired.has(rule))
      .map(({ priority, src, dst, dstlen, table, action }) => {
        const to = dst === 'all' ? '' : ` to ${dst}/${dstlen}`;
        return `${priority}: from ${src}${to} ${action ?? `lookup ${table ?? '?'}`}`;
      }),
  };
}

/** Reads `sysctl -e`: "name = number" per line. Throws where every line is something else. */
export function parseSysctls(text: string, leaveOut: LeaveOut = () => {}): ReadonlyMap<string, number> {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const values = new Map<string, number>();
  for (const line of lines) {
    const [, name, value] = /^(\S+) = (\d+)$/.exec(line) ?? [];
    if (name === undefined) leaveOut(line);
    else values.set(name, Number(value));
  }
  if (values.size === 0 && lines.length > 0) throw new Error(`not a line of sysctl: ${lines[0]}`);
  return values;
}

/** The items of a JSON list that are what is asked for; the others are left out. */
function itemsOf<T extends z.ZodType>(schema: T, text: string, leaveOut: LeaveOut): z.output<T>[] {
  return z
    .array(z.unknown())
    .parse(jsonOf(text))
    .flatMap((item) => {
      const read = schema.safeParse(item);
      if (read.success) return [read.data];
      leaveOut(JSON.stringify(item));
      return [];
    });
}

function jsonOf(text: string): unknown {
  return JSON.parse(text.trim() === '' ? '[]' : text);
}
