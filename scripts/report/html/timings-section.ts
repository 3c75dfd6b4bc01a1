import type { LabRun } from '../run.ts';
import { html, type Markup } from './markup.ts';

/** How long each step took, as bars against the longest one. */
export function timingsSection({ timings = [] }: LabRun): Markup | undefined {
  if (timings.length === 0) return undefined;
  const longest = Math.max(1, ...timings.map(({ ms }) => ms));
  return html`<table class="histogram timings"><thead class="hidden"><tr><th scope="col">Step</th><th scope="col">Time</th></tr></thead><tbody>
${timings.map(
  ({ step, ms }) =>
    html`<tr><th scope="row">${step}</th><td class="sum"><span class="bar" style="--share:${((ms / longest) * 100).toFixed(1)}%">${timeText(ms)}</span></td></tr>
`,
)}</tbody></table>`;
}

function timeText(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
