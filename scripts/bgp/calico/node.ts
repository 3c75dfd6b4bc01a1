import type { RemoteMachine } from '../../exec/ssh.ts';
import { ensureUnits } from '../../machines/deliver.ts';
import { CALICO_GATEWAY } from '../../plan/addressing.ts';
import type { MachinePlan } from '../../plan/types.ts';
import { readAsset } from '../../shared/files.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';

const MOUNTS_UNIT = 'lab-calico-mounts.service';

/**
 * Removes what the `bird` CNI leaves on a node, and Debian's own BIRD, which would hold port 179. Says "changed" where
 * there was something. The masquerading chain goes with its jump; routes of BIRD are taken over by Calico's, which
 * removes those that it does not know.
 */
const REMOVE_BIRD_CNI = `
changed() { echo changed; }
for unit in lab-announcer.service lab-nat-outgoing.service bird.service bird6.service; do
  if systemctl is-active --quiet "$unit" || systemctl is-enabled --quiet "$unit" 2>/dev/null; then
    systemctl disable --now --quiet "$unit"
    changed
  fi
done
if iptables --wait -t nat -S LAB-NAT-OUTGOING >/dev/null 2>&1; then
  iptables --wait -t nat -D POSTROUTING -j LAB-NAT-OUTGOING 2>/dev/null || true
  iptables --wait -t nat -F LAB-NAT-OUTGOING
  iptables --wait -t nat -X LAB-NAT-OUTGOING
  changed
fi
if [ -e /etc/cni/net.d/10-lab.conflist ]; then
  rm /etc/cni/net.d/10-lab.conflist
  changed
fi
`;

/**
 * Calico installs its plugins in /opt/cni/bin. Debian's containerd looks in /usr/lib/cni: then both are one folder.
 */
const PLUGIN_FOLDER = `
if [ ! -d /opt/cni/bin ]; then
  mkdir --parents /opt/cni
  if grep --quiet '"/usr/lib/cni"' /etc/containerd/config.toml 2>/dev/null; then
    mkdir --parents /usr/lib/cni
    ln --symbolic /usr/lib/cni /opt/cni/bin
  else
    mkdir /opt/cni/bin
  fi
  echo changed
fi
`;

/** Puts back the way to the pods' gateway (plan/addressing.ts), which every boot makes, where somebody took it away. */
const GATEWAY_ROUTE = `
if ! ip route get "$1" >/dev/null 2>&1; then
  nic=$(ip -o -4 address show to "$2" | cut -d ' ' -f 2)
  ip route replace "$1/32" dev "$nic" scope link
  echo changed
fi
`;

/**
 * What calico-node writes when it starts, and a node that was rebooted has: without it the plugin refuses every pod that comes
 * between its installation and calico-node's start, and kubelet tries again only after 10 to 15 s. calico-node, once it
 * runs, sets up what came before it. It writes the name without an end of line.
 */
const STARTED_BEFORE = `
if [ "$(cat /var/lib/calico/nodename 2>/dev/null)" != "$3" ]; then
  mkdir --parents /var/lib/calico
  cat "/sys/class/net/$(ip -o -4 address show to "$2" | cut -d ' ' -f 2)/mtu" > /var/lib/calico/mtu
  printf %s "$3" > /var/lib/calico/nodename
  echo changed
fi
`;

/** Makes a Kubernetes node ready for calico-node. Returns whether anything had to be done. */
export async function prepareCalicoNode(machine: RemoteMachine, node: MachinePlan): Promise<boolean> {
  const mounts = await ensureUnits(
    machine,
    [
      {
        path: `/etc/systemd/system/${MOUNTS_UNIT}`,
        content: readAsset('manifests', 'calico', MOUNTS_UNIT),
      },
    ],
    [MOUNTS_UNIT],
  );
  const script = `set -eu${REMOVE_BIRD_CNI}${GATEWAY_ROUTE}${PLUGIN_FOLDER}${STARTED_BEFORE}`;
  const { stdout } = await machine.run(['sh', '-c', script, 'sh', CALICO_GATEWAY, node.address, node.name], {
    timeoutMs: TIMEOUTS.command,
  });
  return mounts || stdout.includes('changed');
}
