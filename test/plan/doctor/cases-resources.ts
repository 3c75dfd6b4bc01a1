import type { DiskFact } from '../../../scripts/plan/host-facts.ts';
import type { Cases } from './case.ts';

const GIB = 2 ** 30;

/** A disk with so many GiB free. */
export const disk = (use: DiskFact['use'], device: number, freeGib: number): DiskFact => ({
  use,
  path: `/${use}`,
  device,
  freeBytes: freeGib * GIB,
});

/** What is used up. */
export const RESOURCES_CASES: Cases = {
  packages: [
    { what: 'all there', verdict: 'ok', says: ['everything is installed'] },
    {
      what: 'some missing',
      facts: {
        missingPackages: [
          { package: 'lxd', for: 'the machines' },
          { package: 'btrfs-progs', for: 'copy-on-write machines' },
        ],
      },
      verdict: 'warning',
      says: ['lxd (the machines)', 'sudo apt-get install --no-install-recommends lxd btrfs-progs'],
    },
    {
      what: 'some missing, and the lists of apt too',
      facts: { missingPackages: [{ package: 'incus-base', or: 'lxd', for: 'the machines' }] },
      verdict: 'warning',
      says: ['incus-base or lxd (the machines)', 'sudo apt-get update'],
    },
    {
      what: 'some missing, and no apt',
      facts: { apt: false, missingPackages: [{ package: 'incus', for: 'the machines' }] },
      verdict: 'error',
      says: ['no apt-get here', "with this system's package manager"],
    },
  ],
  mirror: [
    { what: 'answering', verdict: 'ok', says: ['answers; to be built: kubernetes'] },
    {
      what: 'silent with something to build',
      facts: { networkReachable: false },
      verdict: 'error',
      says: ['no package mirror answers, and these must be built: kubernetes, machine image', 'sources.list'],
    },
    {
      what: 'silent with something to install',
      facts: {
        networkReachable: false,
        missingArtifacts: [],
        missingPackages: [{ package: 'lxd', for: 'machines' }],
      },
      verdict: 'error',
      says: ['these must be installed: lxd'],
    },
    {
      what: 'of no use',
      facts: { networkReachable: false, missingArtifacts: [] },
      verdict: 'skipped',
      says: ['nothing has to be built or installed'],
    },
    {
      what: 'not to be asked',
      facts: { unseen: { mirror: 'apt-config failed' } },
      verdict: 'warning',
      says: ['apt-config failed', 'cure: apt-get update'],
    },
  ],
  memory: [
    { what: 'enough', verdict: 'ok', says: ['8.0 GiB are available; 2.4 GiB are needed'] },
    { what: 'too little', facts: { freeMemoryBytes: GIB }, verdict: 'error', says: ['too little memory'] },
    {
      what: 'enough for containers and too little for VMs',
      facts: { freeMemoryBytes: 4 * GIB },
      driver: 'multipass',
      verdict: 'error',
      says: ['4.0 GiB are available; 8.0 GiB are needed'],
    },
    {
      what: 'not to be seen',
      facts: { freeMemoryBytes: 0, unseen: { memory: 'no /proc' } },
      verdict: 'warning',
      says: ['no /proc', '2.4 GiB'],
    },
  ],
  disk: [
    {
      what: 'one for all',
      facts: { disks: [disk('state', 1, 8), disk('cache', 1, 8), disk('machines', 1, 8)] },
      verdict: 'ok',
      says: ['8.0 GiB free for state, cache, machines; 7.8 GiB needed'],
    },
    {
      what: 'one for all that would do for each alone',
      facts: { disks: [disk('cache', 1, 7), disk('machines', 1, 7)] },
      verdict: 'error',
      says: ['too little disk: /cache and /machines have 7.0 GiB free; 7.8 GiB are needed', 'free 0.8 GiB'],
    },
    {
      what: 'several, of which the one for machines is full',
      facts: { disks: [disk('state', 1, 1), disk('cache', 1, 50), disk('machines', 2, 1)] },
      verdict: 'error',
      says: ['too little disk: /machines has 1.0 GiB free; 1.8 GiB are needed'],
    },
    {
      what: 'too small for VMs',
      facts: { disks: [disk('machines', 1, 20)] },
      driver: 'multipass',
      verdict: 'error',
      says: ['/machines has 20.0 GiB free; 21.0 GiB are needed'],
    },
    {
      what: 'for machines that are elsewhere',
      facts: { disks: [disk('state', 1, 1)], missingArtifacts: [] },
      driver: 'ssh',
      verdict: 'ok',
      says: ['1.0 GiB free for state; almost nothing needed'],
    },
    {
      what: 'not to be seen',
      facts: { unseen: { disk: 'EIO' } },
      verdict: 'warning',
      says: ['EIO', 'df -h'],
    },
  ],
  lab: [
    { what: 'not there yet', verdict: 'ok', says: ['no machine exists yet'] },
    {
      what: 'partly there',
      facts: { existingMachines: ['bgp', 'routed', "somebody else's"] },
      verdict: 'ok',
      says: ['2 of 7 machines are there'],
    },
    {
      what: 'not there yet, on machines that are',
      driver: 'ssh',
      verdict: 'ok',
      says: ['has no machine yet'],
    },
    {
      what: 'made with other settings',
      facts: { differences: ['machines', 'bgp'] },
      verdict: 'error',
      says: ['it was made with other settings: machines; bgp', 'npx labdown --yes && npx labup --yes'],
    },
    {
      what: 'not to be seen',
      facts: { unseen: { lab: 'the daemon is silent' } },
      verdict: 'error',
      says: ['the daemon is silent', 'npx lab status'],
    },
  ],
};
