import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { showCounters } from '../../scripts/matrix/proof-counters.ts';
import type { Action } from '../../scripts/selftest/fault.ts';
import {
  lookFor,
  type PlacedRule,
  parseIptables,
  parseNft,
  putBack,
  takeAway,
} from '../../scripts/selftest/placed-rules.ts';

/**
 * A network namespace and a /run of the test's own, so that no rule of this host is touched, nor the note and the lock of
 * another test run. `ip netns exec` gives each command a mount namespace.
 */
const NAMESPACE = `lab-rules-${process.pid}`;
const RUN = mkdtempSync(join(tmpdir(), 'run-'));
const MOUNTED = ['sh', '-c', 'mount --bind "$0" /run && exec "$@"', RUN];

function run(...argv: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(
    'ip',
    ['netns', 'exec', NAMESPACE, ...MOUNTED, ...argv],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${argv.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
const act = ({ argv }: Action) => run(...argv).trim();
const has = (program: string) => spawnSync(program, ['--version']).status === 0;
const canMake = spawnSync('ip', ['netns', 'add', `${NAMESPACE}-try`]).status === 0;
if (canMake) spawnSync('ip', ['netns', 'delete', `${NAMESPACE}-try`]);

/** Programs that this host has, with what makes a chain of four rules of which the third jumps to cali-nat-outgoing. */
const IPTABLES = (program: string) =>
  [
    '-N cali-nat-outgoing',
    '-N cali-POSTROUTING',
    '-A cali-POSTROUTING -d 10.0.0.1 -j RETURN',
    '-A cali-POSTROUTING -d 10.0.0.2 -j RETURN',
    '-A cali-POSTROUTING -m comment --comment with"two -j cali-nat-outgoing',
    '-A cali-POSTROUTING -d 10.0.0.3 -j RETURN',
  ].map((rule) => [program, '-w', '-t', 'nat', ...rule.split(' ')]);
const NFT = [
  'add table ip calico',
  'add chain ip calico cali-nat-outgoing',
  'add chain ip calico cali-POSTROUTING',
  'add rule ip calico cali-POSTROUTING ip daddr 10.0.0.1 counter return',
  'add rule ip calico cali-POSTROUTING ip daddr 10.0.0.2 counter return',
  'add rule ip calico cali-POSTROUTING counter jump cali-nat-outgoing comment "two"',
  'add rule ip calico cali-POSTROUTING ip daddr 10.0.0.3 counter return',
].map((rule) => ['nft', rule]);

const CASES = [
  { program: 'iptables-nft', make: IPTABLES('iptables-nft') },
  { program: 'iptables-legacy', make: IPTABLES('iptables-legacy') },
  { program: 'nft', make: NFT },
];

describe.each(CASES)('a rule of $program', ({ program, make }) => {
  const cannot = !canMake || !has(program);
  const rules = (): readonly PlacedRule[] =>
    (program === 'nft'
      ? parseNft(run('nft', '-j', 'list', 'ruleset'))
      : parseIptables(run(...showCounters()))
    ).filter((rule) => rule.program === program);
  const texts = () => rules().map(({ text }) => text);
  const jump = () => {
    const found = rules().find(({ target }) => target === 'cali-nat-outgoing');
    if (found === undefined) throw new Error('no such rule');
    return found;
  };

  beforeEach(() => {
    if (cannot) return;
    spawnSync('ip', ['netns', 'add', NAMESPACE]);
    for (const argv of make) run(...argv);
  });
  afterEach(() => {
    if (!cannot) spawnSync('ip', ['netns', 'delete', NAMESPACE]);
  });

  it.skipIf(cannot)('is taken away and put back in its place', () => {
    const [rule, before] = [jump(), texts()];
    expect(rule).toMatchObject({ program, chain: 'cali-POSTROUTING', position: 2 });
    expect(act(lookFor('x', rule))).toBe('there');
    act(takeAway('x', rule));
    expect([act(lookFor('x', rule)), texts()]).toEqual(['gone', before.filter((text) => text !== rule.text)]);
    act(putBack('x', rule));
    expect(texts()).toEqual(before);
    act(putBack('x', rule));
    expect(texts()).toEqual(before);
  });

  it.skipIf(cannot)(
    'is not put back where somebody else has done so, or where it was never taken away',
    () => {
      const [rule, before] = [jump(), texts()];
      act(putBack('x', rule));
      expect(texts()).toEqual(before);
      act(takeAway('x', rule));
      const [chain = [], outgoing = []] = [make.find((each) => each.join(' ').includes('jump')), make.at(4)];
      run(...(program === 'nft' ? chain : outgoing));
      const now = texts();
      expect(now).toHaveLength(before.length);
      act(putBack('x', rule));
      expect(texts()).toEqual(now);
    },
  );

  it.skipIf(cannot)('that is not there cannot be taken away, and nothing is put back for it', () => {
    const rule = jump();
    act(takeAway('x', rule));
    act({ on: 'x', argv: ['sh', '-c', 'rm /run/lab-selftest-rule'] });
    const without = texts();
    expect(() => act(takeAway('x', rule))).toThrow();
    act(putBack('x', rule));
    expect(texts()).toEqual(without);
  });
});
