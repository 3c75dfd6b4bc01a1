import type { Check } from '../../bgp/checks/check.ts';
import { checkGroups } from '../check-lines.ts';
import { describeCheck } from '../check-text.ts';
import { CHECK_SIGNS } from '../kinds.ts';
import type { LabRun } from '../run.ts';
import { html, type Markup } from './markup.ts';

/** The checks by group; a group in which something did not pass is open, and shows first what did not. */
export function checksSection({ checks }: LabRun): Markup | undefined {
  if (checks.length === 0) return undefined;
  return html`${checkGroups(checks).map(([group, members]) => {
    const bad = members.filter(({ verdict }) => verdict !== 'passed');
    const good = members.filter(({ verdict }) => verdict === 'passed');
    const isGood = bad.length === 0;
    return html`<details class="group"${!isGood && html` open`}>
<summary><span class="sign ${isGood ? 'works' : 'failed'}" aria-hidden="true">${isGood ? CHECK_SIGNS.passed : CHECK_SIGNS.failed}</span> <b>${group}</b> <small>${good.length} of ${members.length} passed</small></summary>
${isGood ? checkTable(good) : checkTable(bad)}
${
  !isGood &&
  good.length > 0 &&
  html`<details class="rest"><summary class="opener">${good.length} that passed</summary>${checkTable(good)}</details>`
}</details>
`;
  })}`;
}

function checkTable(checks: readonly Check[]): Markup {
  return html`<div class="scroll"><table class="list checks">
<thead><tr><th scope="col"><span class="hidden">Verdict</span></th><th scope="col">Check</th><th scope="col">Expected</th><th scope="col">Observed</th><th scope="col">Why</th></tr></thead>
<tbody>
${checks.map((check) => {
  const { id, verdict } = check;
  const { title, expected, observed, why } = describeCheck(check);
  return html`<tr id="check-${id}"><td><span class="sign ${verdict === 'passed' ? 'works' : verdict}" role="img" aria-label="${verdict}">${CHECK_SIGNS[verdict]}</span></td><th scope="row">${title}</th><td>${expected}</td><td>${observed === expected && verdict === 'passed' ? html`<span class="same">the same</span>` : observed}</td><td>${why}</td></tr>
`;
})}</tbody></table></div>`;
}
