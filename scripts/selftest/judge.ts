import type { CellResult } from '../matrix/types.ts';
import { describeEvidence, describeFinding } from '../report/cell-text.ts';
import { describeCheck } from '../report/check-text.ts';
import type { LabRun } from '../report/run.ts';
import { globMatches } from '../shared/glob.ts';
import type { ExpectedRed, Fault, Pattern } from './fault.ts';

/** Whether labtest saw a fault for what it is. */
export interface Finding {
  readonly found: boolean;
  /** The sentence that told it; where it was not found, what is missing or was said instead. */
  readonly text: string;
}

/** Looks for everything that the fault must turn red, for the right reason, and for anything else that is red. */
export function judgeFault(fault: Fault, run: LabRun): Finding {
  const reds = redsOf(run);
  const told: string[] = [];
  for (const wanted of fault.expect) {
    const candidates = reds.filter(({ kind, id }) => kind === wanted.kind && globMatches(wanted.id, id));
    const hit = candidates.find((red) => isWhat(wanted, red));
    if (hit === undefined) return { found: false, text: missingText(wanted, candidates) };
    told.push(`${hit.id}: ${hit.text}`);
  }
  const allowed = [...fault.expect.map(({ id }) => id), ...fault.alsoRed];
  const others = reds.filter(({ id }) => !allowed.some((pattern) => globMatches(pattern, id)));
  if (others.length > 0)
    return {
      found: false,
      text: `it turned red what it cannot have broken: ${others.map(({ id, text }) => `${id} (${text})`).join('; ')}`,
    };
  return { found: true, text: told.join('; ') };
}

interface Red {
  readonly kind: ExpectedRed['kind'];
  readonly id: string;
  readonly verdict: string;
  /** What was found, as data and in words. */
  readonly found: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** What of the lab labtest has no model of, one line each. */
export function notModelled({ checks }: LabRun): readonly string[] {
  return checks
    .filter(({ reason }) => reason === 'not-modelled')
    .map(describeCheck)
    .map(({ expected, observed }) => `${observed}; modelled: ${expected}`);
}

/** Everything of a run that is neither right nor left out on purpose. */
export function redsOf(run: LabRun): readonly Red[] {
  const isRed = ({ verdict }: { readonly verdict: string }) => !['passed', 'skipped'].includes(verdict);
  return [
    ...run.cells.filter(isRed).map((result): Red => {
      const { cell, verdict, observed, finding, evidence } = result;
      const found = { outcome: observed?.outcome, finding, difference: evidence?.difference };
      return { kind: 'cell', id: cell.id, verdict, found, text: cellText(result) };
    }),
    ...run.checks.filter(isRed).map((check): Red => {
      const { id, verdict, reason, wanted, seen, blockedBy } = check;
      const { observed, expected } = describeCheck(check);
      return {
        kind: 'check',
        id,
        verdict,
        found: { reason, wanted, seen, blockedBy },
        text: `${observed}, not ${expected}`,
      };
    }),
  ];
}

function cellText(result: CellResult): string {
  const { observed, evidence } = result;
  const seen = [observed?.outcome, describeFinding(result)].filter((part) => part != null && part !== '');
  return [evidence && describeEvidence(evidence).replace(/\.$/, ''), seen.join(', ')]
    .filter((part) => part !== undefined && part !== '')
    .join('; ');
}

function isWhat({ kind: _kind, id: _id, verdict, ...wanted }: ExpectedRed, red: Red): boolean {
  return red.verdict === verdict && holds(wanted, red.found);
}

/** True if the value has everything that the pattern names. */
export function holds(pattern: Pattern | undefined, value: unknown): boolean {
  if (pattern === undefined) return true;
  if (pattern instanceof RegExp) return typeof value === 'string' && pattern.test(value);
  if (typeof pattern !== 'object' || pattern === null) return pattern === value;
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(pattern))
    return pattern.every((each) => Array.isArray(value) && value.some((item) => holds(each, item)));
  return Object.entries(pattern).every(([key, each]) => holds(each, Reflect.get(value, key)));
}

function missingText({ kind, id, verdict, ...wanted }: ExpectedRed, candidates: readonly Red[]): string {
  const [first] = candidates;
  if (first === undefined) return `${kind} ${id} did not turn red`;
  const says = JSON.stringify(wanted, (_, each) => (each instanceof RegExp ? String(each) : each));
  return `${first.id} is ${first.verdict} and says "${first.text}", which is not ${verdict} with ${says}`;
}
