import { existsSync } from 'node:fs';
import type { Instance } from '../instance.ts';
import type { Call } from '../io.ts';
import type { Seed } from './backend.ts';

/** The key that tells the double's own objects from others, on everything that it makes in the container daemon. */
export const DOUBLE_KEY = 'user.multipass-double';

/**
 * A container that a node of a cluster can run in, as the lab's own machines: privileged, with nesting and all devices.
 * Only /sys is read-only, as a writable one has systemd-networkd wait for udev, which a container cannot have.
 */
export function instanceBody(
  instance: Instance,
  seed: Seed,
  { knobs, folder }: Call,
  nic: 'ens' | 'eth',
): object {
  const { name, mac, interfaces } = instance;
  // QEMU's first card is ens3, as 1.16 has it; 1.17 calls them eth0, eth1 and so on.
  const nicName = (at: number) => `${nic}${at + (nic === 'ens' ? 3 : 0)}`;
  const extras = interfaces.map(({ network, mac: hwaddr }, at) => {
    const device = { type: 'nic', nictype: 'bridged', parent: network, hwaddr, name: nicName(at + 1) };
    return [nicName(at + 1), device] as const;
  });
  return {
    name,
    type: 'container',
    profiles: [],
    config: {
      [DOUBLE_KEY]: folder,
      'boot.autostart': 'false',
      'security.privileged': 'true',
      'security.nesting': 'true',
      'raw.lxc': rawLxc(existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'cgroup2' : 'cgroup'),
      'user.user-data': seed.userData,
      'user.vendor-data': seed.vendorData,
      'user.meta-data': seed.metaData,
      'user.network-config': seed.networkConfig,
    },
    devices: {
      root: { type: 'disk', path: '/', pool: knobs.project },
      [nicName(0)]: { type: 'nic', network: knobs.bridge, hwaddr: mac, name: nicName(0) },
      ...Object.fromEntries(extras),
      // kubelet refuses to start without /dev/kmsg.
      kmsg: { type: 'unix-char', source: '/dev/kmsg', path: '/dev/kmsg' },
    },
  };
}

function rawLxc(cgroup: string): string {
  return [
    'lxc.cap.drop=',
    'lxc.mount.auto=',
    'lxc.mount.auto=proc:rw sys:mixed cgroup:rw',
    `lxc.${cgroup}.devices.deny=`,
    `lxc.${cgroup}.devices.allow=a`,
  ].join('\n');
}
