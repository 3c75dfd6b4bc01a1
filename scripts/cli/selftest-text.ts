import type { SelftestResult } from '../commands/selftest/selftest.ts';
import { wrap } from '../report/wrap.ts';
import type { FaultResult } from '../selftest/run.ts';
import { EXIT, type ExitCode } from '../shared/errors.ts';
import { colors } from './colors.ts';
import { durationText } from './duration-text.ts';

/** 0 where every fault that the lab is large enough for was found, there was at least one, and the lab is as it was. */
export function selftestCode({ faults, differs }: SelftestResult): ExitCode {
  const missed = faults.some(({ verdict }) => verdict === 'missed');
  return !missed && differs.length === 0 && faults.some(({ verdict }) => verdict === 'found')
    ? EXIT.pass
    : EXIT.wrong;
}

/** The result as one document. */
export function selftestJson(result: SelftestResult): unknown {
  const { lab, startedAt, durationMs, faults, differs } = result;
  return {
    schemaVersion: 1,
    lab,
    startedAt: startedAt.toISOString(),
    durationMs,
    summary: { planned: faults.length, ...countsOf(faults) },
    faults,
    differs,
  };
}

/** One entry per fault: found or not, and the sentence that told it. */
export function selftestLines(result: SelftestResult, width: number): readonly string[] {
  const { faults, durationMs, lab, differs } = result;
  const { found, missed, skipped } = countsOf(faults);
  const tried = found + missed;
  const conclusion = `${lab}: ${found} of ${tried} faults found${skipped > 0 ? `, ${skipped} not tried` : ''} (${durationText(durationMs)})`;
  return [
    ...faults.flatMap((fault) => faultLines(fault, width)),
    ...(differs.length === 0
      ? []
      : [
          '',
          colors.red('The lab is not as it was before the selftest:'),
          ...differs.flatMap((line) => wrap(line, width, '      ', '    ')),
          '    next: npx labtest, npx labup --yes',
        ]),
    '',
    missed === 0 && differs.length === 0 && found > 0 ? colors.green(conclusion) : colors.red(conclusion),
  ];
}

const SIGNS: Readonly<Record<FaultResult['verdict'], string>> = { found: '✓', missed: '✗', skipped: 's' };

function faultLines({ id, title, verdict, text, ms }: FaultResult, width: number): readonly string[] {
  const time = verdict === 'skipped' ? '' : ` (${durationText(ms)})`;
  const line = `${SIGNS[verdict]} ${id}: ${title}${time}`;
  return [
    ...wrap(verdict === 'missed' ? `${line} NOT FOUND` : line, width, '    '),
    ...wrap(text, width, '      ', '    '),
  ];
}

function countsOf(faults: readonly FaultResult[]): Readonly<Record<FaultResult['verdict'], number>> {
  const count = (verdict: FaultResult['verdict']) => faults.filter((each) => each.verdict === verdict).length;
  return { found: count('found'), missed: count('missed'), skipped: count('skipped') };
}
