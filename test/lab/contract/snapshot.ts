import type { PreparedMachines } from './prepared.ts';

/**
 * What a machine is, one line per thing: files with owner, mode and content, units, addresses, routes, rules, filters,
 * kernel settings, packages. Left out is what a machine changes by itself (services that end when they are idle), or apt on
 * any use, and the user that Debian's frr leaves when it is purged.
 */
const SCRIPT = `
export LC_ALL=C
files() {
  find /etc /usr/local /usr/bin/kube* /usr/libexec/kubernetes /opt /root/.ssh /home/*/.ssh /var/lib/lab /var/lib/kubelet \
    /var/lib/etcd /var/lib/cni /var/lib/containerd /etc/systemd "$@" 2>/dev/null
}
files ! -type d -printf 'file %p %M %u:%g %l\\n'
files -type f -exec sha256sum {} +
files -type d -printf 'folder %p %M %u:%g\\n'
systemctl list-unit-files --no-legend --plain | sed 's/^/unit /'
systemctl list-units --no-legend --plain --type=service,socket,timer --state=active,failed | grep -v systemd-hostnamed | awk '{print "active", $1, $3}'
ip -br -4 address | sed 's/@[^ ]*//; s/^/address /'
ip -4 route show table all | sed 's/ expires [0-9]*sec//; s/^/route /'
ip rule | sed 's/^/rule /'
ip -br link | awk '{print "link", $1}' | sed 's/@.*//'
for save in iptables-save ip6tables-save; do
  command -v $save >/dev/null && $save | grep -v '^#' | sed "s/ \\[.*//; s/^/$save /"
done
sysctl -a 2>/dev/null | grep -E '^net\\.(ipv4|ipv6|core)' | grep -vE '_count|neigh\\.|stable_secret|tcp_fastopen_key' | sed 's/^/sysctl /'
dpkg-query --show --showformat 'package \${Package} \${db:Status-Status}\\n'
cut -d: -f1 /etc/passwd | grep -vx frr | sed 's/^/user /'
mount | grep -vE ' /(run|proc|sys|dev)' | sed 's/^/mount /'
`;

/** Rebuilt by any installation of packages, with the same meaning. */
const REBUILT = /\/etc\/(ld\.so\.cache|(passwd|shadow|group|gshadow|subuid|subgid)-?)( |$)/;

/** What a machine is now, sorted. */
export async function snapshotOf(prepared: PreparedMachines, name: string): Promise<readonly string[]> {
  const lines = (await prepared.root(name, SCRIPT)).split('\n');
  return [...new Set(lines)].filter((line) => line !== '' && !REBUILT.test(line)).sort();
}
