import { describe, expect, it } from 'vitest';
import type { CheckOf } from '../../scripts/bgp/checks/check.ts';
import { iptablesNamesBefore124 } from '../../scripts/matrix/expect/chain-names.ts';
import { type CountersByNode, parseCounters } from '../../scripts/matrix/proof-counters.ts';
import { checkRules, wrongChains } from '../../scripts/matrix/rule-checks.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import { endpointsOf, POD_IPS } from './fixtures.ts';

const state = endpointsOf();
const NODES = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'];

/** kube-proxy's nat rules of one node for all services, in the form of Kubernetes 1.20.2. */
function natRules(of: ObservedState, node: string): string {
  const lines = of.services.flatMap((service) =>
    service.ports.flatMap((port) => {
      const { all: svc, local: xlb, endpoint } = iptablesNamesBefore124(service, port);
      const sep = (ip: string) => endpoint(`${ip}:${port.port}`);
      const local = service.endpoints.filter((each) => each.ready && each.node === node);
      // As iptables-save prints what kube-proxy writes: the last one gets what is left.
      const jump = (chain: string) => (ip: string, index: number, all: readonly string[]) => {
        const rest = all.length - index;
        const part =
          rest === 1 ? '' : ` -m statistic --mode random --probability ${(1 / rest + 1.6e-10).toFixed(11)}`;
        return `[0:0] -A ${chain} -m comment --comment "x"${part} -j ${sep(ip)}`;
      };
      return [
        ...service.backends.map(jump(svc)),
        ...service.backends.map(
          (ip) => `[0:0] -A ${sep(ip)} -p tcp -j DNAT --to-destination ${ip}:${port.port}`,
        ),
        ...service.backends.map((ip) => `[0:0] -A ${sep(ip)} -s ${ip}/32 -j KUBE-MARK-MASQ`),
        ...(service.policy === 'Local'
          ? local.length === 0
            ? [`[0:0] -A ${xlb} -j KUBE-MARK-DROP`]
            : local.map(({ ip }) => ip).map(jump(xlb))
          : []),
      ];
    }),
  );
  return ['*nat', ...lines, 'COMMIT'].join('\n');
}

function rulesOf(of: ObservedState): CountersByNode {
  return new Map(NODES.map((node) => [node, { ok: true, value: parseCounters(natRules(of, node)) }]));
}

function wrong(checks: readonly CheckOf<'service-rules'>[]) {
  return checks.filter(({ verdict }) => verdict !== 'passed');
}

describe('checkRules', () => {
  it('passes what kube-proxy makes: one check per node and service with a ClusterIP', () => {
    const checks = checkRules(state, rulesOf(state));
    expect(wrong(checks)).toEqual([]);
    expect(checks).toHaveLength(4 * 4);
    expect(checks.find(({ id }) => id === 'rules.k8smaster1.echo-np-tcp')?.seen?.chains).toEqual([
      {
        chain: expect.stringMatching(/^KUBE-SVC-\w{16}$/),
        backends: POD_IPS.map((ip) => `${ip}:1234`).sort(),
      },
      { chain: expect.stringMatching(/^KUBE-XLB-\w{16}$/), backends: [] },
    ]);
  });

  it('passes a chain that jumps twice to each pod, as with sessionAffinity', () => {
    const twice = natRules(state, 'k8sworker1').replaceAll(
      /^.* -A KUBE-SVC-\S+ .*$/gm,
      (jump) => `${jump.replace(' -j ', ' -m recent --rcheck --seconds 10800 --reap -j ')}\n${jump}`,
    );
    expect(twice).toContain('--rcheck');
    const counters = new Map(rulesOf(state)).set('k8sworker1', { ok: true, value: parseCounters(twice) });
    expect(wrong(checkRules(state, counters))).toEqual([]);
  });

  it.each([
    ['--probability 0.50000000016', '--probability 0.00000000000', [33.3, 0, 66.7]],
    ['-m statistic --mode random --probability 0.33333333349 ', '', [100, 0, 0]],
  ])('fails where backends get unequal parts: %s', (from, to, percents) => {
    const service = state.services.find(({ name }) => name === 'echo-ci-tcp');
    const [port] = service?.ports ?? [];
    if (service === undefined || port === undefined) throw new Error('no service');
    const chain = iptablesNamesBefore124(service, port).all;
    const text = natRules(state, 'k8sworker1');
    const changed = text.replace(new RegExp(`^.* -A ${chain} .*${from}.*$`, 'm'), (line) =>
      line.replace(from, to),
    );
    expect(changed).not.toBe(text);
    const counters = new Map(rulesOf(state)).set('k8sworker1', { ok: true, value: parseCounters(changed) });
    const [check, ...others] = wrong(checkRules(state, counters));
    expect(others).toEqual([]);
    expect(check).toMatchObject({ id: 'rules.k8sworker1.echo-ci-tcp', reason: 'unequal-shares' });
    expect(check && wrongChains(check)).toEqual([chain]);
    const found = check?.seen?.chains[0]?.percents ?? [];
    const order = service.backends.map((ip) => `${ip}:1234`);
    expect(order.map((each) => found.find(({ backend }) => backend === each)?.percent)).toEqual(percents);
  });

  it('fails on the nodes whose rules still lead to a pod that is not ready', () => {
    const now = endpointsOf({ ready: ['echo-server1', 'echo-server2', 'echo-client1'] });
    const counters = new Map([...rulesOf(now), ['k8sworker3', rulesOf(state).get('k8sworker3')] as const]);
    const checks = wrong(checkRules(now, counters as CountersByNode));
    expect(checks.map(({ id, verdict }) => [id, verdict])).toEqual(
      ['echo-ci-tcp', 'echo-lb-tcp', 'echo-np-tcp', 'echo-server-udp'].map((name) => [
        `rules.k8sworker3.${name}`,
        'failed',
      ]),
    );
    const [wanted, seen] = [checks[2]?.wanted.chains.at(-1), checks[2]?.seen?.chains.at(-1)];
    expect(wanted).toEqual({ chain: expect.stringMatching(/^KUBE-XLB-/), backends: [] });
    expect(seen).toEqual({ ...wanted, backends: [`${POD_IPS[2]}:1234`] });
  });

  it('fails where a chain leads to another pod', () => {
    const counters = rulesOf(state);
    const text = natRules(state, 'k8sworker1').replace(
      `--to-destination ${POD_IPS[1]}:1234`,
      '--to-destination 10.255.0.99:1234',
    );
    const changed = new Map(counters).set('k8sworker1', { ok: true, value: parseCounters(text) });
    expect(wrong(checkRules(state, changed)).map(({ id }) => id)).toEqual(['rules.k8sworker1.echo-ci-tcp']);
  });

  it('knows nothing where the rules could not be read', () => {
    const counters = new Map(rulesOf(state)).set('k8sworker1', {
      ok: false,
      fault: 'harness',
      detail: 'connection lost',
    });
    const checks = wrong(checkRules(state, counters));
    expect(new Set(checks.map(({ verdict, problem }) => `${verdict} ${problem}`))).toEqual(
      new Set(['harness connection lost']),
    );
    expect(checks).toHaveLength(4);
  });

  it('says which chains are wrong, and all of them where the node does not say what it has', () => {
    const service = state.services.find(({ name }) => name === 'echo-np-tcp');
    const [port] = service?.ports ?? [];
    if (service === undefined || port === undefined) throw new Error('there is no service');
    const { all: svc, local: xlb } = iptablesNamesBefore124(service, port);
    const wrongIn = (text: string) => {
      const changed = new Map(rulesOf(state)).set('k8sworker1', { ok: true, value: parseCounters(text) });
      return wrong(checkRules(state, changed)).map(wrongChains);
    };
    const rules = natRules(state, 'k8sworker1');
    expect(wrongIn(rules.replaceAll(new RegExp(`.*-A ${xlb} .*\n`, 'g'), ''))).toEqual([[xlb]]);
    expect(wrongIn(rules.replaceAll(new RegExp(`.*-A ${svc} .*\n`, 'g'), ''))).toEqual([[svc]]);
    const silent = new Map(rulesOf(state)).set('k8smaster1', {
      ok: false,
      fault: 'lab',
      detail: 'no iptables',
    });
    const failed = wrong(checkRules(state, silent)).find(({ id }) => id === 'rules.k8smaster1.echo-np-tcp');
    expect(failed?.verdict).toBe('failed');
    // Also the one that leads to nobody there.
    expect(failed === undefined ? [] : wrongChains(failed)).toEqual([svc, xlb]);
  });

  it('checks nothing where kube-proxy is not in iptables mode', () => {
    expect(checkRules({ ...state, proxy: { ...state.proxy, mode: 'ipvs' } }, rulesOf(state))).toEqual([]);
  });
});
