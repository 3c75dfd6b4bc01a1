import { describe, expect, it } from 'vitest';
import {
  allowed,
  ingressAddresses,
  nodeAddresses,
  parseServers,
  proxyBackends,
  reloads,
} from '../../scripts/scenarios/ingress.ts';
import { countedNothingSince } from '../../scripts/scenarios/rules.ts';
import { readyPods } from '../../scripts/scenarios/words.ts';
import { factsOf, pod, seen, service } from './facts.ts';

const web = (name: string, ip: string, node: string) => pod(name, { ip, node, labels: { app: 'web' } });
const facts = factsOf({
  pods: [web('web-a', '10.255.0.195', 'k8sworker3'), web('web-b', '10.255.0.131', 'k8sworker2')],
  services: [service('web', [])],
});
const pods = readyPods('app=web');

// As haproxy 2.6.12 prints them, without the columns between.
const CSV = `# pxname,svname,status,addr,
stats,FRONTEND,OPEN,,
ns:web:http,web-a,no check,10.255.0.195:80,
ns:web:http,web-b,no check,10.255.0.131:80,
ns:web:http,BACKEND,UP,,
`;

describe('what a proxy tells', () => {
  it('its servers, by the names of the columns', () => {
    expect(parseServers(CSV)).toEqual([
      { backend: 'ns:web:http', name: 'web-a', address: '10.255.0.195:80' },
      { backend: 'ns:web:http', name: 'web-b', address: '10.255.0.131:80' },
    ]);
  });

  it.each([
    ['as it is', CSV, true],
    ['with a server less', CSV.replace(/.*web-b.*\n/, ''), false],
    ['with another address', CSV.replace('.131:', '.132:'), false],
    ['with the ClusterIP', CSV.replaceAll(/10\.255\.0\.\d+/g, '10.96.0.9'), false],
  ])('backends are the pods: %s', (_, stdout, right) => {
    const judged = proxyBackends('ns:web:http', pods).judge(seen(facts, { stdout }));
    expect(judged).toMatchObject({ right });
    expect(judged.seen).toContain('web-a 10.');
  });

  it('reloads, the last one with all endpoints', () => {
    const line = (count: number) =>
      `x 1 rules, 2 backends, ${count} endpoints: haproxy reload, served after 285 ms\n`;
    const judge = (stdout: string) => reloads(2, pods).judge(seen(facts, { stdout }));
    expect(judge(line(3) + line(2))).toEqual({
      right: true,
      seen: '2 reloads; the last one with 2 endpoints, after 285 ms',
    });
    expect(judge(line(2)).right).toBe(false);
    expect(judge(line(2) + line(1)).right).toBe(false);
  });
});

it('the address of an Ingress is that of the nodes', () => {
  const judge = (stdout: string) => ingressAddresses(nodeAddresses(pods)).judge(seen(facts, { stdout }));
  const status = (...ips: string[]) =>
    JSON.stringify({ status: { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } } });
  expect(judge(status('192.168.13.36', '192.168.13.37')).right).toBe(true);
  expect(judge(status('192.168.13.36'))).toEqual({ right: false, seen: '192.168.13.36' });
  expect(judge('{"status":{"loadBalancer":{}}}')).toEqual({ right: false, seen: 'none' });
});

it('kubectl auth can-i', () => {
  expect(allowed(true).judge(seen(facts, { stdout: 'yes\n' })).right).toBe(true);
  expect(allowed(true).judge(seen(facts, { stdout: 'no\n' }))).toEqual({ right: false, seen: 'no' });
  expect(allowed(false).judge(seen(facts, { stdout: 'no\n' })).right).toBe(true);
});

describe('rules that must not have counted', () => {
  const rules = (packets: number) => `*nat
[0:0] -A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "lab-test/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-W
[0:0] -A KUBE-SVC-W -m comment --comment "lab-test/web:http" -j KUBE-SEP-A
[${packets}:0] -A KUBE-SEP-A -p tcp -m comment --comment "lab-test/web:http" -m tcp -j DNAT --to-destination 10.255.0.195:80
COMMIT
`;
  const since = { ...facts, after: () => ({ stdout: rules(7), facts }) };
  const judge = (stdout: string) => countedNothingSince('before', 'web').judge(seen(since, { stdout }));

  it('did not', () => {
    expect(judge(rules(7))).toEqual({ right: true, seen: 'counted: 0, at 1 rules' });
  });

  it('were set back', () => {
    expect(judge(rules(0))).toEqual({ right: true, seen: 'counted: 0, at 1 rules' });
  });

  it('did', () => {
    expect(judge(rules(9))).toEqual({ right: false, seen: 'counted: 2, at 1 rules' });
  });

  it('are gone', () => {
    expect(judge('*nat\nCOMMIT\n').right).toBe(false);
  });
});
