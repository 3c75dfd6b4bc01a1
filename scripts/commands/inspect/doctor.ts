import type { DoctorCheck, DoctorVerdict } from '../../plan/doctor/check.ts';
import { problemsOf } from '../../plan/doctor/checks.ts';
import { isError } from '../../plan/host-facts.ts';
import type { Choice } from '../../plan/types.ts';
import type { DriverName } from '../../spec/types.ts';
import type { Deps } from '../deps.ts';
import { type PlanOptions, planFromSpec } from '../up/load-plan.ts';
import { preflight } from '../up/preflight.ts';

/** What `lab doctor` found. */
export interface Diagnosis {
  readonly lab: string;
  readonly driver: Choice<DriverName>;
  /** Whether labup would stop. */
  readonly blocked: boolean;
  readonly checks: readonly DoctorCheck[];
}

/** One check as `lab doctor --json` has it. */
export interface CheckDocument {
  readonly id: string;
  readonly title: string;
  readonly verdict: DoctorVerdict;
  readonly found: string;
  readonly cure?: string;
}

/** `lab doctor`: every precondition of labup on this host, looked at without changing anything. */
export async function doctor(deps: Deps, options: PlanOptions): Promise<Diagnosis> {
  const { plan, made } = await planFromSpec(deps, options);
  const { checks } = await preflight(deps, plan, made);
  const blocked = problemsOf(checks).some(isError);
  return { lab: plan.lab, driver: plan.choices.driver, blocked, checks };
}

/** The one document of `lab doctor --json`. Several problems of a check are one text each, joined by "; ". */
export function doctorDocument({ lab, driver, blocked, checks }: Diagnosis): {
  readonly schemaVersion: 1;
  readonly lab: string;
  readonly driver: DriverName;
  readonly blocked: boolean;
  readonly checks: readonly CheckDocument[];
} {
  return { schemaVersion: 1, lab, driver: driver.value, blocked, checks: checks.map(checkDocument) };
}

function checkDocument({ id, title, verdict, found, problems }: DoctorCheck): CheckDocument {
  if (problems.length === 0) return { id, title, verdict, found };
  const joined = (texts: readonly string[]) => [...new Set(texts)].join('; ');
  return {
    id,
    title,
    verdict,
    found: joined(problems.map(({ message }) => message)),
    cure: joined(problems.map(({ hint }) => hint)),
  };
}
