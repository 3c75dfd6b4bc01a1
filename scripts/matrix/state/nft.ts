import { z } from 'zod';
import type { LeaveOut } from '../../bgp/checks/ask.ts';
import { withLength } from '../../bgp/checks/tables.ts';
import type { BackendShare, MachineState, NatOutgoing, NftServices, ServiceLoop } from './types.ts';

/** What runs nft: the machine's own, or else that of calico-node, in its mount namespace. */
export const NFT = `
nft=nft
command -v nft >/dev/null || nft="nsenter --target $(pgrep --oldest --exact calico-node) --mount nft"
`;

/** The tables of kube-proxy in nftables mode and of Calico's felix. */
const TABLES = ['kube-proxy', 'calico'] as const;

const LIST_TABLES = `${NFT}
if $nft --version >/dev/null 2>&1; then
  tables=$($nft list tables ip) || exit
  for table in ${TABLES.join(' ')}; do
    case "$tables
" in *"table ip $table
"*) $nft -j list table ip "$table" || exit ;; esac
  done
fi
`;

/** Asks a node for those of the tables that it has, a line of JSON for each. A node without nft has no such table. */
export function listNft(): readonly string[] {
  return ['sh', '-c', LIST_TABLES];
}

const target = z.object({ target: z.string() });
const concat = z.object({ concat: z.array(z.union([z.string(), z.number()])) });
const prefix = z.object({ prefix: z.object({ addr: z.string(), len: z.number() }) });
/** A number by chance, from `offset` on. */
const choice = z.object({
  numgen: z.object({ mode: z.literal('random'), mod: z.number(), offset: z.number() }),
});
const field = z.looseObject({ payload: z.looseObject({ field: z.string().optional() }).optional() });
/** A statement of a rule, as far as it is read here. */
const statement = z.looseObject({
  match: z.looseObject({ op: z.string(), left: z.unknown(), right: z.unknown() }).optional(),
  jump: target.optional(),
  goto: target.optional(),
  vmap: z
    .looseObject({
      key: z.unknown(),
      data: z.union([
        z.string(),
        z.object({ set: z.array(z.tuple([z.unknown(), z.looseObject({ goto: target.optional() })])) }),
      ]),
    })
    .optional(),
  dnat: z
    .looseObject({
      addr: z.union([
        z.string(),
        z.looseObject({
          map: z.looseObject({
            key: z.unknown(),
            data: z.object({ set: z.array(z.tuple([z.unknown(), concat])) }),
          }),
        }),
      ]),
      port: z.number().optional(),
    })
    .optional(),
});
const rule = z.looseObject({
  table: z.string(),
  chain: z.string(),
  comment: z.string().default(''),
  expr: z.array(statement),
});
const set = z.looseObject({ table: z.string(), name: z.string(), elem: z.array(z.unknown()).default([]) });
const table = z.looseObject({ name: z.string(), handle: z.number() });
const ruleset = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

type Rule = z.output<typeof rule>;
type Statement = z.output<typeof statement>;

/** What `nft -j list table` says of one table. */
interface Table {
  /** Counted up by the kernel: of two tables the one that was made last has the larger one. */
  readonly handle: number;
  readonly rules: readonly Rule[];
  /** Elements of its sets and maps by name. */
  readonly sets: ReadonlyMap<string, readonly unknown[]>;
}

/** What a node's own tables in nftables say. */
export type NftState = Pick<
  MachineState,
  'nftServices' | 'externalOwners' | 'natOutgoing' | 'serviceLoop' | 'podsToHost'
>;

/** Reads what listNft() prints. Throws where a line is no ruleset. */
export function parseNftTables(text: string, leaveOut: LeaveOut = () => {}): NftState {
  const tables = new Map(
    text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .flatMap((line) => tableOf(line, leaveOut)),
  );
  const [kubeProxy, calico] = TABLES.map((name) => tables.get(name));
  return {
    ...(kubeProxy === undefined
      ? {}
      : { nftServices: servicesOf(kubeProxy), externalOwners: ownersOf(kubeProxy) }),
    ...(calico === undefined ? {} : ofCalico(calico, kubeProxy)),
  };
}

function tableOf(line: string, leaveOut: LeaveOut): (readonly [string, Table])[] {
  const items = ruleset.parse(JSON.parse(line)).nftables;
  const all = <T extends z.ZodType>(kind: string, schema: T) =>
    items.flatMap((item): z.output<T>[] => {
      if (item[kind] === undefined) return [];
      const read = schema.safeParse(item[kind]);
      if (!read.success) leaveOut(JSON.stringify(item));
      return read.success ? [read.data] : [];
    });
  const rules = all('rule', rule);
  const sets = new Map([...all('set', set), ...all('map', set)].map(({ name, elem }) => [name, elem]));
  return all('table', table).map(({ name, handle }) => [name, { handle, rules, sets }] as const);
}

function servicesOf({ rules }: Table): NftServices {
  const statements = new Map<string, Statement[]>();
  for (const { chain, expr } of rules) statements.set(chain, [...(statements.get(chain) ?? []), ...expr]);
  const backendsOf = (chain: string): readonly BackendShare[] =>
    (statements.get(chain) ?? []).flatMap(({ dnat, vmap }): readonly BackendShare[] => {
      if (dnat !== undefined) {
        if (typeof dnat.addr === 'string') return [{ backend: `${dnat.addr}:${dnat.port}`, share: 1 }];
        const { key, data } = dnat.addr.map;
        return data.set.map(([value, to], _, { length }) => ({
          backend: to.concat.join(':'),
          share: shareOf(key, value, length),
        }));
      }
      // With sessionAffinity each endpoint has a chain; before, clients that are remembered are led to theirs.
      if (vmap === undefined || typeof vmap.data === 'string') return [];
      const { key, data } = vmap;
      return data.set.flatMap(([value, { goto }], _, { length }) =>
        (goto === undefined ? [] : backendsOf(goto.target)).map(({ backend, share }) => ({
          backend,
          share: share * shareOf(key, value, length),
        })),
      );
    });
  const names = [...statements.keys()].filter((name) => /^(service|local)-/.test(name));
  return {
    backends: new Map(names.map((name) => [name, backendsOf(name)])),
    serviceCidrs: rules
      .filter(({ chain, expr }) => chain === 'cluster-ips-check' && expr.some((each) => 'drop' in each))
      .flatMap((each) => addressesOf(each, 'daddr', '==')),
  };
}

/** What part of what comes to a map one of its elements gets: a number that is never drawn none, and each drawn one the same. */
function shareOf(key: unknown, value: unknown, elements: number): number {
  const { data } = choice.safeParse(key);
  if (data === undefined) return 1 / elements;
  const { mod, offset } = data.numgen;
  return typeof value === 'number' && value >= offset && value < offset + mod ? 1 / mod : 0;
}

/** An element of the map service-ips that leads to the rules for what comes from outside. */
const external = z.tuple([
  z.object({ concat: z.tuple([z.string(), z.string(), z.number()]) }),
  z.looseObject({ goto: z.object({ target: z.string().startsWith('external-') }) }),
]);

function ownersOf({ sets }: Table): ReadonlyMap<string, readonly string[]> {
  return new Map(
    (sets.get('service-ips') ?? []).flatMap((element) => {
      const { data } = external.safeParse(element);
      if (data === undefined) return [];
      const [{ concat: key }, { goto }] = data;
      const [address, protocol, port] = key;
      return [[`${address}:${port}/${protocol}`, [goto.target]] as const];
    }),
  );
}

/** The prefixes that a rule compares an address with; members of a set, where it names one. */
function addressesOf(
  { expr }: Rule,
  name: 'saddr' | 'daddr',
  op: '==' | '!=',
  sets: Table['sets'] = new Map(),
): readonly string[] {
  const prefixes = (value: unknown): readonly string[] => {
    if (typeof value === 'string')
      return value.startsWith('@') ? (sets.get(value.slice(1)) ?? []).flatMap(prefixes) : [withLength(value)];
    const { data } = prefix.safeParse(value);
    return data === undefined ? [] : [`${data.prefix.addr}/${data.prefix.len}`];
  };
  return expr.flatMap(({ match }) =>
    match?.op === op && field.safeParse(match.left).data?.payload?.field === name
      ? prefixes(match.right)
      : [],
  );
}

/** The chains of felix' iptables rules, with the table's name in front. */
const NAT_OUTGOING = 'nat-cali-nat-outgoing';
const CIDR_BLOCK = ['filter-cali-FORWARD', 'filter-cali-cidr-block'] as const;
const TO_HOST = 'filter-cali-wl-to-host';

/** The same as nat.ts and calico-filter.ts find in iptables. Only where something jumps there. */
function ofCalico({ rules, sets, handle }: Table, kubeProxy: Table | undefined): NftState {
  const isUsed = (chain: string) =>
    rules.some(({ expr }) => expr.some(({ jump, goto }) => (jump ?? goto)?.target === chain));
  const find = (chain: string, verdict: string) =>
    isUsed(chain)
      ? rules.filter((each) => each.chain === chain && each.expr.some((one) => verdict in one))
      : [];
  const [masquerade] = find(NAT_OUTGOING, 'masquerade');
  const natOutgoing: NatOutgoing | undefined = masquerade && {
    chain: NAT_OUTGOING,
    sources: addressesOf(masquerade, 'saddr', '==', sets),
    except: addressesOf(masquerade, 'daddr', '!=', sets),
  };
  const drops = find(CIDR_BLOCK[1], 'drop');
  const blocks = drops.length > 0 ? drops : find(CIDR_BLOCK[1], 'reject');
  const serviceLoop: ServiceLoop | undefined =
    blocks.length === 0
      ? undefined
      : {
          action: drops.length > 0 ? 'drop' : 'reject',
          prefixes: blocks.flatMap((each) => addressesOf(each, 'daddr', '==', sets)),
          // Of two chains with the same hook and priority the kernel asks the one that was made last first.
          isFirst: kubeProxy === undefined || handle > kubeProxy.handle,
          chains: CIDR_BLOCK,
        };
  const toHost = (['accept', 'drop', 'reject'] as const).find((verdict) =>
    find(TO_HOST, verdict).some(({ comment }) => comment.includes('DefaultEndpointToHostAction')),
  );
  return {
    ...(natOutgoing === undefined ? {} : { natOutgoing }),
    ...(serviceLoop === undefined ? {} : { serviceLoop }),
    ...(toHost === undefined ? {} : { podsToHost: toHost === 'accept' ? 'accept' : 'drop' }),
  };
}
