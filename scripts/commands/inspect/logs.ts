import { connectMachines } from '../../machines/connect.ts';
import { silent } from '../../shared/events.ts';
import { sshTarget } from '../access.ts';
import type { Deps } from '../deps.ts';
import { existingLab, type LabOptions, labName } from '../lab-file.ts';
import { LabState } from '../state.ts';

export interface LogsOptions extends LabOptions {
  readonly lines: number;
}

/** `lab logs MACHINE`: the end of the machine's journal, cloud-init included. */
export async function machineLog(deps: Deps, machine: string, options: LogsOptions): Promise<string> {
  const { state, plan } = await existingLab(deps, options);
  const target = await sshTarget(deps, plan, state, machine);
  const machines = await connectMachines([target], silent, deps.signal, deps.connect);
  try {
    const [connected] = machines.values();
    const argv = ['journalctl', '--boot', '--no-pager', '--lines', String(options.lines)];
    return (await connected?.run(argv))?.stdout ?? '';
  } finally {
    for (const connected of machines.values()) connected.close();
  }
}

/** `lab logs`: the lab's own journal, one line per step that was begun or ended. */
export async function stepLog(deps: Deps, options: LogsOptions): Promise<string> {
  const state = new LabState(deps.cwd, labName(deps, options));
  const lines = ((await state.read('journal.ndjson')) ?? '').split('\n').filter((line) => line !== '');
  return `${lines.slice(-options.lines).join('\n')}\n`;
}
