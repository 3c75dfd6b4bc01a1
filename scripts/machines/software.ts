import type { RemoteMachine } from '../exec/ssh.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { packagesOf, renderNetworkFiles } from '../render/software.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { ensureUnits } from './units.ts';

/** The packages that labup has installed, one per line, for whoever wants them away again (lab-remove). */
const INSTALLED = '/var/lib/lab/installed-packages';
/** All packages that were there before the first of those, one per line: others that came with them can be told. */
const BEFORE = '/var/lib/lab/packages-before';

/**
 * Makes a plain machine what every machine of the lab's own image is: packages and network settings. What makes it a
 * Kubernetes node is its distribution's. Looks first and does only what is missing; returns whether anything was.
 */
export async function ensureSoftware(
  machine: RemoteMachine,
  plan: LabPlan,
  planned: MachinePlan,
  emit: Emit,
): Promise<boolean> {
  const packages = await ensurePackages(machine, packagesOf(planned, plan.choices), emit);
  const network = await ensureUnits(machine, renderNetworkFiles(plan, planned), ['lab-network.service']);
  return packages || network;
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query(1) writes its fields like this.
const PACKAGE_NAME = '${Package}\n';
// biome-ignore lint/suspicious/noTemplateCurlyInString: as above.
const PACKAGE_LINE = '${Package} ${db:Status-Status}\n';

async function ensurePackages(
  machine: RemoteMachine,
  wanted: readonly string[],
  emit: Emit,
): Promise<boolean> {
  const query = ['dpkg-query', '--show', '--showformat', PACKAGE_LINE, ...wanted];
  // 1: one of them is not even known to dpkg.
  const { stdout } = await machine.run(query, { okCodes: [0, 1], timeoutMs: TIMEOUTS.command });
  const there = new Set(stdout.split('\n').flatMap((line) => /^(\S+) installed$/.exec(line)?.[1] ?? []));
  const missing = wanted.filter((name) => !there.has(name));
  if (missing.length === 0) return false;
  const onLine = (line: string) => {
    if (line.trim() !== '') emit({ type: 'note', text: `${machine.name}: ${line.slice(0, 100)}` });
  };
  const options = { timeoutMs: TIMEOUTS.provision, env: { DEBIAN_FRONTEND: 'noninteractive' }, onLine };
  // Noted first: what a killed labup has begun to install is its doing too.
  await machine.run(['mkdir', '--parents', '/var/lib/lab']);
  const note = 'test -e "$0" || { dpkg-query --show --showformat "$1" > "$0.new" && mv "$0.new" "$0"; }';
  await machine.run(['sh', '-c', note, BEFORE, PACKAGE_NAME], { timeoutMs: TIMEOUTS.command });
  await machine.run(['tee', '--append', INSTALLED], { input: `${missing.join('\n')}\n` });
  await machine.run(['apt-get', 'update'], options);
  await machine.run(['apt-get', 'install', '--yes', '--no-install-recommends', ...missing], options);
  return true;
}
