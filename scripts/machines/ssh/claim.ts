import { CommandError } from '../../exec/executor.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { renderSshdConfig } from '../../render/software.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';

/**
 * Says on the machine itself which lab uses it. Another file than /etc/lab/owner, which says that a lab has made the
 * machine: whoever finds that may delete it with everything on it.
 */
export const OWNER_FILE = '/etc/lab/lent-to';

/** What a machine says of itself before it is taken. */
export interface Inspection {
  /** The lab that it belongs to; empty where it belongs to none. */
  readonly owner: string;
  /** Why it cannot be taken, each with what to do; none where it can. */
  readonly problems: readonly string[];
}

// One script, so that a look is one round trip. What it prints is the answer; it changes nothing.
const INSPECT = `
[ "$(id -u)" = 0 ] || echo "problem: not root, even with sudo"
[ -r ${OWNER_FILE} ] && echo "owner: $(cat ${OWNER_FILE})"
command -v python3 >/dev/null || echo "problem: no python3; install it"
command -v apt-get >/dev/null || echo "problem: no apt-get; the lab runs on Debian and Ubuntu"
[ -d /run/systemd/system ] || echo "problem: systemd does not run"
if ! [ -e ${OWNER_FILE} ]; then
  for path in /etc/kubernetes /var/lib/kubelet /var/lib/etcd /usr/bin/kubelet /usr/bin/kubeadm /usr/local/bin/k3s \
    /etc/rancher /var/lib/rancher /opt/cni /usr/local/bin/containerd /usr/local/sbin/runc /usr/local/bin/crictl; do
    [ -e $path ] && echo "problem: $path is there: it is, or was, a Kubernetes node"
  done
  for unit in containerd docker kubelet k3s k3s-agent bird frr; do
    [ "$(systemctl is-active $unit)" = active ] && echo "problem: $unit runs there, and the lab would take it over"
  done
fi
true
`;

/** Looks at a machine without changing it. */
export async function inspect(machine: RemoteMachine): Promise<Inspection> {
  const looked = await machine
    .run(['sh', '-c', INSPECT], { timeoutMs: TIMEOUTS.command })
    .catch((error: unknown) => {
      const refusal =
        error instanceof CommandError ? /^sudo: .*/m.exec(error.outcome.stderr)?.[0] : undefined;
      if (refusal === undefined) throw error;
      return {
        stdout: `problem: ${refusal}; the user needs sudo without a password (NOPASSWD in sudoers)\n`,
      };
    });
  const lines = looked.stdout.split('\n');
  const after = (word: string) =>
    lines.flatMap((line) => (line.startsWith(`${word}: `) ? [line.slice(word.length + 2)] : []));
  return { owner: after('owner')[0] ?? '', problems: after('problem') };
}

// $0 the user, $1 the public key. In place, so that owner and mode stay. Beside the key each change is noted first, for
// lab-remove to take back.
const ALLOW_KEY = `
set -eu
home=$(getent passwd "$0" | cut -d: -f6)
group=$(id -g "$0")
note() { mkdir -p /var/lib/lab && echo "$1" >> /var/lib/lab/authorized-keys; }
[ -d "$home/.ssh" ] || { note folder; install -d -m 700 -o "$0" -g "$group" "$home/.ssh"; }
file=$home/.ssh/authorized_keys
[ -e "$file" ] || { note file; install -m 600 -o "$0" -g "$group" /dev/null "$file"; }
if grep -qxF "$1" "$file"; then exit 0; fi
[ -z "$(tail -c 1 "$file")" ] || { note newline; echo >> "$file"; }
echo "$1" >> "$file"
echo added
`;

/**
 * Makes a machine the lab's: says so on it, lets the lab's key in, and lets many commands share a connection. Returns
 * whether anything had to be done.
 */
export async function claim(
  machine: RemoteMachine,
  lab: string,
  user: string,
  clientKey: string,
): Promise<boolean> {
  // First: whatever happens from here on, labdown knows that it has something to put back.
  const owner = await machine.writeFiles([{ path: OWNER_FILE, content: `${lab}\n` }]);
  const { stdout } = await machine.run(['sh', '-c', ALLOW_KEY, user, clientKey], {
    timeoutMs: TIMEOUTS.command,
  });
  const sshd = await machine.writeFiles([renderSshdConfig()]);
  if (sshd.length > 0) {
    const reload = 'systemctl reload ssh.service 2>/dev/null || systemctl reload sshd.service';
    await machine.run(['sh', '-c', reload], { timeoutMs: TIMEOUTS.command });
  }
  return owner.length > 0 || sshd.length > 0 || stdout.includes('added');
}
