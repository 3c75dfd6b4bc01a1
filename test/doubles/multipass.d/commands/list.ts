import { addressesIfAny } from '../addresses.ts';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { usage } from '../failures.ts';
import { isUp } from '../instance.ts';
import type { Call } from '../io.ts';
import { isModern } from '../knobs.ts';
import { type Answer, columns, formatOf, render } from '../output/format.ts';
import { type Command, FORMAT } from './command.ts';

interface Row {
  readonly seen: Seen;
  readonly ipv4: readonly string[];
}

const byName = (a: { readonly seen: Seen }, b: { readonly seen: Seen }) =>
  a.seen.name < b.seen.name ? -1 : 1;
const releaseOf = ({ image }: Seen) =>
  image.release === '' ? 'Not Available' : `${image.os} ${image.release}`;

export const list: Command = {
  names: ['list', 'ls'],
  summary: 'List all available instances or snapshots',
  synopsis: '',
  options: [FORMAT, { names: ['snapshots'] }, { names: ['no-ipv4'] }],
  async run(call, given) {
    if (given.names.length > 0) throw usage('This command takes no arguments');
    const format = formatOf(given);
    if (given.has('snapshots') && given.has('no-ipv4')) {
      throw usage('IP addresses are not applicable in conjunction with listing snapshots');
    }
    const daemon = await reachDaemon(call);
    const all = (await daemon.instances()).filter(({ preparing }) => !preparing);
    if (given.has('snapshots')) {
      call.out(await render(snapshotsAnswer(all), format, call.knobs));
      return 0;
    }
    const wanted = !given.has('no-ipv4');
    const rows = await Promise.all(
      all.map(async (seen): Promise<Row> => {
        return { seen, ipv4: wanted && isUp(seen.now) ? await addressesIfAny(call, seen) : [] };
      }),
    );
    call.out(await render(instancesAnswer(call, rows), format, call.knobs));
    return 0;
  },
};

function instancesAnswer({ knobs }: Call, rows: readonly Row[]): Answer {
  const modern = isModern(knobs);
  const zone = ({ zone }: Seen) => (modern ? { zone: { name: zone, available: true } } : {});
  return {
    table() {
      if (rows.length === 0) return 'No instances found.\n';
      const head = ['Name', 'State', 'IPv4', 'Image', ...(modern ? ['Zone'] : [])];
      const lines = [...rows].sort(byName).flatMap(({ seen, ipv4 }) => {
        const [first = '--', ...more] = ipv4;
        const last = modern ? [seen.zone] : [];
        return [
          [seen.name, seen.now, first, releaseOf(seen), ...last],
          ...more.map((address) => ['', '', address, '', ...last.map(() => '')]),
        ];
      });
      return columns([head, ...lines], [24, 18, 17, 20]);
    },
    json: () => ({
      list: rows.map(({ seen, ipv4 }) => ({
        name: seen.name,
        state: seen.now,
        ipv4,
        release: releaseOf(seen),
        ...zone(seen),
      })),
    }),
    csv: () => [
      ['Name', 'State', 'IPv4', 'IPv6', 'Release', 'AllIPv4'],
      ...[...rows]
        .sort(byName)
        .map(({ seen, ipv4 }) => [
          seen.name,
          seen.now,
          ipv4[0] ?? '',
          '',
          releaseOf(seen),
          `"${ipv4.join(',')}"`,
        ]),
    ],
    yaml: () =>
      Object.fromEntries(
        [...rows]
          .sort(byName)
          .map(({ seen, ipv4 }) => [
            seen.name,
            [{ state: seen.now, ipv4, release: releaseOf(seen), ...zone(seen) }],
          ]),
      ),
  };
}

function snapshotsAnswer(all: readonly Seen[]): Answer {
  const rows = [...all]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((instance) => instance.snapshots.map((snapshot) => ({ instance: instance.name, ...snapshot })));
  const tree = (value: (row: (typeof rows)[number]) => unknown) => {
    const info: Record<string, Record<string, unknown>> = {};
    for (const row of rows) info[row.instance] = { ...info[row.instance], [row.name]: value(row) };
    return info;
  };
  return {
    table() {
      if (rows.length === 0) return 'No snapshots found.\n';
      const shown = (text: string) => (text === '' ? '--' : text);
      const lines = rows.map((row) => [row.instance, row.name, shown(row.parent), shown(row.comment)]);
      return columns([['Instance', 'Snapshot', 'Parent', 'Comment'], ...lines]);
    },
    json: () => ({ errors: [], info: tree(({ parent, comment }) => ({ parent, comment })) }),
    csv: () => [
      ['Instance', 'Snapshot', 'Parent', 'Comment'],
      ...rows.map((row) => [row.instance, row.name, row.parent, `"${row.comment}"`]),
    ],
    yaml: () => tree(({ parent, comment }) => [{ parent: parent || null, comment: comment || null }]),
  };
}
