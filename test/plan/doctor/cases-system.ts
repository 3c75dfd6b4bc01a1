import type { Cases } from './case.ts';
import { MULTIPASS } from './good-host.ts';

/** Node.js, clock, user, limits and devices. */
export const SYSTEM_CASES: Cases = {
  calico: [
    {
      what: 'a pair that Calico tests',
      versions: { kubernetes: 'v1.36.3+k3s1', calico: 'v3.32.1' },
      verdict: 'ok',
      says: ['v3.32.1 with Kubernetes v1.36.3+k3s1'],
    },
    {
      what: 'a pair that it does not',
      versions: { kubernetes: 'v1.37.1', calico: 'v3.32.1' },
      verdict: 'warning',
      says: ['Calico v3.32.1 with Kubernetes v1.37.1 is not tested by Calico', '1.34 to 1.36'],
    },
  ],
  platform: [
    { what: 'Linux', verdict: 'ok', says: ['linux'] },
    {
      what: 'macOS for containers',
      facts: { platform: 'darwin' },
      verdict: 'error',
      says: ['need a Linux kernel'],
    },
    {
      what: 'macOS for VMs',
      facts: { platform: 'darwin' },
      driver: 'multipass',
      mode: 'dhcp',
      artifacts: 'bundle',
      verdict: 'warning',
      says: ['no lab was ever tried on darwin', 'docs/multipass.md'],
    },
  ],
  node: [
    { what: 'the oldest', verdict: 'ok', says: ['20.19.0; 20.19 or later'] },
    {
      what: "Debian 12's own",
      facts: { node: { version: '18.19.0', floor: '20.19' } },
      verdict: 'error',
      says: ['Node.js is 18.19.0', 'https://nodejs.org'],
    },
  ],
  clock: [
    { what: 'later than the package', verdict: 'ok', says: ['2026-06-01 00:00 UTC'] },
    {
      what: 'hours behind the package, as after unpacking in another time zone',
      facts: { clock: { now: Date.UTC(2026, 4, 30, 13), newestFile: Date.UTC(2026, 4, 31) } },
      verdict: 'ok',
      says: [],
    },
    {
      what: 'days behind the package',
      facts: { clock: { now: Date.UTC(2026, 4, 20), newestFile: Date.UTC(2026, 4, 31) } },
      verdict: 'warning',
      says: ['2026-05-20', 'written 2026-05-31', 'cure: timedatectl set-ntp true'],
    },
    {
      what: 'the epoch, as without a battery',
      facts: { clock: { now: 1000, newestFile: Date.UTC(2026, 4, 31) } },
      verdict: 'error',
      says: ['1970-01-01 00:00 UTC'],
    },
    {
      what: 'far in the future',
      facts: { clock: { now: Date.UTC(2101, 1), newestFile: 0 } },
      verdict: 'error',
      says: ['2101-02-01'],
    },
  ],
  user: [
    { what: 'root', verdict: 'ok', says: ['root'] },
    { what: 'another', facts: { uid: 1000 }, verdict: 'error', says: ['user 1000 is not root', 'sudo'] },
  ],
  kvm: [
    { what: 'there', driver: 'multipass', verdict: 'ok', says: ['/dev/kvm'] },
    { what: 'only for root', facts: { kvm: 'denied' }, driver: 'multipass', verdict: 'ok', says: [] },
    {
      what: 'missing',
      facts: { kvm: 'absent' },
      driver: 'multipass',
      verdict: 'error',
      says: ['/dev/kvm is missing', 'modprobe kvm_intel'],
    },
    {
      what: 'missing where Multipass makes containers',
      facts: { kvm: 'absent', multipass: { ...MULTIPASS, driver: 'lxd' } },
      driver: 'multipass',
      verdict: 'skipped',
      says: ['with lxd'],
    },
  ],
  'inotify-instances': [
    { what: 'low, and ours to raise', verdict: 'ok', says: ['128; labup raises it to 1024'] },
    {
      what: 'enough',
      facts: { inotify: { instances: 1024, watches: 1, writable: false } },
      verdict: 'ok',
      says: ['1024 are enough'],
    },
    {
      what: 'low and read-only',
      facts: { inotify: { instances: 128, watches: 1, writable: false } },
      verdict: 'error',
      says: ['is 128, 1024 are needed', 'sysctl -w fs.inotify.max_user_instances=1024'],
    },
    {
      what: 'low, looked at by a user who could not raise it anyway',
      facts: { uid: 1000, inotify: { instances: 128, watches: 1, writable: false } },
      verdict: 'ok',
      says: ['labup raises it'],
    },
    { what: 'not to be seen', facts: { inotify: undefined }, verdict: 'warning', says: ['not on this host'] },
  ],
  'inotify-watches': [
    { what: 'enough', verdict: 'ok', says: ['65536'] },
    {
      what: 'as few as many kernels allow',
      facts: { inotify: { instances: 128, watches: 8192, writable: true } },
      verdict: 'warning',
      says: ['max_user_watches is 8192', 'sysctl -w fs.inotify.max_user_watches=524288'],
    },
  ],
  kmsg: [
    { what: 'there', verdict: 'ok', says: ['/dev/kmsg'] },
    {
      what: 'missing',
      facts: { kmsg: false },
      verdict: 'error',
      says: ['kubelet', 'mknod /dev/kmsg c 1 11'],
    },
  ],
};
