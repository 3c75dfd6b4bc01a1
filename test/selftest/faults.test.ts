import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { type Fault, type InapplicableFault, MARK } from '../../scripts/selftest/fault.ts';
import { faultsFor } from '../../scripts/selftest/faults.ts';
import type { Picture } from '../../scripts/selftest/picture.ts';
import { type PlacedRule, parseIptables, parseNft } from '../../scripts/selftest/placed-rules.ts';
import { nodePortWays } from '../../scripts/selftest/scene.ts';
import { globMatches } from '../../scripts/shared/glob.ts';
import { endpointsOf, planOf } from '../matrix/fixtures.ts';

const PLAN = planOf();
const STATE = endpointsOf();
const CELLS = buildCells(PLAN, STATE);
const recorded = (name: string) => readFileSync(new URL(`../transcripts/${name}`, import.meta.url), 'utf8');
/** Every machine holds what a worker held when it was recorded. */
function pictureOf(rules: readonly PlacedRule[]): Picture {
  return new Map(PLAN.machines.map(({ name }) => [name, { rules, lines: new Map() }]));
}
const iptables = (text: string) => parseIptables(`# iptables-nft\n${text}`);
const DEBIAN = iptables(recorded('state/k8sworker1-nat.txt').replaceAll(/^-A /gm, '[0:0] -A '));
const SCENE = { plan: PLAN, state: STATE, cells: CELLS, picture: pictureOf(DEBIAN) };

function applicable(): readonly Fault[] {
  return faultsFor(SCENE).filter((fault): fault is Fault => !('skipped' in fault));
}

describe('the catalogue for the default lab', () => {
  it('has at least 12 faults, all of them applicable but that of Calico, each with its own id', () => {
    const all = faultsFor(SCENE);
    const skipped = all.filter((fault) => 'skipped' in fault).map(({ id }) => id);
    expect(skipped).toEqual(['pod-gateway-missing']);
    expect(all.length).toBeGreaterThanOrEqual(12);
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  });

  it.each(applicable().map((fault) => [fault.id, fault] as const))('%s is complete', (_, fault) => {
    const ids = CELLS.map(({ id }) => id);
    const machines = ['kubectl', ...PLAN.machines.map(({ name }) => name)];
    // Those of a service that the fault itself makes come with it.
    expect(fault.cells.filter((id) => !ids.includes(id) && !id.includes(`>${MARK}/`))).toEqual([]);
    expect(fault.cells.length).toBeGreaterThan(0);
    expect(fault.expect.length).toBeGreaterThan(0);
    expect(fault.revert.length).toBeGreaterThan(0);
    const actions = [...fault.inject, ...fault.revert, ...(fault.effective ?? [])];
    expect(actions.filter(({ on }) => !machines.includes(on))).toEqual([]);
    // What is broken on a machine is undone on that machine.
    const undone = fault.revert.map(({ on }) => on);
    expect(fault.inject.filter(({ on }) => !undone.includes(on))).toEqual([]);
    // A cell that must turn red is one that is tried.
    const red = fault.expect.filter(({ kind }) => kind === 'cell').map(({ id }) => id);
    expect(red.filter((id) => !fault.cells.includes(id))).toEqual([]);
  });

  it('has a cell that must stay right wherever a cell must turn red', () => {
    for (const { expect: reds, alsoRed, cells } of applicable()) {
      const patterns = [...reds.map(({ id }) => id), ...alsoRed];
      if (reds.some(({ kind }) => kind === 'cell'))
        expect(cells.some((id) => !patterns.some((pattern) => globMatches(pattern, id)))).toBe(true);
    }
  });

  it('marks every rule that it makes', () => {
    const rules = applicable()
      .flatMap(({ inject }) => inject)
      .filter(({ argv }) => argv[0]?.startsWith('iptables') && argv.includes('-I'));
    expect(rules.length).toBeGreaterThan(5);
    expect(rules.filter(({ argv }) => !argv.includes(MARK))).toEqual([]);
  });
});

describe('the rules that faults touch', () => {
  /** "PROGRAM TABLE CHAIN" of a rule of our own, "PROGRAM TABLE CHAIN, rule N" of one that is taken away. */
  function places(fault: Fault | InapplicableFault): string {
    if ('skipped' in fault) return `- ${fault.skipped}`;
    return fault.inject
      .flatMap(({ argv }) => {
        const [program = '', , , table, how, chain] = argv;
        if (program.startsWith('iptables') && how === '-I') return `${program} ${table} ${chain}`;
        const [, , script = '', , ...values] = argv;
        if (script.includes('delete rule')) return `nft ${values[0]} ${values[1]}, handle ${values[2]}`;
        return script.includes(' -D ') ? `${values.slice(0, 3).join(' ')}, rule ${values[3]}` : [];
      })
      .join('; ');
  }
  const ids = [
    'drop-rule',
    'reject-rule',
    'snat-rule',
    'wrong-backend',
    'wrong-answer',
    'denied',
    'gets-through',
  ];

  function placesIn(rules: readonly PlacedRule[], chain: string, mode = 'iptables') {
    const machines = new Map(
      [...STATE.machines].map(([name, machine]) => [
        name,
        machine.natOutgoing === undefined
          ? machine
          : { ...machine, natOutgoing: { ...machine.natOutgoing, chain } },
      ]),
    );
    const state = { ...STATE, machines, proxy: { ...STATE.proxy, mode } };
    const cells = buildCells(PLAN, { ...state, proxy: STATE.proxy });
    const faults = faultsFor({ plan: PLAN, state, cells, picture: pictureOf(rules) });
    return Object.fromEntries(
      faults
        .filter(({ id }) => [...ids, 'unready-pod', 'nat-outgoing-missing'].includes(id))
        .map((fault) => [fault.id, places(fault)]),
    );
  }

  const OURS = (program: string) => ({
    'drop-rule': `${program} filter FORWARD`,
    'reject-rule': `${program} filter FORWARD`,
    'snat-rule': `${program} nat POSTROUTING`,
    'wrong-backend': `${program} nat POSTROUTING; ${program} nat PREROUTING`,
    'wrong-answer': `${program} nat PREROUTING`,
    denied: `${program} filter OUTPUT`,
    'gets-through': `${program} nat POSTROUTING; ${program} nat PREROUTING`,
    'unready-pod': `${program} filter OUTPUT`,
  });
  const legacy = (name: string) => parseIptables(`# iptables-nft\n# iptables-legacy\n${recorded(name)}`);
  const NFT_FIRST = "- kube-proxy's nftables rules translate before any rule of iptables does";

  it.each([
    [
      'the lab of Debian',
      placesIn(DEBIAN, 'LAB-NAT-OUTGOING'),
      { ...OURS('iptables-nft'), 'nat-outgoing-missing': 'iptables-nft nat POSTROUTING, rule 2' },
    ],
    [
      'k3s with Calico',
      placesIn(iptables(recorded('rules/k3s-calico.txt')), 'cali-nat-outgoing'),
      { ...OURS('iptables-nft'), 'nat-outgoing-missing': 'iptables-nft nat cali-POSTROUTING, rule 2' },
    ],
    [
      'kubeadm with Calico',
      placesIn(iptables(recorded('rules/kubeadm-calico.txt')), 'cali-nat-outgoing'),
      { ...OURS('iptables-nft'), 'nat-outgoing-missing': 'iptables-nft nat cali-POSTROUTING, rule 2' },
    ],
    [
      "the same with its rules in the kernel's older tables",
      placesIn(legacy('rules/kubeadm-calico.txt'), 'cali-nat-outgoing'),
      { ...OURS('iptables-legacy'), 'nat-outgoing-missing': 'iptables-legacy nat cali-POSTROUTING, rule 2' },
    ],
    [
      'nftables mode with Calico',
      placesIn(
        [
          ...iptables(recorded('rules/nftables-mode-iptables.txt')),
          ...parseNft(recorded('rules/nftables-mode.json')),
        ],
        'cali-nat-outgoing',
        'nftables',
      ),
      {
        ...OURS('iptables-nft'),
        'wrong-backend': NFT_FIRST,
        'wrong-answer': NFT_FIRST,
        'nat-outgoing-missing': 'nft calico nat-cali-POSTROUTING, handle 79',
      },
    ],
  ])('of %s', (_, seen, wanted) => {
    expect(seen).toEqual(wanted);
  });

  it('are not touched where nothing jumps to the chain', () => {
    expect(placesIn([], 'cali-nat-outgoing')).toMatchObject({
      'drop-rule': 'iptables filter FORWARD',
      'nat-outgoing-missing': '- nothing on k8sworker1 jumps to cali-nat-outgoing',
    });
  });
});

it('the way of a node port starts at the client without routes', () => {
  const [way] = nodePortWays(SCENE, 'tcp');
  expect(way).toMatchObject({ node: 'k8sworker1', clientAddress: '192.168.13.104', podPort: 1234 });
});

describe('a lab that is too small', () => {
  it('is not broken by faults that it cannot show', () => {
    const state = endpointsOf({ ready: ['echo-server1', 'echo-client1'] });
    const faults = faultsFor({ ...SCENE, state, cells: buildCells(PLAN, state) });
    const skipped = faults.flatMap((fault) => ('skipped' in fault ? [fault.id] : []));
    expect(skipped).toEqual(
      expect.arrayContaining(['drop-rule', 'missing-next-hop', 'unready-pod', 'stale-conntrack']),
    );
    expect(faults.length - skipped.length).toBeGreaterThan(3);
  });
});

describe("a node's route to Calico's gateway", () => {
  const plan = { ...PLAN, choices: { ...PLAN.choices, cni: { value: 'calico' as const, why: 'test' } } };
  const faultWith = (...prefixes: readonly string[]) => {
    const machines = [...STATE.machines].map(([name, machine]): [string, typeof machine] => {
      const own = prefixes.map((prefix) => ({
        prefix,
        type: 'unicast' as const,
        protocol: 'boot',
        metric: 0,
        source: '192.168.13.35',
        hops: [{ interface: 'lab7' }],
      }));
      return [name, { ...machine, routes: [...machine.routes, ...own] }];
    });
    const state = { ...STATE, machines: new Map(machines) };
    return faultsFor({ ...SCENE, plan, state, cells: buildCells(plan, state) }).find(
      ({ id }) => id === 'pod-gateway-missing',
    );
  };

  it('is taken away and put back as it was', () => {
    expect(faultWith('169.254.1.1/32')).toMatchObject({
      inject: [{ on: 'k8sworker1', argv: ['ip', 'route', 'del', '169.254.1.1/32'] }],
      revert: [
        {
          on: 'k8sworker1',
          argv: [
            ...['ip', 'route', 'replace', '169.254.1.1/32', 'dev', 'lab7', 'scope', 'link'],
            ...['src', '192.168.13.35'],
          ],
        },
      ],
    });
  });

  it('is left alone where a default route would take its place', () => {
    expect(faultWith('169.254.1.1/32', '0.0.0.0/0')).toMatchObject({
      skipped: 'the default route of the nodes does the same',
    });
  });
});
