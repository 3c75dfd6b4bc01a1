import { z } from 'zod';
import { type Check, checkSchema } from '../bgp/checks/check.ts';
import { differenceSchema, findingSchema, OUTCOMES, proofSchema } from '../matrix/findings.ts';
import { type CellResult, CHAIN_LAYERS, type Observation, VERDICTS } from '../matrix/types.ts';
import { UserError } from '../shared/errors.ts';
import { describeEvidence, describeFinding, describeProof } from './cell-text.ts';
import { type CheckText, describeCheck } from './check-text.ts';
import { type LabRun, summarize } from './run.ts';

const count = z.int().nonnegative();
const texts = z.array(z.string()).readonly();
const list = <T extends z.ZodRawShape>(shape: T) => z.array(z.strictObject(shape)).readonly();

const sentences = {
  title: z.string(),
  expected: z.string(),
  observed: z.string(),
  why: z.string().describe('Why the lab should be so.'),
};
/** Every kind of check, with its sentences for people. */
const reportCheck = z.union(
  checkSchema.options.map((kind) => kind.extend(sentences)),
) as unknown as z.ZodType<Check & CheckText>;

const chainStepSchema = z.strictObject({
  at: z.string().describe('A machine, or pod/NAME.'),
  layer: z.enum(CHAIN_LAYERS).describe('What decides there.'),
  text: z.string(),
  chains: texts.optional().describe('Rules only: the iptables chains that the packet meets, in order.'),
});

const evidenceSchema = z.strictObject({
  difference: differenceSchema,
  chance: z
    .strictObject({ lost: count, tries: count })
    .optional()
    .describe('Where chance chooses the path: how many of the tries went wrong.'),
  sentence: z.string().describe('The first hop that differs from the predicted path.'),
  hops: list({
    at: z.string(),
    agrees: z.boolean().describe('Whether this hop did what the predicted path says.'),
    text: z.string(),
    detail: texts.describe('Counters, routes, captured packets: what the sentence rests on.'),
  }),
  file: z.string().optional().describe('Where all of it is kept.'),
});

const cellSchema = z.strictObject({
  id: z.string().describe('from>to:port/protocol, for a ping from>to/icmp; stable from run to run.'),
  from: z.string().describe('A machine, or pod/NAME.'),
  to: z
    .string()
    .describe(
      'pod/NAME, a DNS name, SERVICE/cluster-ip, SERVICE/NODE or SERVICE/EXTERNAL-IP; for a ping also node/NAME or an external IP.',
    ),
  address: z.string().describe('What was addressed: an IPv4 address, or a name to be resolved at "from".'),
  port: z.int().min(0).max(65535).describe('0 for a ping.'),
  protocol: z.enum(['tcp', 'udp', 'icmp']),
  expected: z.strictObject({
    outcome: z.enum(OUTCOMES),
    servers: texts.describe('Pod addresses that may answer; empty unless the outcome is ok.'),
    clients: texts.describe('Client addresses that the server may see; empty unless the outcome is ok.'),
    why: z.string().describe('The rule or route that makes it so.'),
    chain: z
      .array(chainStepSchema)
      .readonly()
      .optional()
      .describe("The packet's predicted path, in order, to the answering pod or to where it ends."),
  }),
  observed: z
    .strictObject({
      outcome: z.enum(OUTCOMES),
      server: z
        .string()
        .nullable()
        .describe(
          'The address of the pod that answered, as it says itself, or as the connection tracking of the nodes has it.',
        ),
      client: z.string().nullable().describe('The address that the pod saw.'),
      attempts: count.describe('How often it was tried.'),
      connectMs: z
        .number()
        .nonnegative()
        .nullable()
        .describe('Milliseconds from SYN to connected; null for UDP.'),
      httpStatus: count.optional().describe('What a web server said to GET /.'),
    })
    .nullable()
    .describe('null where nothing was tried: cells that are blocked or skipped, or that chance decides.'),
  verdict: z.enum(VERDICTS),
  controlOf: texts
    .optional()
    .describe('The cells that must fail for which it was added as positive control; nobody asked for it.'),
  finding: findingSchema.optional().describe('Why a cell did not simply pass.'),
  detail: z.string().optional().describe('The same as a sentence.'),
  proof: texts
    .optional()
    .describe('Cells that rightly failed: what proves that they failed where they had to, a sentence each.'),
  proofs: z.array(proofSchema).readonly().optional().describe('The same as data.'),
  evidence: evidenceSchema
    .optional()
    .describe('Failed cells that were tried again while every hop was watched.'),
});

const bgpTableSchema = z.strictObject({
  machine: z.string(),
  table: z.string().describe('bgp, rib, fib and kernel on the router; bird and kernel on a node.'),
  routes: list({
    prefix: z.string(),
    nextHops: texts.describe('Addresses, or how the route ends, e.g. blackhole.'),
  }),
});

/** What `labtest --json` prints and report.schema.json publishes. */
export const reportSchema = z.strictObject({
  schemaVersion: z.literal(2),
  lab: z.string(),
  startedAt: z.iso.datetime(),
  durationMs: z.number().nonnegative(),
  summary: z
    .strictObject({
      planned: count.describe('The sum of the rest; 0 is an error.'),
      passed: count,
      failed: count,
      flaky: count.describe('Failed at the first try and passed at the second.'),
      blocked: count.describe('Not tried, because something below is known to be broken.'),
      skipped: count,
      harness: count.describe('The probe failed, or its proof; nothing is known about these cells.'),
    })
    .describe('Cells only; checks carry their own verdicts.'),
  checks: z.array(reportCheck),
  cells: z.array(cellSchema),
  chosenFrom: count
    .optional()
    .describe('How many cells the whole matrix has, where only some of them were chosen.'),
  aborted: z.string().optional().describe('Why the run ended early; what it did not get to is skipped.'),
  moved: texts
    .optional()
    .describe('What changed in the lab during the run; expectations follow the state after it.'),
  bgpTables: z
    .array(bgpTableSchema)
    .readonly()
    .optional()
    .describe('The routing tables of every BGP speaker, as seen.'),
  timings: list({ step: z.string(), ms: z.number().nonnegative() })
    .optional()
    .describe('How long each step took.'),
});

export type LabReport = z.infer<typeof reportSchema>;

/**
 * The report of a run as one document. `planned`: the cells of the matrix, so that none can go missing unseen. Throws
 * HarnessError where results and plan do not match.
 */
export function buildReport(run: LabRun, planned?: readonly { readonly id: string }[]): LabReport {
  // The plan is for the drawing only; a part that a run does not have stays absent.
  const { lab, startedAt, durationMs, checks, cells, plan: _plan, ...parts } = run;
  return {
    schemaVersion: 2,
    lab,
    startedAt: startedAt.toISOString(),
    durationMs: Math.round(durationMs),
    summary: summarize(run, planned),
    checks: checks.map((check) => ({ ...check, ...describeCheck(check) })),
    cells: cells.map(cellOf),
    ...parts,
  };
}

function cellOf(result: CellResult): LabReport['cells'][number] {
  const { cell, observed, verdict, finding, proof, evidence } = result;
  const { id, from, to, address, port, protocol, controlOf } = cell;
  const { outcome, servers, clients, why, chain: steps } = cell.expected;
  const chain = steps.map(({ at, layer, text, chains }) => ({
    ...{ at, layer, text },
    ...(chains === undefined ? {} : { chains }),
  }));
  const detail = describeFinding(result);
  return {
    ...{ id, from, to, address, port, protocol },
    expected: { outcome, servers, clients, why, chain },
    observed: observed === null ? null : seenOf(observed),
    verdict,
    ...(controlOf === undefined ? {} : { controlOf }),
    ...(finding === null ? {} : { finding }),
    ...(detail === null ? {} : { detail }),
    ...(proof === undefined ? {} : { proof: proof.map(describeProof), proofs: proof }),
    ...(evidence === undefined ? {} : { evidence: { ...evidence, sentence: describeEvidence(evidence) } }),
  };
}

/** What was seen, without what only helps to find it again and what a check of its own tells (packets of full size). */
function seenOf({
  outcome,
  server,
  client,
  attempts,
  connectMs,
  httpStatus,
}: Observation): LabReport['cells'][number]['observed'] {
  return {
    ...{ outcome, server, client, attempts, connectMs },
    ...(httpStatus === undefined ? {} : { httpStatus }),
  };
}

/** The report as text: one JSON document with a final newline. */
export function reportText(report: LabReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** The text of report.schema.json, generated from the schema above. */
export function reportJsonSchema(): string {
  const schema = z.toJSONSchema(reportSchema, {
    // Said of properties, it means something else in JSON Schema than readonly in TypeScript.
    override: ({ jsonSchema }) => delete jsonSchema.readOnly,
  });
  const text = JSON.stringify({ title: 'labtest report', ...schema }, null, 2);
  // What holds nothing else is one line.
  const innermost = /[{[]\n[^{}[\]]*[}\]]/g;
  return `${text.replaceAll(innermost, (part) => part.replaceAll(/\n\s*/g, ' '))}\n`;
}

const MAX_PROBLEMS = 5;

/**
 * A report from the text of a JSON file. `name` is what messages call the file. Throws UserError that says what is
 * wrong with it and where.
 */
export function parseReport(text: string, name: string): LabReport {
  const refuse = (what: string, details: readonly string[] = []) =>
    new UserError(`${name} is not a report of labtest: ${what}.`, {
      details,
      next: 'npx labtest --json > report.json',
    });
  const value = parseJson(text, (message) => refuse(message));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refuse('it does not hold one JSON object');
  const version: unknown = Reflect.get(value, 'schemaVersion');
  if (version === undefined) throw refuse('it has no schemaVersion');
  if (version !== 2) throw refuse(`its schemaVersion is ${JSON.stringify(version)}, and only 2 is known`);
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'report'}: ${message}`,
    );
    const more = problems.length - MAX_PROBLEMS;
    throw refuse(`${problems.length === 1 ? 'a field is' : `${problems.length} fields are`} wrong`, [
      ...problems.slice(0, MAX_PROBLEMS),
      ...(more > 0 ? [`and ${more} more`] : []),
    ]);
  }
  const ids = parsed.data.cells.map(({ id }) => id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw refuse(`the cell ${twice} is in it twice`);
  return parsed.data;
}

function parseJson(text: string, refuse: (message: string) => UserError): unknown {
  if (text.trim() === '') throw refuse('it is empty');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refuse(`it is not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
}
