import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { explainCell, findCells } from '../../scripts/matrix/explain.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { endpointsOf, planOf } from './fixtures.ts';

const cells = buildCells(planOf(), endpointsOf());

function explained(id: string): string {
  const [cell] = findCells(cells, id);
  return cell === undefined ? '' : explainCell(cell).join('\n');
}

describe('explainCell', () => {
  it('tells the way of a connection that is answered', () => {
    expect(explained('routed>echo-lb-tcp/2.2.2.2:1234/tcp')).toMatchInlineSnapshot(`
      "routed>echo-lb-tcp/2.2.2.2:1234/tcp
        connects to 2.2.2.2:1234/tcp
        must end as: ok
        answered by 10.255.0.74 or 10.255.0.138 or 10.255.0.202
        which sees the client as 192.168.13.40
        because: routed sends it to bgp; bgp spreads connections over k8sworker1, k8sworker2 and k8sworker3, and each of them answers from its own ready pods only and keeps the client's address (externalTrafficPolicy Local).
        the way of its first packet:
           1. routed            route     2.2.2.2/32 by bgp (192.168.13.39)
           2. bgp               route     2.2.2.2/32 by one of k8sworker1 (192.168.13.35), k8sworker2 (192.168.13.36) and k8sworker3 (192.168.13.37)
           3. bgp               bgp       learned 2.2.2.2/32 from k8sworker1 (192.168.13.35), k8sworker2 (192.168.13.36) and k8sworker3 (192.168.13.37)
           4. bgp               route     fib_multipath_hash_policy 1: by addresses and ports, so each connection may take another next hop
           5. k8sworker1        rule      KUBE-SERVICES > KUBE-XLB-CJWA5ESDMAAGKDRQ; externalTrafficPolicy Local: local endpoints only, the source stays; to echo-server1 10.255.0.74:1234
           6. k8sworker1        route     echo-server1 on this node
           7. pod/echo-server1  endpoint  10.255.0.74, on k8sworker1
           8. k8sworker1        source    the server sees 192.168.13.40: the source stays
           9. k8sworker2        rule      KUBE-SERVICES > KUBE-XLB-CJWA5ESDMAAGKDRQ; externalTrafficPolicy Local: local endpoints only, the source stays; to echo-server2 10.255.0.138:1234
          10. k8sworker2        route     echo-server2 on this node
          11. pod/echo-server2  endpoint  10.255.0.138, on k8sworker2
          12. k8sworker2        source    the server sees 192.168.13.40: the source stays
          13. k8sworker3        rule      KUBE-SERVICES > KUBE-XLB-CJWA5ESDMAAGKDRQ; externalTrafficPolicy Local: local endpoints only, the source stays; to echo-server3 10.255.0.202:1234
          14. k8sworker3        route     echo-server3 on this node
          15. pod/echo-server3  endpoint  10.255.0.202, on k8sworker3
          16. k8sworker3        source    the server sees 192.168.13.40: the source stays"
    `);
  });

  it('tells where a connection ends', () => {
    expect(explained('ubuntu>echo-np-tcp/k8smaster1:31234/tcp')).toMatchInlineSnapshot(`
      "ubuntu>echo-np-tcp/k8smaster1:31234/tcp
        connects to 192.168.13.30:31234/tcp
        must end as: timeout
        because: k8smaster1 has no ready pod of its own and drops the packet, because with externalTrafficPolicy Local a node answers from its own pods only.
        the way of its first packet:
           1. ubuntu      route  192.168.13.0/24 on the link eth0
           2. k8smaster1  rule   KUBE-SERVICES > KUBE-NODEPORTS > KUBE-XLB-GJBMK3L7NTPWGDTH > KUBE-MARK-DROP; no local endpoints: marked to be dropped
           3. k8smaster1  rule   KUBE-FIREWALL; what KUBE-MARK-DROP has marked is dropped"
    `);
  });

  it('tells why a cell is not tried', () => {
    const blocked = buildCells(planOf(), endpointsOf({ ready: ['echo-server1'] }));
    const [cell] = findCells(blocked, 'pod/echo-client1>echo-ci-tcp/cluster-ip:1234/tcp');
    expect(cell === undefined ? [] : explainCell(cell)).toContain('  not tried: workloads.client-pod failed');
  });
});

describe('findCells', () => {
  it.each([
    ['an id in full', 'bgp>pod/echo-server1:1234/tcp', 1],
    ['a part of ids', '>echo-lb-tcp/2.2.2.2:1234', 8],
    ['stars', 'ubuntu>*/k8sworker?:*', 9],
    ['a star that must match the whole id', '*>headless:1234/tcp', 8],
  ])('finds by %s', (_, pattern, count) => {
    expect(findCells(cells, pattern)).toHaveLength(count);
  });

  it('takes an id in full for that cell, also where it is a part of others', () => {
    const [cell] = cells;
    if (cell === undefined) throw new Error('there is no cell');
    const both = [cell, { ...cell, id: `x${cell.id}` }];
    expect(findCells(both, cell.id)).toEqual([cell]);
    expect(findCells(both, cell.id.slice(0, -1))).toEqual(both);
  });

  it('takes characters of regular expressions as they are', () => {
    expect(() => findCells(cells, 'ubuntu>echo-lb-tcp/2x2.2.2:1234/tcp*')).toThrow(UserError);
  });

  it('suggests what is near where there is none', () => {
    try {
      findCells(cells, 'ubuntu>echo-np-tcp/k8sworkr1:31234/tcp');
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).details[0]).toBe('did you mean ubuntu>echo-np-tcp/k8sworker1:31234/tcp ?');
      expect((error as UserError).details).toHaveLength(5);
    }
  });
});
