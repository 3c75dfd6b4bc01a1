import type { Check } from '../bgp/checks/check.ts';
import type { CellResult } from '../matrix/types.ts';
import { describeCheck } from '../report/check-text.ts';
import type { LabRun } from '../report/run.ts';
import type { ExpectedRed, Fault } from './fault.ts';

/** Whether labtest saw a fault for what it is. */
export interface Finding {
  readonly found: boolean;
  /** The sentence that told it; where it was not found, what is missing or was said instead. */
  readonly text: string;
}

/** Looks for everything that the fault must turn red, with the right sentence, and for anything else that is red. */
export function judgeFault(fault: Fault, run: LabRun): Finding {
  const reds = redsOf(run);
  const told: string[] = [];
  for (const wanted of fault.expect) {
    const candidates = reds.filter(({ kind, id }) => kind === wanted.kind && globMatches(wanted.id, id));
    const hit = candidates.find(
      ({ verdict, text }) => verdict === wanted.verdict && wanted.sentence.test(text),
    );
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
  readonly text: string;
}

/** Everything of a run that is neither right nor left out on purpose. */
export function redsOf(run: LabRun): readonly Red[] {
  return [
    ...run.cells
      .filter(({ verdict }) => !['passed', 'skipped'].includes(verdict))
      .map(
        (result): Red => ({
          kind: 'cell',
          id: result.cell.id,
          verdict: result.verdict,
          text: cellText(result),
        }),
      ),
    ...run.checks
      .filter(({ verdict }) => !['passed', 'skipped'].includes(verdict))
      .map((check): Red => ({ kind: 'check', id: check.id, verdict: check.verdict, text: checkText(check) })),
  ];
}

function cellText({ observed, detail, evidence }: CellResult): string {
  const seen = [observed?.outcome, detail].filter((part) => part != null && part !== '').join(', ');
  return [evidence?.sentence.replace(/\.$/, ''), seen]
    .filter((part) => part !== undefined && part !== '')
    .join('; ');
}

function checkText(check: Check): string {
  const { expected, observed } = describeCheck(check);
  return `${observed}, not ${expected}`;
}

function missingText(wanted: ExpectedRed, candidates: readonly Red[]): string {
  const [first] = candidates;
  if (first === undefined) return `${wanted.kind} ${wanted.id} did not turn red`;
  return `${first.id} is ${first.verdict} and says "${first.text}", which is not ${wanted.verdict} with ${wanted.sentence}`;
}

/** True if the pattern, in which `*` stands for anything, is the whole of the text. */
export function globMatches(pattern: string, text: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${source}$`).test(text);
}
