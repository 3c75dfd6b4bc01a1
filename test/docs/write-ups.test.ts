/** docs/write-ups.md is made from docs/write-ups.yaml, and names only what exists. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { checkBgp } from '../../scripts/bgp/checks/judge.ts';
import { upSteps } from '../../scripts/commands/up/steps.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { dnsChecks } from '../../scripts/matrix/dns.ts';
import { checkHashPolicies } from '../../scripts/matrix/ecmp.ts';
import { tested } from '../../scripts/matrix/endpoints.ts';
import { announcements, meantPlan } from '../../scripts/matrix/network.ts';
import { checkPodNetwork } from '../../scripts/matrix/pod-network.ts';
import { checkRules } from '../../scripts/matrix/rule-checks.ts';
import { checkState } from '../../scripts/matrix/state/checks.ts';
import { checkWorkloads } from '../../scripts/matrix/workloads.ts';
import { SCENARIOS } from '../../scripts/scenarios/catalogue.ts';
import { globMatches } from '../../scripts/shared/glob.ts';
import { endpointsOf, planOf } from '../matrix/fixtures.ts';
import { isAsserted, parseCell, type Row, writeUps, writeUpsPage } from './write-ups.ts';

const all = writeUps.parse(parse(readFileSync('docs/write-ups.yaml', 'utf8')));
const rows = all.flatMap((each) => each.rows);
const plan = planOf();
const state = endpointsOf();

/** What rows say under a key and `wrong` has something against. */
function problems(
  key: 'step' | 'cell' | 'check' | 'labup' | 'test',
  wrong: (name: string) => boolean,
): readonly string[] {
  const named = (row: Row) => row[key].filter(wrong).map((name) => `${row.at}, ${row.what}: ${name}`);
  return rows.flatMap(named);
}

it('has each thing that the write-ups show once, and the page counts those that are asserted', async () => {
  expect(all.map((each) => each.rows.length)).toEqual([31, 15, 24, 106, 84]);
  await expect(writeUpsPage(all)).toMatchFileSnapshot('../../docs/write-ups.md');
});

it('says of each row what shows it, or why nothing does, and not both', () => {
  const sides = (row: Row) => [isAsserted(row), row.out !== undefined].filter(Boolean).length;
  expect(rows.filter((row) => sides(row) > 1 || (sides(row) === 0 && row.see.length === 0))).toEqual([]);
});

it('names steps that scenarios have', () => {
  const steps = SCENARIOS.flatMap(({ name, steps }) => steps.map(({ id }) => `${name}/${id}`));
  expect(problems('step', (name) => !steps.includes(name))).toEqual([]);
});

it('names cells that the default lab has, with the outcomes that they must have', () => {
  const cells = {
    full: buildCells(plan, state, { icmp: true }),
    simple: buildCells(plan, endpointsOf({ variant: 'simple' }), { icmp: true }),
  };
  const wrong = (name: string) => {
    const { variant, pattern, outcome } = parseCell(name);
    const meant = cells[variant].filter(({ id }) => globMatches(pattern, id));
    return meant.length === 0 || meant.some(({ expected }) => expected.outcome !== outcome);
  };
  expect(problems('cell', wrong)).toEqual([]);
});

it('names checks that the default lab has', () => {
  const unknown = { ok: false, fault: 'harness', detail: '' } as const;
  const notRead = new Map(state.nodes.map(({ name }) => [name, unknown]));
  const checks = [
    ...checkState(state),
    ...checkWorkloads(plan, state),
    ...checkBgp(meantPlan(plan, state), announcements(plan, state), new Map()),
    ...checkPodNetwork(plan, state),
    ...checkRules(tested(plan, state), notRead),
    ...checkHashPolicies(plan, state),
    ...dnsChecks(plan, state).map(({ question }) => question),
  ];
  expect(problems('check', (name) => !checks.some(({ id }) => globMatches(name, id)))).toEqual([]);
});

it('names steps of labup and tests that exist', () => {
  const text = { title: '', why: '' };
  const driver = { machines: 'prebuilt', steps: { host: text, machines: text } } as const;
  const steps = upSteps(driver, plan).titles.map(({ id }) => id);
  expect(problems('labup', (name) => !steps.includes(name))).toEqual([]);
  expect(problems('test', (path) => !existsSync(path))).toEqual([]);
});
