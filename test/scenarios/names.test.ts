import { describe, expect, it } from 'vitest';
import {
  addressesOf,
  asks,
  hostsHas,
  kubeDns,
  ledTo,
  looksUpIn,
  mounts,
  nodeName,
  noSuchName,
  printsEach,
  resolves,
  serviceVariables,
  srvOf,
} from '../../scripts/scenarios/names.ts';
import type { Expectation } from '../../scripts/scenarios/scenario.ts';
import { value } from '../../scripts/scenarios/words.ts';
import { factsOf, pod, seen, service } from './facts.ts';

const facts = factsOf({
  pods: [
    pod('client', { ip: '10.255.0.9' }),
    pod('web-0', { labels: { app: 'web' }, ip: '10.255.0.3' }),
    pod('web-1', { labels: { app: 'web' }, ip: '10.255.0.67' }),
  ],
  services: [
    service('web', [], {
      clusterIp: 'None',
      endpoints: [
        { address: '10.255.0.3', port: 80, ready: true, pod: 'web-0' },
        { address: '10.255.0.67', port: 80, ready: true, pod: 'web-1' },
        { address: '10.255.0.68', port: 80, ready: false, pod: 'web-2' },
      ],
    }),
  ],
});
const judge = (expectation: Expectation, stdout: string) => expectation.judge(seen(facts, { stdout }));

/** As knot's dig prints it, in part. */
const dig = (status: string, ...records: readonly string[]) =>
  [`;; ->>HEADER<<- opcode: QUERY; status: ${status}; id: 61803`, ';; ANSWER SECTION:', ...records].join(
    '\n',
  );
const record = (type: string, data: string) => `web.lab-test.svc.cluster.local. 5\tIN\t${type}\t${data}`;

describe('dig', () => {
  const both = addressesOf('app=web');
  it.each([
    ['all, in any order', dig('NOERROR', record('A', '10.255.0.67'), record('A', '10.255.0.3')), true, ''],
    ['one is missing', dig('NOERROR', record('A', '10.255.0.3')), false, '10.255.0.67 is missing'],
    [
      'one too many',
      dig('NOERROR', ...['10.255.0.3', '10.255.0.67', '10.9.9.9'].map((ip) => record('A', ip))),
      false,
      '10.9.9.9 must not be there',
    ],
    ['no such name', dig('NXDOMAIN'), false, 'NXDOMAIN; 10.255.0.3 is missing'],
    ['nobody', ';; ERROR: failed to query server 10.96.0.10@53(UDP)', false, 'no DNS server answered'],
  ])('A records: %s', (_, stdout, right, sentence) => {
    const judgement = judge(resolves('A', both), stdout);
    expect(judgement.right).toBe(right);
    expect(judgement.seen).toContain(sentence);
  });

  it("reads bind's form, too", () => {
    const stdout = `;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n${record('CNAME', 'www.example.com.')}`;
    const target = value('the target', () => 'www.example.com');
    expect(judge(resolves('CNAME', target), stdout)).toEqual({ right: true, seen: 'www.example.com' });
  });

  it.each([
    ['name', ['web-0', 'web-1']],
    ['address', ['10-255-0-3', '10-255-0-67']],
  ] as const)('SRV records by %s share 100', (by, hosts) => {
    const full = 'web.lab-test.svc.cluster.local';
    const right = hosts.map((host) => record('SRV', `0 50 80 ${host}.${full}.`));
    const wanted = resolves('SRV', srvOf('web', 'lab-test', by));
    expect(judge(wanted, dig('NOERROR', ...right)).right).toBe(true);
    expect(judge(wanted, dig('NOERROR', ...right).replaceAll('0 50', '0 100')).right).toBe(false);
  });

  it('a name that must not be', () => {
    expect(judge(noSuchName, dig('NXDOMAIN')).right).toBe(true);
    expect(judge(noSuchName, dig('NOERROR', record('A', '10.9.9.9')))).toEqual({
      right: false,
      seen: '10.9.9.9',
    });
    expect(judge(noSuchName, '').right).toBe(false);
  });

  it("names of nodes, where the lab's own DNS answers", () => {
    const wanted = nodeName(value('worker 1', () => 'k8sworker1'));
    expect(judge(wanted, dig('NOERROR', 'k8sworker1. 5\tIN\tA\t192.168.13.35')).right).toBe(true);
    expect(judge(wanted, dig('NXDOMAIN')).right).toBe(false);
  });

  it('answers that come in turns', () => {
    expect(judge(printsEach(both), '10.255.0.3\n10.255.0.67\n10.255.0.3\n').right).toBe(true);
    expect(judge(printsEach(both), '10.255.0.3\n10.255.0.3\n')).toEqual({
      right: false,
      seen: '10.255.0.3 (2)',
    });
  });
});

describe('the environment', () => {
  const address = value('the address', () => '10.96.0.9');
  const all = [
    'WEB_SERVICE_HOST=10.96.0.9',
    'WEB_SERVICE_PORT=80',
    'WEB_PORT=tcp://10.96.0.9:80',
    'WEB_PORT_80_TCP=tcp://10.96.0.9:80',
    'WEB_PORT_80_TCP_PROTO=tcp',
    'WEB_PORT_80_TCP_PORT=80',
    'WEB_PORT_80_TCP_ADDR=10.96.0.9',
  ];
  it.each([
    ['all seven', [...all, 'WEBSITE_SERVICE_HOST=10.96.0.8', 'HOME=/'], true],
    ['six', all.slice(1), false],
    ['of another address', all.map((line) => line.replaceAll('10.96.0.9', '10.96.0.8')), false],
  ])('%s', (_, lines, right) => {
    expect(judge(serviceVariables('web', address), lines.join('\n')).right).toBe(right);
  });

  it('none of a service', () => {
    expect(judge(serviceVariables('web'), 'HOME=/\nWEBSITE_PORT=1').right).toBe(true);
    expect(judge(serviceVariables('web'), all.join('\n')).right).toBe(false);
  });
});

describe('files of a pod', () => {
  const conf =
    'search lab-test.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n';
  it.each([
    ['as kubelet writes it', conf, true],
    ['another server', conf.replace('10.96.0.10', '10.9.9.9'), false],
    ['another namespace', conf.replace('lab-test.', 'default.'), false],
    ['fewer dots', conf.replace(':5', ':1'), false],
  ])('resolv.conf: %s', (_, text, right) => {
    expect(judge(looksUpIn('lab-test'), text).right).toBe(right);
  });

  it('hosts and mounts', () => {
    expect(judge(hostsHas('client'), '127.0.0.1\tlocalhost\n10.255.0.9\tclient\n').right).toBe(true);
    expect(judge(hostsHas('client'), '127.0.0.1\tclient\n').right).toBe(false);
    const mount = '/dev/vda /etc/hosts ext4 rw 0 0';
    expect(judge(mounts('/etc/hosts'), mount).right).toBe(true);
    expect(judge(mounts('/etc/hosts', '/etc/notes'), mount)).toEqual({
      right: false,
      seen: '/etc/notes: no mount',
    });
  });
});

describe('the way of a question', () => {
  const line = (type: string, name: string) =>
    `18:52:09.437568 IP 10.255.0.9.50013 > 10.96.0.10.53: 47554+ ${type}? ${name}. (36)`;
  const names = value('two names', () => ['a.lab-test.svc', 'a.svc']);
  const four = names.of(facts).flatMap((name) => [line('A', name), line('AAAA', name)]);
  it.each([
    ['suffix by suffix', four, true],
    ['no AAAA', four.filter((each) => !each.includes('AAAA')), false],
    ['the other way round', [...four].reverse(), false],
    ['another server', four.map((each) => each.replace('10.96.0.10', '10.9.9.9')), false],
    ['nothing', [], false],
  ])('%s', (_, lines, right) => {
    expect(judge(asks('client', names), lines.join('\n')).right).toBe(right);
  });

  it.each([
    ['a pod of the DNS', '192.168.13.30', true],
    ['something else', '10.9.9.9', false],
  ])('conntrack leads it to %s', (_, server, right) => {
    const flow = `udp 17 20 src=10.255.0.9 dst=10.96.0.10 sport=4000 dport=53 src=${server} dst=10.255.0.9 sport=53 dport=4000 mark=0 use=1`;
    const table =
      'KIND       NAME       CLUSTER-IP   ADDRESSES\nEndpoints  kube-dns   <none>       192.168.13.30';
    const known = { ...facts, after: () => ({ stdout: table, facts }) };
    const wanted = ledTo('client', kubeDns.endpointsOf('server'));
    expect(wanted.judge(seen(known, { stdout: flow })).right).toBe(right);
    expect(wanted.judge(seen(known, { stdout: '' })).right).toBe(false);
  });

  it('kube-dns is the name server', () => {
    const table = 'KIND      NAME       CLUSTER-IP   ADDRESSES\nService   kube-dns   10.96.0.10   <none>';
    expect(judge(kubeDns.isNameServer, table).right).toBe(true);
    expect(judge(kubeDns.isNameServer, table.replace('.10 ', '.11 ')).right).toBe(false);
    expect(judge(kubeDns.isNameServer, '').right).toBe(false);
  });
});
