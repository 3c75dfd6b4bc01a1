import type { RemoteMachine } from '../exec/ssh.ts';
import { Interrupted, LabError, LabFailure, messageOf } from '../shared/errors.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/** The units that run Kubernetes: kubeadm's kubelet, and k3s' two. */
const UNITS = ['kubelet.service', 'k3s.service', 'k3s-agent.service'];
const JOURNAL_LINES = 12;
const LINE_LENGTH = 300;

/**
 * What containers of the machine say that ended, as kubelet keeps it in /var/log/pods ($1), where no API server can be asked:
 * those that were started again, with the end of their logs, and of crictl, where there is one, how they ended.
 */
const CONTAINERS = `
for folder in "$1"/*/*/; do
  last=$(ls "$folder" 2>/dev/null | grep -E '^[0-9]+[.]log$' | sort -n | tail -n 1)
  restarts=\${last%.log}
  [ "\${restarts:-0}" -gt 0 ] || continue
  echo "container $(basename "$folder") was started again $restarts times, and said last:"
  cat "$folder$((restarts - 1)).log" "$folder$last" 2>/dev/null | tail -n 3 | cut -d ' ' -f 4- | cut -c 1-300
done
if command -v crictl >/dev/null; then crictl=crictl
elif command -v k3s >/dev/null; then crictl='k3s crictl'
else exit 0
fi
format='container {{.status.metadata.name}} ended with exit code {{.status.exitCode}} ({{.status.reason}})'
for id in $($crictl ps --all --quiet --state exited 2>/dev/null | head -n 5); do
  $crictl inspect --output go-template --template "$format" "$id" 2>/dev/null && echo
done | sort -u
`;

/** What a node says of its own Kubernetes when that does not come up: containers that ended, and the end of the journal. */
export async function nodeReasons(machine: RemoteMachine, units = UNITS): Promise<readonly string[]> {
  const options = { timeoutMs: TIMEOUTS.command };
  const containers = await machine.run(['sh', '-c', CONTAINERS, 'sh', '/var/log/pods'], options);
  // What the units' own processes say, without systemd; a container has no modules to load, which is no news.
  const argv = ['journalctl', '--boot', '--no-pager', '--output', 'cat', '--lines', '400'];
  const journal = await machine.run([...argv, ...units.map((unit) => `_SYSTEMD_UNIT=${unit}`)], options);
  return [...linesOf(containers.stdout), ...journalReasons(journal.stdout)];
}

/**
 * The last that a journal tells beside mere information, in klog's and logrus' forms, each once and without its time: kubelet
 * says the same again and again. The end of the journal where there is nothing else.
 */
export function journalReasons(text: string): readonly string[] {
  const lines = linesOf(text).filter((line) => !line.startsWith('modprobe: '));
  const serious = lines.filter((line) => !/^I\d{4} |^time="\S+" level=(info|debug) /.test(line));
  const told = (serious.length === 0 ? lines : serious)
    .map((line) => line.replace(/^([IWEF]\d{4} \S+ +\d+ |time="\S+" )/, '').slice(0, LINE_LENGTH))
    .reverse();
  return [...new Set(told)].slice(0, JOURNAL_LINES).reverse();
}

const linesOf = (text: string) => text.split('\n').filter((line) => line.trim() !== '');

/** Runs a command that brings Kubernetes up. Where it fails, its error also says what the node says. */
export async function withNodeReasons<T>(machine: RemoteMachine, command: Promise<T>): Promise<T> {
  return command.catch(async (error: unknown) => {
    if (!(error instanceof LabError) || error instanceof Interrupted) throw error;
    const reasons = await nodeReasons(machine).catch((cause: unknown) => [
      `more could not be asked of ${machine.name}: ${messageOf(cause)}`,
    ]);
    throw new LabFailure(error.message, {
      details: [...error.details, ...reasons],
      next: error.next ?? `npx lab logs ${machine.name}`,
      cause: error,
    });
  });
}
