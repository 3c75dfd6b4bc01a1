import { z } from 'zod';
import { ipsOf, prints } from './expect.ts';
import { type Facts, loadBalancerStatus, type PodFact } from './facts.ts';
import type { Expectation, Value } from './scenario.ts';

/** haproxy's statistics as CSV list exactly these pods behind a service's port; `backend` is "NAMESPACE:SERVICE:PORT". */
export function proxyBackends(backend: string, which: Value<readonly PodFact[]>): Expectation {
  return prints(`haproxy sends ${backend} to ${which.text}`, parseServers, (servers, facts) => {
    const own = servers.filter((each) => each.backend === backend);
    const ips = own.map(({ address }) => address.split(':')[0] ?? '').sort();
    return {
      right: ips.join() === ipsOf(which, facts).join(),
      seen: own.map(({ name, address }) => `${name} ${address}`).join(', ') || 'no server',
    };
  });
}

/** The servers in haproxy's statistics; the first line names the columns. */
export function parseServers(
  csv: string,
): readonly { readonly backend: string; readonly name: string; readonly address: string }[] {
  const [head = '', ...rows] = csv.trim().split('\n');
  const columns = head.replace(/^# /, '').split(',');
  const field = (row: readonly string[], name: string) => row[columns.indexOf(name)] ?? '';
  return rows
    .map((line) => line.split(','))
    .map((row) => ({
      backend: field(row, 'pxname'),
      name: field(row, 'svname'),
      address: field(row, 'addr'),
    }))
    .filter(({ name, address }) => address !== '' && name !== 'FRONTEND' && name !== 'BACKEND');
}

const ingress = z.object({
  status: loadBalancerStatus,
});

/** `kubectl get ingress NAME -o json` names these addresses in its status. */
export function ingressAddresses(which: Value<readonly string[]>): Expectation {
  return prints(
    `the address of the Ingress: ${which.text}`,
    (stdout) => ingress.parse(JSON.parse(stdout)).status.loadBalancer.ingress.map(({ ip }) => ip),
    (ips, facts) => ({
      right: [...ips].sort().join() === [...new Set(which.of(facts))].sort().join(),
      seen: ips.join(', ') || 'none',
    }),
  );
}

/** The nodes' addresses of some pods. */
export function nodeAddresses({ text, of }: Value<readonly PodFact[]>): Value<readonly string[]> {
  const address = ({ plan }: Facts, node: string) =>
    plan.machines.find(({ name }) => name === node)?.address ?? '';
  return {
    text: `the nodes of ${text}`,
    of: (facts) => of(facts).map(({ node }) => address(facts, node)),
  };
}

/** `kubectl auth can-i` said this. */
export function allowed(wanted: boolean): Expectation {
  return prints(
    wanted ? 'it is allowed' : 'it is not allowed',
    (stdout) => stdout.trim(),
    (said) => ({ right: said === (wanted ? 'yes' : 'no'), seen: said }),
  );
}

/** The controller's log tells of this many reloads at least, and the last one served as many endpoints as there are pods. */
export function reloads(atLeast: number, endpoints: Value<readonly PodFact[]>): Expectation {
  return prints(
    `at least ${atLeast} reloads, the last one with as many endpoints as there are of ${endpoints.text}`,
    (stdout) => [...stdout.matchAll(/ (\d+) endpoints: haproxy reload, served after (\d+) ms/g)],
    (lines, facts) => {
      const [, count, ms] = lines.at(-1) ?? [];
      return {
        right: lines.length >= atLeast && Number(count) === endpoints.of(facts).length,
        seen: `${lines.length} reloads; the last one with ${count ?? 'no'} endpoints, after ${ms ?? '-'} ms`,
      };
    },
  );
}
