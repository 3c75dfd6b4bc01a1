import { z } from 'zod';
import { OUTCOMES } from './findings.ts';
import type { Cell, DnsAnswer, DnsQuestion, Observation, ProbeTrace } from './types.ts';

/** One wait of the probe: leaves room for a SYN and its retransmission after 1 s. In milliseconds. */
export const PROBE_TIMEOUT_MS = 1500;

/** A cell as the probe needs it. `sourcePort` is chosen by the kernel where it is absent. */
export type ProbeCell = Pick<Cell, 'id' | 'protocol' | 'address' | 'port' | 'talk'> & {
  readonly sourcePort?: number;
  readonly delayMs?: number | undefined;
  readonly fullSize?: boolean | undefined;
};

/** What probe/probe.py reads from standard input. */
export function probeInput(
  cells: readonly ProbeCell[],
  dns: readonly DnsQuestion[],
  timeoutMs = PROBE_TIMEOUT_MS,
): string {
  return JSON.stringify({
    timeoutMs,
    cells: cells.map(({ id, protocol, address, port, sourcePort, delayMs, fullSize, talk }) => ({
      id,
      protocol,
      host: address,
      port,
      sourcePort,
      delayMs,
      fullSize,
      talk,
    })),
    dns: dns.map(({ id, name, type, server }) => ({ id, name, type, server })),
  });
}

/** One line of the probe's output, understood; `garbage` is a line that the protocol does not know. */
export type ProbeLine =
  | { readonly kind: 'cell'; readonly id: string; readonly observation: Observation }
  | { readonly kind: 'dns'; readonly id: string; readonly answer: DnsAnswer }
  | { readonly kind: 'done'; readonly count: number }
  | { readonly kind: 'error'; readonly message: string }
  | { readonly kind: 'garbage'; readonly line: string };

const text = z.string().nullish().default(null);
const doneLine = z.object({ done: z.literal(true), count: z.number() });
const errorLine = z.object({ error: z.string() });
const anyLine = z.looseObject({ id: z.string() });
const cellLine = z.object({
  outcome: z.enum(OUTCOMES).exclude(['wrong-backend', 'wrong-source']),
  server: text,
  client: text,
  attempts: z.number().default(1),
  connectMs: z.number().nullish().default(null),
  errno: z.union([z.string(), z.number()]).nullish().default(null),
  detail: text,
  nonce: text,
  address: text,
  localAddress: text,
  localPort: z.number().nullish().default(null),
  status: z.number().nullish(),
  fullSize: z
    .object({
      bytes: z.number(),
      lost: z.enum(['there', 'back', 'somewhere']).nullable(),
      detail: z.string().nullable(),
    })
    .nullish(),
});
const dnsLine = z.object({
  outcome: z.enum(['ok', 'dns-nxdomain', 'dns-error', 'harness-error']),
  answers: z.array(z.string()).default([]),
  detail: text,
});

/** Understands one line of the probe's output. `isDns` tells which ids were asked as DNS questions. */
export function parseProbeLine(line: string, isDns: (id: string) => boolean): ProbeLine {
  const garbage: ProbeLine = { kind: 'garbage', line };
  let document: unknown;
  try {
    document = JSON.parse(line);
  } catch {
    return garbage;
  }
  const done = doneLine.safeParse(document);
  if (done.success) return { kind: 'done', count: done.data.count };
  const item = anyLine.safeParse(document);
  if (!item.success) {
    const error = errorLine.safeParse(document);
    return error.success ? { kind: 'error', message: error.data.error } : garbage;
  }
  return isDns(item.data.id) ? dnsOf(item.data, garbage) : cellOf(item.data, garbage);
}

function cellOf(item: z.output<typeof anyLine>, garbage: ProbeLine): ProbeLine {
  const parsed = cellLine.safeParse(item);
  if (!parsed.success) return garbage;
  const { outcome, server, client, attempts, connectMs, errno, detail } = parsed.data;
  const named = detail ?? (errno === null ? null : String(errno));
  const withErrno = detail !== null && errno !== null ? `${detail} (${errno})` : named;
  const { nonce, address, localAddress, localPort, fullSize, status } = parsed.data;
  const trace: ProbeTrace = { nonce, address, localAddress, localPort };
  return {
    kind: 'cell',
    id: item.id,
    observation: {
      ...{ outcome, server, client, attempts, connectMs, detail: withErrno, trace },
      ...(fullSize == null ? {} : { fullSize }),
      ...(status == null ? {} : { httpStatus: status }),
    },
  };
}

function dnsOf(item: z.output<typeof anyLine>, garbage: ProbeLine): ProbeLine {
  const parsed = dnsLine.safeParse(item);
  return parsed.success ? { kind: 'dns', id: item.id, answer: parsed.data } : garbage;
}
