import type { LabStatus, MachineStatus } from '../commands/inspect/status.ts';
import { colors } from './colors.ts';

/** The lab's state as a table. */
export function statusText({ lab, state, machines, problems, differences }: LabStatus): string {
  const paint = state === 'up' ? colors.green : colors.red;
  const rows = machines.map((machine) => [
    machine.name,
    machine.role,
    machine.address,
    machine.state,
    machine.node ?? '-',
    sessionsText(machine),
  ]);
  const table = [['MACHINE', 'ROLE', 'ADDRESS', 'STATE', 'NODE', 'BGP'], ...rows];
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((row) => (row[column] ?? '').length)),
  );
  const lines = table.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [
    `lab "${lab}": ${paint(state)}`,
    ...(machines.length > 0 ? ['', ...lines] : []),
    ...problems.map((text) => `problem: ${text}`),
    ...differences.map((text) => `lab.yaml differs: ${text}`),
    '',
  ].join('\n');
}

function sessionsText({ sessions }: MachineStatus): string {
  return sessions === undefined ? '-' : `${sessions.established}/${sessions.planned} established`;
}
