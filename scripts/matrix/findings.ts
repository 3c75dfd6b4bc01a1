import { z } from 'zod';

const text = z.string();
const count = z.int().nonnegative();
const texts = z.array(text).readonly();

/** How a probe can end. `wrong-backend` and `wrong-source` are derived by the judge, the rest comes from the probe. */
export const OUTCOMES = [
  'ok',
  'refused',
  'timeout',
  'no-route',
  'host-unreachable',
  'denied',
  'dns-nxdomain',
  'dns-error',
  'wrong-backend',
  'wrong-source',
  'corrupt',
  'harness-error',
] as const;

function reason<const K extends string, S extends z.ZodRawShape>(name: K, data: S) {
  return z.strictObject({ reason: z.literal(name), ...data }).readonly();
}

const counted = { node: text, chain: text, comment: text, packets: count, cells: count };

/** What proves that a connection failed where it had to. */
export const proofSchema = z.discriminatedUnion('reason', [
  reason('control', {
    cell: text,
    sameHost: z.boolean(),
    refused: z.boolean().optional(),
    counted: z.boolean().optional(),
  }),
  reason('not-in-logs', { nonce: text }),
  reason('counted', counted),
]);
export type Proof = z.infer<typeof proofSchema>;

/** Why it is not proven that a connection failed where it had to. */
export const gapSchema = z.discriminatedUnion('reason', [
  reason('no-control', { from: text }),
  reason('logs-not-read', { said: text }),
  reason('nothing-answered', {}),
  reason('logs-incomplete', { cell: text }),
  reason('rules-not-read', { node: text, said: text }),
  reason('no-rule', { node: text, predicted: text }),
  reason('rules-rewritten', { node: text }),
  reason('counted-too-few', { ...counted, least: count }),
]);
export type Gap = z.infer<typeof gapSchema>;

/** Why a cell's verdict is what it is, where it did not simply pass. `said` is what the probe or a program said. */
export const findingSchema = z.discriminatedUnion('reason', [
  reason('blocked', { by: text.describe('The id of a failed check.') }),
  reason('source-blocked', { by: text, from: text }),
  reason('name-blocked', { by: text }),
  reason('not-modelled', { what: text }),
  reason('silent', { server: text }),
  reason('not-tracked', {}),
  reason('wrong-status', { status: count.nullable(), wanted: count }),
  reason('chance', { what: text }),
  reason('aborted', {}),
  reason('probe-failed', { said: text }),
  reason('wrong-backend', { server: text.nullable(), wanted: texts }),
  reason('wrong-source', { client: text.nullable(), wanted: texts }),
  reason('got-through', { server: text.nullable(), client: text.nullable() }),
  reason('other-outcome', { said: text.nullable() }),
  reason('second-try', { outcome: z.enum(OUTCOMES), said: text.nullable() }),
  reason('no-control', { from: text }),
  reason('unproven', { gap: gapSchema }),
  reason('received', { pod: text, client: text, from: text }),
  reason('received-often', { times: count }),
  reason('other-server', { server: text.nullable(), logged: text, pod: text }),
]);
export type Finding = z.infer<typeof findingSchema>;

const rule = z
  .strictObject({
    chain: text,
    rule: text,
    target: text,
    comment: text,
    moved: count.optional().describe('Packets that it counted; absent where it was set back.'),
  })
  .readonly();
const at = { at: text.describe('A machine, or pod/NAME.') };
const by = { rule: rule.optional() };
const from = { from: text.optional().describe('On a longer way: the machine before.') };
const reached = { interface: text.optional().describe('Where it came in.') };
const predicted = { predicted: text.optional() };
const atPod = { ...at, machine: text };

/** The first place where a watched attempt differs from what was predicted. */
export const differenceSchema = z.discriminatedUnion('reason', [
  reason('nothing-seen', at),
  reason('wrong-next-machine', { ...at, to: text, destination: text, leads: texts, ...from }),
  reason('wrong-destination', { ...at, destination: text, wanted: texts, ...by, ...from }),
  reason('source-kept', { ...at, source: text, wanted: texts }),
  reason('source-replaced', { ...at, before: text.optional(), source: text, wanted: texts, ...by }),
  reason('lost-on-link', { ...at, interface: text, to: texts }),
  reason('stopped', { ...at, ...reached, rule, nextHopOf: text.optional() }),
  reason('refused', { ...at, ...reached, ...predicted }),
  reason('answered-locally', { ...at, ...reached, ...by, ...predicted }),
  reason('icmp', { ...at, ...reached, last: text, type: count, code: count, ...predicted }),
  reason('no-route', { ...at, ...reached, route: text, ...predicted, ...from }),
  reason('not-sent', { ...at, said: text, problem: text.optional() }),
  reason('ended', { ...at, ...reached, ...predicted }),
  reason('sent-on', { ...at, to: text, interface: text, predicted: text }),
  reason('ended-by-other-rule', { ...at, interface: text, predicted: text, ...by }),
  reason('other-outcome', {
    ...at,
    predicted: text,
    outcome: z.enum(OUTCOMES),
    wanted: z.enum(OUTCOMES),
    said: text.nullable(),
  }),
  reason('answered-elsewhere', { ...at, end: text, predicted: text }),
  reason('pod-silent', atPod),
  reason('pod-refused', { ...atPod, port: count }),
  reason('server-silent', atPod),
  reason('wrong-answer', { ...atPod, said: text }),
  reason('right-this-time', atPod),
  reason('second-packet-lost', { ...at, ...by }),
  reason('answer-stopped', { ...at, pod: text, ...by }),
  reason('answer-lost-on-link', { ...at, pod: text, interface: text, to: texts }),
  reason('not-repeated', { tries: count }),
  reason('probe-failed', { said: text }),
  reason('name-not-resolved', { from: text, name: text, said: text }),
]);
export type Difference = z.infer<typeof differenceSchema>;
export type SeenRule = z.infer<typeof rule>;
