import type { DaemonFact } from '../../../scripts/plan/host-facts.ts';
import type { Cases } from './case.ts';
import { GOOD_HOST, MULTIPASS } from './good-host.ts';

const LXD = GOOD_HOST.daemons[0] as DaemonFact;
const INCUS: DaemonFact = {
  ...LXD,
  kind: 'incus',
  program: '/usr/libexec/incus/incusd',
  unit: 'incus.service',
};
const ABSENT: DaemonFact = {
  kind: 'incus',
  program: '/usr/libexec/incus/incusd',
  unit: 'incus.service',
  installed: false,
  startable: true,
  socket: 'absent',
};
const STOPPED: DaemonFact = {
  ...ABSENT,
  kind: 'lxd',
  program: '/snap/bin/lxd',
  unit: 'snap.lxd.daemon.service',
  installed: true,
};

const refusal = { message: 'the daemon does not know this user yet', hint: 'multipass authenticate' };

/** Who makes the machines. */
export const DAEMONS_CASES: Cases = {
  daemon: [
    { what: 'LXD 5', verdict: 'ok', says: ['lxd 5.0.2 answers'] },
    {
      what: 'Incus, though LXD is there too',
      facts: { daemons: [{ ...INCUS, version: '6.0.4' }, STOPPED] },
      verdict: 'ok',
      says: ['incus 6.0.4'],
    },
    {
      what: 'LXD 4',
      facts: { daemons: [ABSENT, { ...LXD, version: '4.0.9' }] },
      verdict: 'error',
      says: ['lxd 4.0.9 is too old; 5 or later', 'apt-get install lxd'],
    },
    {
      what: 'Incus 0.7',
      facts: { daemons: [{ ...INCUS, version: '0.7' }] },
      verdict: 'error',
      says: ['incus 0.7 is too old; 6 or later', 'apt-get install incus'],
    },
    {
      what: 'one that is installed and does not run',
      facts: { daemons: [ABSENT, STOPPED] },
      verdict: 'ok',
      says: ['lxd does not run; labup starts it'],
    },
    {
      what: 'one that left its socket behind',
      facts: { daemons: [{ ...STOPPED, socket: 'silent', why: 'connect ECONNREFUSED' }] },
      verdict: 'ok',
      says: ['does not answer (connect ECONNREFUSED); labup starts it'],
    },
    {
      what: 'one that labup cannot start',
      facts: { daemons: [{ ...STOPPED, startable: false }] },
      verdict: 'error',
      says: ['(/snap/bin/lxd) but does not run', 'snap.lxd.daemon.service'],
    },
    {
      what: 'one that keeps this user out',
      facts: { daemons: [{ ...LXD, socket: 'denied' }] },
      verdict: 'error',
      says: ['lxd runs and does not let this user in', 'group that is let in is lxd'],
    },
    {
      what: 'one that does not trust this user',
      facts: { daemons: [{ ...INCUS, socket: 'untrusted' }] },
      verdict: 'error',
      says: ['does not trust this user', 'incus-admin'],
    },
    { what: 'none yet', facts: { daemons: [ABSENT] }, verdict: 'ok', says: ['labup installs one'] },
    {
      what: 'none, and no apt',
      facts: { daemons: [ABSENT], apt: false },
      verdict: 'error',
      says: ['no apt-get', 'https://linuxcontainers.org/incus'],
    },
  ],
  multipass: [
    { what: 'running', driver: 'multipass', verdict: 'ok', says: ['1.16.3, machines by qemu'] },
    {
      what: 'not installed',
      facts: {
        multipass: { refusal: { message: 'it is not installed', hint: 'sudo snap install multipass' } },
      },
      driver: 'multipass',
      verdict: 'error',
      says: ['not installed', 'it is not installed', 'cure: sudo snap install multipass'],
    },
    {
      what: 'too old',
      facts: { multipass: { ...MULTIPASS, daemon: '1.14.1' } },
      driver: 'multipass',
      verdict: 'error',
      says: ['multipassd 1.14.1 is too old; 1.15', 'snap refresh multipass'],
    },
    {
      what: 'a version that is yet to come',
      facts: { multipass: { ...MULTIPASS, client: '1.17.0-dev.616.ci1549+gf42cf65a.win' } },
      driver: 'multipass',
      verdict: 'ok',
      says: [],
    },
    {
      what: 'machines that the lab cannot use',
      facts: { multipass: { ...MULTIPASS, driver: 'lxd' } },
      driver: 'multipass',
      verdict: 'error',
      says: ['"lxd"; the lab needs qemu', 'multipass set local.driver=qemu'],
    },
    {
      what: 'machines that a Mac makes',
      facts: { multipass: { ...MULTIPASS, driver: 'applevz' } },
      driver: 'multipass',
      verdict: 'ok',
      says: ['machines by applevz'],
    },
    {
      what: 'no daemon installed',
      facts: { multipass: { client: '1.16.3' } },
      driver: 'multipass',
      verdict: 'error',
      says: ['multipassd, does not answer'],
    },
    {
      what: 'a user who is not known',
      facts: { multipass: { client: '1.16.3', refusal } },
      driver: 'multipass',
      verdict: 'error',
      says: ['1.16.3; the daemon does not answer', 'does not know this user', 'cure: multipass authenticate'],
    },
  ],
};
