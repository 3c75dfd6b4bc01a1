import { describe, expect, it } from 'vitest';
import { renderTable } from '../../scripts/report/table.ts';
import { planOf } from '../matrix/fixtures.ts';
import { sampleCells } from './cells.ts';
import { CELLS, CHECKS, NEGATIVE, POSITIVE, runOf, TIMEOUT, wrongly } from './fixtures.ts';

const plain = { color: false };
const everything = runOf({
  cells: CELLS.map((cell) => (cell.from === 'bgp' ? { ...cell, blockedBy: 'workloads.client-pod' } : cell)),
  checks: CHECKS.map((check, index) =>
    index === 0 ? check : wrongly(check, index === 1 ? 'no-answer' : 'not-read', 'no answer'),
  ),
  first: { [POSITIVE]: TIMEOUT, 'ubuntu>echo-np-tcp/k8sworker2:31234/tcp': TIMEOUT },
  second: { 'ubuntu>echo-np-tcp/k8sworker2:31234/tcp': {} },
  broken: ['routed'],
});

describe('the terminal matrix', () => {
  it('of a healthy lab', () => {
    expect(renderTable(runOf(), plain)).toMatchInlineSnapshot(`
      "                  pod IP   name       ClusterIP  NodePort           2.2.2.2
                        tcp udp  tcp  udp   tcp udp    32153 31234 31678  1234
                        123 123  1234 1234  123 1      1234  1234  1234   1
      k8smaster1        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ✓
      k8sworker1        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·
      k8sworker2        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·
      k8sworker3        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·
      pod/echo-client1  ✓✓✓ ✓✓✓  ✓✓✓✓ ✓✓✓✓  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ✓
      bgp               ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ✓
      routed            ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ✓
      ubuntu            ··· ···  ···· ····  ··· ·      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·

      ✓ works as expected   · fails as expected   ✗ wrong   ! not known
      pod IP tcp and udp:  1 echo-server1  2 echo-server2  3 echo-server3
      name tcp and udp:  1 headless  2 server1.headless  3 server2.headless  4 server3.headless
      ClusterIP tcp:  1 echo-ci-tcp  2 echo-lb-tcp  3 echo-np-tcp
      ClusterIP udp:  1 echo-server-udp
      NodePort 32153/tcp and 31234/tcp and 31678/udp:  1 k8smaster1  2 k8sworker1  3 k8sworker2
          4 k8sworker3
      2.2.2.2 1234/tcp:  1 echo-lb-tcp

      ✓ BGP sessions: 1 of 1
      ✓ routes: 1 of 1
      ✓ DNS: 1 of 1

      cells:  248 planned: 248 passed
      checks: 3 planned: 3 passed
      bgp-lab: everything is as it should be (3.2 s)
      "
    `);
  });

  it('of a lab with every kind of trouble', () => {
    expect(renderTable(everything, plain)).toMatchInlineSnapshot(`
      "                  pod IP   name       ClusterIP  NodePort           2.2.2.2
                        tcp udp  tcp  udp   tcp udp    32153 31234 31678  1234
                        123 123  1234 1234  123 1      1234  1234  1234   1
      k8smaster1        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ✓
      k8sworker1        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·
      k8sworker2        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·
      k8sworker3        ✓✓✓ ✓✓✓  ···· ····  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ·
      pod/echo-client1  ✓✓✓ ✓✓✓  ✓✓✓✓ ✓✓✓✓  ✓✓✓ ✓      ·✓✓✓  ·✓✓✓  ·✓✓✓   ✓
      bgp               --- ---  ---- ----  --- -      ----  ----  ----   -
      routed            !!! !!!  !!!! !!!!  !!! !      !!!!  !!!!  !!!!   !
      ubuntu            ··· ···  ···· ····  ··· ·      ·✓✓✓  ·✗~✓  ·✓✓✓   ·

      ✓ works as expected   · fails as expected   ✗ wrong   ! not known   ~ right at the second try
      - blocked
      pod IP tcp and udp:  1 echo-server1  2 echo-server2  3 echo-server3
      name tcp and udp:  1 headless  2 server1.headless  3 server2.headless  4 server3.headless
      ClusterIP tcp:  1 echo-ci-tcp  2 echo-lb-tcp  3 echo-np-tcp
      ClusterIP udp:  1 echo-server-udp
      NodePort 32153/tcp and 31234/tcp and 31678/udp:  1 k8smaster1  2 k8sworker1  3 k8sworker2
          4 k8sworker3
      2.2.2.2 1234/tcp:  1 echo-lb-tcp

      Wrong cells
        ✗ ubuntu>echo-np-tcp/k8sworker1:31234/tcp
          expected: ok from 10.255.0.74, seen as 192.168.13.104
          observed: timeout: no answer to the connection request within 1500 ms
          why: With externalTrafficPolicy Local k8sworker1 answers from its own pod only and keeps the
            client's address.

      Flaky cells
        ~ ubuntu>echo-np-tcp/k8sworker2:31234/tcp
          expected: ok from 10.255.0.138, seen as 192.168.13.104
          observed: ok from 10.255.0.138, seen as 192.168.13.104 (2 attempts): first try: timeout, no
            answer to the connection request within 1500 ms
          why: With externalTrafficPolicy Local k8sworker2 answers from its own pod only and keeps the
            client's address.

      Cells that nothing is known about
        ! 31 cells from routed: the probe could not be run: connection lost

      Blocked cells
        - 31 cells from bgp: not tried: workloads.client-pod failed

      ✓ BGP sessions: 1 of 1
      ✗ routes: 0 of 1
        ✗ bgp kernel: 2.2.2.2/32
          expected: 192.168.13.35
          observed: no answer
          why: Exactly the workers that can deliver to the service must be next hops.
      ✗ DNS: 0 of 1
        ! headless name headless (not known)
          expected: 10.255.0.74
          observed: no answer
          why: A headless name has one A record per ready pod, and none exists without a ready pod.

      cells:  248 planned: 184 passed, 1 failed, 1 flaky, 31 blocked, 31 harness
      checks: 3 planned: 1 passed, 1 failed, 1 harness
      bgp-lab: wrong: 1 of 248 cells and 1 of 3 checks (3.2 s)
      "
    `);
  });

  it('shows every kind of result with a sign of its own', () => {
    const row = (from: string) =>
      renderTable(everything, plain)
        .split('\n')
        .find((line) => line.startsWith(from));
    expect(row('k8sworker1 ')).toMatch(/^k8sworker1 +[✓· {2}]+$/);
    expect(row('ubuntu')).toMatch(/[✓].*✗|✗.*✓/);
    expect(row('ubuntu')).toContain('~');
    expect(row('bgp ')).toMatch(/^bgp +[- ]+$/);
    expect(row('routed')).toMatch(/^routed +[! ]+$/);
  });

  it.each([60, 80, 100, 200])('fits %i columns', (width) => {
    const machines = [
      '  - { name: k8smaster1, role: control-plane, address: 192.168.13.30 }',
      ...Array.from(
        { length: 20 },
        (_, index) => `  - { name: k8sworker${index + 1}, role: worker, address: 192.168.13.${41 + index} }`,
      ),
      '  - { name: bgp, role: router, address: 192.168.13.39 }',
    ];
    const plan = planOf(`version: 1\nmachines:\n${machines.join('\n')}\n`);
    const runs = [everything, runOf({ cells: sampleCells(plan) })];
    for (const run of runs) {
      const long = renderTable(run, { ...plain, width, verbose: true })
        .split('\n')
        .filter((line) => line.length > Math.min(width, 100));
      expect(long).toEqual([]);
    }
  });

  it('says that nothing is known when nothing was planned', () => {
    const text = renderTable(runOf({ cells: [], checks: [] }), plain);
    expect(text).toContain('Nothing was planned, so nothing is known.');
    expect(text).not.toContain('as it should be');
  });

  it('says the same with and without colour', () => {
    const coloured = renderTable(everything, { color: true });
    expect(coloured).toContain('\u001b[');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what colours are made of
    expect(coloured.replaceAll(/\u001b\[\d+m/g, '')).toBe(renderTable(everything, plain));
    expect(renderTable(everything, plain)).not.toContain('\u001b');
  });

  it('lists passed checks on demand', () => {
    expect(renderTable(runOf(), plain)).not.toContain('bgp kernel: 2.2.2.2/32');
    expect(renderTable(runOf(), { ...plain, verbose: true })).toContain('✓ bgp kernel: 2.2.2.2/32');
  });

  it('shows a cell that got through where nothing should', () => {
    const run = runOf({
      first: { [NEGATIVE]: { outcome: 'ok', server: '10.255.0.74', client: '192.168.13.104' } },
    });
    expect(renderTable(run, plain)).toContain('observed: ok from 10.255.0.74, seen as 192.168.13.104');
  });
});
