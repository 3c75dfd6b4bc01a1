import { z } from 'zod';
import { type Answer, ask, read } from '../bgp/checks/ask.ts';
import type { Executor } from '../exec/executor.ts';
import { showCounters } from '../matrix/proof-counters.ts';
import { NFT } from '../matrix/state/nft.ts';
import { HarnessError } from '../shared/errors.ts';
import { MARK } from './fault.ts';
import { type PlacedRule, parseIptables, parseNft } from './placed-rules.ts';

/** What a machine holds beyond what expectations follow from, and a fault could leave behind. */
export interface MachinePicture {
  readonly rules: readonly PlacedRule[];
  /** Lines by what they are: "routes", "FRR's configuration", ... */
  readonly lines: ReadonlyMap<string, readonly string[]>;
}

/** By machine name. */
export type Picture = ReadonlyMap<string, MachinePicture>;

const QUESTIONS = {
  iptables: showCounters(),
  nft: ['sh', '-c', `${NFT}if $nft --version >/dev/null 2>&1; then $nft -j list ruleset; fi`],
  routes: ['ip', '-j', '-4', 'route', 'show', 'table', 'all'],
  frr: ['sh', '-c', `if systemctl --quiet is-active frr; then vtysh -c 'show running-config'; fi`],
  left: [
    'sh',
    '-c',
    `systemctl list-units --all --no-legend --plain '${MARK}*'; ls -d /usr/bin/${MARK}* /run/${MARK}* 2>/dev/null; true`,
  ],
} as const;

/** Takes the picture of every machine. Throws HarnessError where one does not say what it holds. */
export async function takePicture(
  machines: ReadonlyMap<string, Executor>,
  signal?: AbortSignal,
): Promise<Picture> {
  const pictures = await Promise.all(
    [...machines].map(async ([name, machine]): Promise<[string, MachinePicture]> => {
      const { iptables, nft, routes, frr, left } = await ask(machine, QUESTIONS, { signal });
      const value = <T>(answer: Answer<T>): T => {
        if (answer.ok) return answer.value;
        throw new HarnessError(`${name} does not say what it holds: ${answer.detail}`, {
          next: 'npx lab status',
        });
      };
      const lines = (answer: Answer<string>) =>
        value(answer)
          .split('\n')
          .filter((line) => line.trim() !== '' && !line.startsWith('Building configuration'));
      return [
        name,
        {
          rules: [...value(read(iptables, parseIptables)), ...value(read(nft, parseNft))],
          lines: new Map([
            ['route', value(read(routes, routeLines))],
            ['line of its FRR configuration', lines(frr)],
            ['thing of a selftest', lines(left)],
          ]),
        },
      ];
    }),
  );
  return new Map(pictures);
}

const allRoutes = z.array(z.record(z.string(), z.unknown()));
/** What the kernel numbers anew, and what it says of a link at the moment. */
const PASSING = ['nhid', 'flags'];

/** One line per route of every table, the same for the same route. Throws on what `ip -j route` does not print. */
export function routeLines(text: string): readonly string[] {
  const lasting = (value: unknown) =>
    JSON.stringify(value, (key, each: unknown) => (PASSING.includes(key) ? undefined : each));
  return allRoutes
    .parse(JSON.parse(text.trim() === '' ? '[]' : text))
    .map(({ nexthops, ...route }) =>
      Array.isArray(nexthops)
        ? `${lasting(route)} ${nexthops.map(lasting).sort().join(' ')}`
        : lasting(route),
    );
}

/** What is in one picture and not in the other, one line each, sorted. Pure. */
export function differences(before: Picture, after: Picture): readonly string[] {
  return [...before]
    .flatMap(([name, old]) => {
      const now = after.get(name);
      if (now === undefined) return [`${name} is gone`];
      const chains = [...new Set([...old.rules, ...now.rules].map(chainOf))];
      return [
        ...chains.flatMap((chain) => {
          const of = ({ rules }: MachinePicture) =>
            rules.filter((rule) => chainOf(rule) === chain).map(({ text }) => text);
          const found = changes(`${name} rule in ${chain}`, of(old), of(now));
          const moved =
            found.length === 0 && !isUnordered(chain) && of(old).join('\n') !== of(now).join('\n');
          return moved ? [`${name} ${chain}: its rules are in another order`] : found;
        }),
        ...[...old.lines].flatMap(([what, lines]) =>
          changes(`${name} ${what}`, lines, now.lines.get(what) ?? []),
        ),
      ];
    })
    .sort();
}

function chainOf({ program, table, chain }: PlacedRule): string {
  return `${program} ${table} ${chain}`;
}

/** kube-proxy writes its own chains anew at every change, in whatever order its services come. */
function isUnordered(chain: string): boolean {
  return / KUBE-\S+$/.test(chain) || chain.startsWith('nft kube-proxy ');
}

function changes(what: string, old: readonly string[], now: readonly string[]): readonly string[] {
  return [
    ...without(old, now).map((line) => `${what}, gone: ${line.trim()}`),
    ...without(now, old).map((line) => `${what}, new: ${line.trim()}`),
  ];
}

/** What the first list holds more often than the second. */
function without(lines: readonly string[], others: readonly string[]): readonly string[] {
  const left = [...others];
  return lines.filter((line) => {
    const index = left.indexOf(line);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  });
}
