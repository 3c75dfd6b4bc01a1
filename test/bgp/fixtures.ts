import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Executor, RunOptions, RunResult } from '../../scripts/exec/executor.ts';

const FOLDER = join(import.meta.dirname, '..', 'transcripts');

/** A recorded answer; `state` is the suffix of a state other than "everything up". Falls back to that state's absence. */
export function transcript(path: string, state = ''): string {
  const [stem = '', ending = ''] = path.split(/\.(?=[a-z]+$)/);
  const special = join(FOLDER, `${stem}${state}.${ending}`);
  return readFileSync(existsSync(special) ? special : join(FOLDER, path), 'utf8');
}

/** What one command of a faked machine does. */
export type Reply = string | { readonly code: number; readonly stderr?: string; readonly stdout?: string };

/** The replies of a machine, by a piece of the command. */
export function repliesOf(machine: string, state = ''): Record<string, Reply> {
  return machine === 'bgp'
    ? {
        'show bgp neighbors': transcript('frr/bgp-neighbors.json', state),
        'show bgp ipv4': transcript('frr/bgp-ipv4-unicast.json', state),
        'show ip route': transcript('frr/ip-route.json', state),
        'ip -j': transcript('kernel/bgp.json', state),
      }
    : {
        // Recorded before bird.conf set the hold time of the mesh.
        'show protocols': transcript(`bird/${machine}-protocols.txt`, state).replaceAll('/240', '/9'),
        'show route filtered': 'BIRD 1.6.8 ready.\n',
        'show route': transcript(`bird/${machine}-route.txt`, state),
        'ip -j': transcript(`kernel/${machine}.json`, state),
      };
}

/**
 * A machine that answers the commands of one `sh -c` script with recorded replies, by running the real script in a real
 * shell whose `birdc`, `vtysh`, `ip` and (for Calico's way to its BIRD) `sh` are functions.
 */
export function fakeMachine(
  where: string,
  replies: Record<string, Reply>,
  run: (argv: readonly string[], options?: RunOptions) => Promise<RunResult>,
): Executor & { readonly calls: number } {
  const machine = {
    where,
    calls: 0,
    run: async ([shell = '', flag = '', script = '']: readonly string[], options?: RunOptions) => {
      machine.calls += 1;
      return run([shell, flag, `${functions(replies)}\n${script}`], options);
    },
  };
  return machine;
}

function functions(replies: Record<string, Reply>): string {
  const cases = Object.entries(replies).map(([piece, reply]) => {
    const { code, stdout = '', stderr = '' } = typeof reply === 'string' ? { code: 0, stdout: reply } : reply;
    return `*'${piece}'*) printf '%s' ${quoted(stdout)}; printf '%s' ${quoted(stderr)} >&2; return ${code};;`;
  });
  return ['birdc', 'vtysh', 'ip', 'sh']
    .map((tool) => `${tool}() { case "${tool} $*" in ${cases.join(' ')} *) return 127;; esac; }`)
    .join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
