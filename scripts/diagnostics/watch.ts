import { z } from 'zod';
import type { Executor } from '../exec/executor.ts';
import { PROBE_DIR } from '../matrix/probe-files.ts';
import { parseCounters, type RuleCounters } from '../matrix/proof-counters.ts';
import { type IpSets, parseSets } from '../matrix/state/nat.ts';
import type { PortProtocol } from '../matrix/types.ts';
import { HarnessError, LabError, messageOf, rethrowIfInterrupted } from '../shared/errors.ts';

/** What one machine is to watch (probe/watch.py). */
export interface WatchJob {
  readonly seconds: number;
  /** No more packets than this are kept. */
  readonly most: number;
  /** Packets with one of these ports at either end are seen. */
  readonly ports: Readonly<Record<PortProtocol, readonly number[]>>;
  readonly lookups: readonly RouteLookup[];
  /** What prints every rule with its counter, and what prints the members of IP sets. */
  readonly rules: readonly string[];
  readonly sets: readonly string[];
  /** Addresses that the BGP daemon, where there is one, is asked about. */
  readonly prefixes: readonly string[];
}

/** A question to the kernel: where would this packet go? `from` and `in` are for what is forwarded. */
export interface RouteLookup {
  readonly id: string;
  readonly to: string;
  readonly from?: string;
  readonly in?: string;
  readonly protocol?: PortProtocol;
  readonly sourcePort?: number;
  readonly port?: number;
}

const flow = {
  source: z.string(),
  sourcePort: z.number(),
  destination: z.string(),
  port: z.number(),
};
const tcpPart = z.object({
  protocol: z.literal('tcp'),
  ...flow,
  sequence: z.number(),
  acknowledges: z.number().default(0),
  flags: z.string().default(''),
  bytes: z.number().default(0),
});
const udpPart = z.object({ protocol: z.literal('udp'), ...flow, line: z.string() });
const about = z.discriminatedUnion('protocol', [tcpPart, udpPart]);
const icmpPart = z.object({
  protocol: z.literal('icmp'),
  source: z.string(),
  destination: z.string(),
  type: z.number(),
  code: z.number(),
  about,
});
const seen = z.object({
  ms: z.number(),
  interface: z.string(),
  direction: z.enum(['in', 'out']),
  /** The link-layer address of who put it on the link. */
  sender: z.string(),
});
const packet = z.intersection(seen, z.discriminatedUnion('protocol', [tcpPart, udpPart, icmpPart]));

/** A packet at one interface of a machine: `in` before the machine's rules, `out` after them. */
export type Packet = z.output<typeof packet>;
/** A packet of a flow, or the one that an ICMP message is about. */
export type FlowPacket = z.output<typeof about>;

const route = z.looseObject({
  error: z.string().optional(),
  type: z.string().optional(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  prefsrc: z.string().optional(),
});
/** An answer of `ip -j route get`, or why there is none. */
export type RouteAnswer = z.output<typeof route>;

const texts = z.array(z.string()).readonly();
const report = z.object({
  packets: z.array(packet).readonly(),
  lost: z.number(),
  /** The link-layer addresses of its interfaces. */
  own: texts,
  before: z.string(),
  after: z.string(),
  sets: z.string(),
  /** Lines of `conntrack -L`. */
  conntrack: texts,
  routes: z.record(z.string(), route).readonly(),
  /** The BGP daemon's answers by address; '' where there is none. */
  bgp: z.record(z.string(), z.string()).readonly(),
  problems: texts,
});

/** All that one machine saw. */
export interface Watched
  extends Readonly<Omit<z.output<typeof report>, 'lost' | 'before' | 'after' | 'sets'>> {
  readonly before: RuleCounters;
  readonly after: RuleCounters;
  readonly sets: IpSets;
}

/** A watch that has begun. */
export interface Watch {
  /** Resolves when nothing is missed any more, or when it is certain that nothing will be seen. */
  readonly listening: Promise<void>;
  /** What was seen; never rejects but for Interrupted: a machine that cannot be watched has seen nothing, and says why. */
  readonly ended: Promise<Watched>;
}

const WATCH = ['python3', '-B', `${PROBE_DIR}/watch.py`];
/** Beyond the time of watching itself: start-up, and what is asked afterwards. */
const SLACK_MS = 20_000;

/** Begins to watch a machine. */
export function startWatch(executor: Executor, job: WatchJob, signal?: AbortSignal): Watch {
  let heard = () => {};
  const listening = new Promise<void>((resolve) => {
    heard = resolve;
  });
  const ended = executor
    .run(WATCH, {
      input: JSON.stringify(job),
      timeoutMs: job.seconds * 1000 + SLACK_MS,
      onLine: heard,
      signal,
    })
    .then(({ stdout }) => parseWatched(stdout))
    .catch((error: unknown): Watched => {
      rethrowIfInterrupted(error);
      const last = error instanceof LabError ? error.details.at(-1) : undefined;
      return blind(`it could not be watched: ${messageOf(error)}${last === undefined ? '' : ` ${last}`}`);
    })
    .finally(heard);
  return { listening, ended };
}

/** Reads the two lines of probe/watch.py. Throws HarnessError where they are something else. */
export function parseWatched(text: string): Watched {
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  try {
    const { before, after, sets, lost, problems, ...rest } = report.parse(JSON.parse(last));
    return {
      ...rest,
      before: parseCounters(before),
      after: parseCounters(after),
      sets: parseSets(sets),
      problems: lost > 0 ? [...problems, `${lost} packets were missed`] : problems,
    };
  } catch (cause) {
    throw new HarnessError(`watch.py did not say what it saw: ${messageOf(cause).slice(0, 200)}`, { cause });
  }
}

/** A machine that was not watched. */
export function blind(problem: string): Watched {
  return {
    packets: [],
    own: [],
    before: [],
    after: [],
    sets: new Map(),
    conntrack: [],
    routes: {},
    bgp: {},
    problems: [problem],
  };
}
