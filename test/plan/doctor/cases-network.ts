import type { HostFacts } from '../../../scripts/plan/host-facts.ts';
import type { Cases } from './case.ts';

const tunnelled = (...routes: string[]): Partial<HostFacts> => ({
  tunnels: ['tun0'],
  routes: routes.map((dst) => ({ dst, kind: 'via', dev: 'tun0' })),
});

/** What the lab can collide with. */
export const NETWORK_CASES: Cases = {
  'other-labs': [
    { what: 'none', verdict: 'ok', says: ['none'] },
    {
      what: 'one beside this',
      facts: { otherLabs: [{ lab: 'second', bridge: 'labbr1', subnet: '192.168.14.1/24' }] },
      verdict: 'ok',
      says: ['second (labbr1, 192.168.14.1/24)'],
    },
    {
      what: 'one with this bridge',
      facts: { otherLabs: [{ lab: 'second', bridge: 'labbr0' }] },
      verdict: 'error',
      says: ['the bridge labbr0 belongs to lab "second"', 'npx labdown --yes --name second'],
    },
    {
      what: 'one with this subnet, or a part of it',
      facts: { otherLabs: [{ lab: 'second', bridge: 'labbr1', subnet: '192.168.13.129/25' }] },
      verdict: 'error',
      says: ['192.168.13.0/24 overlaps the subnet 192.168.13.129/25 of lab "second"'],
    },
    {
      what: 'not to be seen',
      facts: { unseen: { 'other labs': 'the container daemon does not answer' } },
      verdict: 'skipped',
      says: ['the container daemon does not answer'],
    },
  ],
  bridge: [
    { what: 'free', verdict: 'ok', says: ['labbr0 is free'] },
    { what: "this lab's", facts: { links: ['labbr0'], bridgeIsOurs: true }, verdict: 'ok', says: ["lab's"] },
    {
      what: 'taken',
      facts: { links: ['labbr0'] },
      verdict: 'error',
      says: ['already has an interface labbr0'],
    },
    { what: 'not to be seen', facts: { unseen: { network: 'no ip' } }, verdict: 'warning', says: ['no ip'] },
  ],
  'bridge-netfilter': [
    { what: 'off', driver: 'multipass', mode: 'dhcp', verdict: 'ok', says: ['do not pass'] },
    {
      what: 'on, where addresses are those of Multipass',
      facts: { bridgeNetfilter: true },
      driver: 'multipass',
      mode: 'dhcp',
      verdict: 'warning',
      says: ["the host's address", 'sysctl -w net.bridge.bridge-nf-call-iptables=0', 'mode to static'],
    },
    {
      what: 'on, where the lab has its own',
      facts: { bridgeNetfilter: true },
      driver: 'multipass',
      verdict: 'ok',
      says: ['do not drop them'],
    },
    {
      what: 'on, and what is forwarded is dropped, as Docker has it',
      facts: { bridgeNetfilter: true, dropsForwarded: true },
      verdict: 'warning',
      says: ['will not reach each other', 'sudo iptables -I FORWARD -i labbr0 -o labbr0 -j ACCEPT'],
    },
  ],
  subnet: [
    {
      what: "that of the machines, which is the host's already",
      facts: { routes: [{ dst: '10.97.0.0/24', kind: 'connected', dev: 'mpqemubr0' }] },
      driver: 'multipass',
      mode: 'dhcp',
      verdict: 'skipped',
      says: ['Multipass gives'],
    },
    { what: 'free', verdict: 'ok', says: ['192.168.13.0/24 is free'] },
    {
      what: 'taken',
      facts: { routes: [{ dst: '192.168.13.0/24', kind: 'connected', dev: 'eth1' }] },
      verdict: 'error',
      says: ["overlaps the host's route", 'set network.subnet to 192.168.1.0/24'],
    },
    {
      what: 'not to be seen',
      facts: { unseen: { network: 'no ip' } },
      verdict: 'warning',
      says: ['ip route'],
    },
  ],
  prefixes: [
    { what: 'free', verdict: 'ok', says: ['2.2.2.2/32, 203.0.113.16/28, 5.5.5.5/32: no host route'] },
    {
      what: 'in use',
      facts: { routes: [{ dst: '10.0.0.0/8', kind: 'via', dev: 'tun0' }] },
      verdict: 'warning',
      says: ["10.255.0.0/16 overlaps the host's route", "10.96.0.0/12 overlaps the host's route"],
    },
    { what: 'not to be seen', facts: { unseen: { network: 'no ip' } }, verdict: 'warning', says: ['no ip'] },
  ],
  resolvers: [
    { what: 'elsewhere', verdict: 'ok', says: ['192.0.2.1'] },
    { what: 'none', facts: { resolvers: [] }, verdict: 'ok', says: ['no IPv4 name server'] },
    {
      what: 'in the subnet',
      facts: { resolvers: ['192.168.13.53'] },
      verdict: 'error',
      says: ['unreachable'],
    },
    { what: 'in a prefix', facts: { resolvers: ['10.96.0.10'] }, verdict: 'warning', says: ['10.96.0.10'] },
  ],
  vpn: [
    { what: 'none', verdict: 'ok', says: ['none'] },
    {
      what: 'for some networks',
      facts: tunnelled('10.8.0.0/16', '0.0.0.0/1'),
      verdict: 'ok',
      says: ['some'],
    },
    { what: 'for everything', facts: tunnelled('default'), verdict: 'warning', says: ['tun0', 'disconnect'] },
    {
      what: 'for everything, in halves',
      facts: tunnelled('0.0.0.0/1', '128.0.0.0/1'),
      verdict: 'warning',
      says: ['tun0 takes all traffic'],
    },
    { what: 'not to be seen', facts: { unseen: { network: 'no ip' } }, verdict: 'warning', says: ['no ip'] },
  ],
};
