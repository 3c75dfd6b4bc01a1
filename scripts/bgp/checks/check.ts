/** `harness`: it could not be looked at, so nothing is known. `blocked`: something below it is known to be broken. */
export const CHECK_VERDICTS = ['passed', 'failed', 'blocked', 'skipped', 'harness'] as const;
export type CheckVerdict = (typeof CHECK_VERDICTS)[number];

/** One thing about the lab that was looked at, beside the connectivity matrix. */
export interface Check {
  /** Stable from run to run; the part before the first dot is the group. */
  readonly id: string;
  readonly title: string;
  readonly verdict: CheckVerdict;
  readonly expected: string;
  readonly observed: string;
  readonly why: string;
}
