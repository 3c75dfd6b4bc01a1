import { messageOf } from '../../../../scripts/shared/errors.ts';
import { addressesOf } from '../addresses.ts';
import type { GuestFacts } from '../backends/backend.ts';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { connectFromClient } from '../daemon/ready.ts';
import { Refusal } from '../failures.ts';
import { isUp, type Snapshot } from '../instance.ts';
import type { Call } from '../io.ts';
import { isModern } from '../knobs.ts';
import { type Answer, formatOf, labelled, render } from '../output/format.ts';
import { humanSize } from '../sizes.ts';
import { type Command, FORMAT } from './command.ts';

interface Detail {
  readonly seen: Seen;
  readonly facts: GuestFacts | undefined;
  readonly ipv4: readonly string[];
}

/** What is asked for of one instance: itself, and snapshots of it. */
interface Asked {
  readonly seen: Seen;
  readonly itself: boolean;
  readonly snapshots: readonly Snapshot[];
}

export const info: Command = {
  names: ['info'],
  summary: 'Display information about instances or snapshots',
  synopsis: '[<instance>[.snapshot] ...]',
  options: [FORMAT, { names: ['snapshots'] }, { names: ['all'] }, { names: ['no-runtime-information'] }],
  async run(call, given) {
    const format = formatOf(given);
    const daemon = await reachDaemon(call);
    const asked = choose(await daemon.instances(), given.names, given.has('snapshots'));
    const runtime = !given.has('no-runtime-information');
    const details = await Promise.all(
      asked.filter(({ itself }) => itself).map(({ seen }) => detailOf(call, seen, runtime)),
    );
    call.out(await render(infoAnswer(call, details, asked, given.has('snapshots')), format, call.knobs));
    return 0;
  },
};

function choose(all: readonly Seen[], names: readonly string[], snapshotsOnly: boolean): readonly Asked[] {
  const pairs = names.map((name) => {
    const dot = name.indexOf('.');
    return dot < 0
      ? { name, snapshot: undefined }
      : { name: name.slice(0, dot), snapshot: name.slice(dot + 1) };
  });
  const chosen = select(
    all,
    pairs.map(({ name }) => name),
    true,
  ) as readonly Seen[];
  return chosen.map((seen) => {
    const picks = pairs.filter(({ name }) => name === seen.name);
    const whole = picks.length === 0 || picks.some(({ snapshot }) => snapshot === undefined);
    const snapshots = picks.flatMap(({ snapshot }) => {
      if (snapshot === undefined) return [];
      const found = seen.snapshots.find(({ name }) => name === snapshot);
      if (found === undefined) {
        throw new Refusal(`The following errors occurred:\nNo such snapshot: ${seen.name}.${snapshot}`);
      }
      return [found];
    });
    if (snapshotsOnly) return { seen, itself: false, snapshots: whole ? seen.snapshots : snapshots };
    return { seen, itself: whole, snapshots };
  });
}

/** Asks a running guest over SSH; one that does not answer fails the whole call. */
async function detailOf(call: Call, seen: Seen, runtime: boolean): Promise<Detail> {
  if (!runtime || !isUp(seen.now)) return { seen, facts: undefined, ipv4: [] };
  const connection = await connectFromClient(call, seen).catch((error: unknown) => {
    throw new Refusal(messageOf(error));
  });
  try {
    const { backend } = await reachDaemon({ ...call, knobs: { ...call.knobs, daemonDelayMs: 0 } });
    const facts = await backend.facts(seen, connection);
    return { seen, facts, ipv4: await addressesOf(call, seen, connection) };
  } finally {
    connection.close();
  }
}

function infoAnswer(
  call: Call,
  details: readonly Detail[],
  asked: readonly Asked[],
  snapshotsOnly: boolean,
): Answer {
  const modern = isModern(call.knobs);
  const shown = asked.filter(({ snapshots }) => snapshots.length > 0);
  const childrenOf = ({ snapshots }: Seen, { name }: Snapshot) =>
    snapshots.filter(({ parent }) => parent === name).map((child) => child.name);
  const snapshotJson = (seen: Seen, snapshot: Snapshot) => ({
    size: '',
    cpu_count: String(snapshot.cpus),
    disk_space: humanSize(snapshot.disk),
    memory_size: humanSize(snapshot.memory),
    mounts: {},
    created: snapshot.created,
    parent: snapshot.parent,
    children: childrenOf(seen, snapshot),
    comment: snapshot.comment,
  });
  return {
    table() {
      const blocks = [
        ...[...details]
          .sort((a, b) => (a.seen.name < b.seen.name ? -1 : 1))
          .map((each) => instanceTable(each, modern)),
        ...shown.flatMap(({ seen, snapshots }) =>
          snapshots.map((each) => snapshotTable(seen, each, childrenOf(seen, each))),
        ),
      ];
      return blocks.length === 0
        ? `No ${snapshotsOnly ? 'snapshots' : 'instances'} found.\n`
        : blocks.join('\n');
    },
    json() {
      const all: Record<string, object> = {};
      for (const detail of details) all[detail.seen.name] = instanceJson(detail, modern);
      for (const { seen, snapshots } of shown) {
        const entries = snapshots.map((each) => [each.name, snapshotJson(seen, each)] as const);
        all[seen.name] = { ...all[seen.name], snapshots: Object.fromEntries(entries) };
      }
      return { errors: [], info: all };
    },
    csv: () => (details.length > 0 ? instancesCsv(details) : []),
    yaml: () => ({
      errors: [null],
      ...Object.fromEntries(details.map((each) => [each.seen.name, [instanceJson(each, modern)]])),
    }),
  };
}

function instanceJson({ seen, facts, ipv4 }: Detail, modern: boolean): object {
  return {
    ...(modern ? { zone: { name: seen.zone, available: true } } : {}),
    state: seen.now,
    image_hash: seen.image.hash,
    image_release: seen.image.release,
    release: facts?.release ?? '',
    cpu_count: facts === undefined ? '' : String(facts.cpus),
    snapshot_count: String(seen.snapshots.length),
    load: facts?.load ?? [],
    disks: {
      sda1: facts === undefined ? {} : { used: String(facts.diskUsed), total: String(facts.diskTotal) },
    },
    memory: facts === undefined ? {} : { used: facts.memoryUsed, total: facts.memoryTotal },
    ipv4,
    mounts: {},
  };
}

function instanceTable({ seen, facts, ipv4 }: Detail, modern: boolean): string {
  const [first = '--', ...more] = ipv4;
  const { hash, os, release } = seen.image;
  const usage = (used: number, total: number) => `${humanSize(used)} out of ${humanSize(total)}`;
  return [
    labelled('Name:', seen.name),
    labelled('State:', seen.now),
    ...(modern ? [labelled('Zone:', seen.zone)] : []),
    labelled('Snapshots:', String(seen.snapshots.length)),
    labelled('IPv4:', first),
    ...more.map((address) => labelled('', address)),
    labelled('Release:', facts?.release ?? '--'),
    labelled('Image hash:', `${hash.slice(0, 12)}${release === '' ? '' : ` (${os} ${release})`}`),
    labelled('CPU(s):', facts === undefined ? '--' : String(facts.cpus)),
    labelled('Load:', facts === undefined ? '--' : facts.load.join(' ')),
    labelled('Disk usage:', facts === undefined ? '--' : usage(facts.diskUsed, facts.diskTotal)),
    labelled('Memory usage:', facts === undefined ? '--' : usage(facts.memoryUsed, facts.memoryTotal)),
    labelled('Mounts:', '--'),
  ].join('');
}

function snapshotTable(seen: Seen, snapshot: Snapshot, children: readonly string[]): string {
  const [child = '--', ...more] = children;
  return [
    labelled('Snapshot:', snapshot.name),
    labelled('Instance:', seen.name),
    labelled('CPU(s):', String(snapshot.cpus)),
    labelled('Disk space:', humanSize(snapshot.disk)),
    labelled('Memory size:', humanSize(snapshot.memory)),
    labelled('Mounts:', '--'),
    labelled('Created:', snapshot.created),
    labelled('Parent:', snapshot.parent || '--'),
    labelled('Children:', child),
    ...more.map((name) => labelled('', name)),
    labelled('Comment:', snapshot.comment || '--'),
  ].join('');
}

function instancesCsv(details: readonly Detail[]): readonly (readonly string[])[] {
  const head =
    'Name,State,Ipv4,Ipv6,Release,Image hash,Image release,Load,Disk usage,Disk total,Memory usage,Memory total,' +
    'Mounts,AllIPv4,CPU(s),Snapshots';
  const rows = details.map(({ seen, facts, ipv4 }) => [
    ...[seen.name, seen.now, ipv4[0] ?? '', '', facts?.release ?? '', seen.image.hash, seen.image.release],
    ...[facts?.load.join(' '), facts?.diskUsed, facts?.diskTotal, facts?.memoryUsed, facts?.memoryTotal].map(
      (each) => String(each ?? ''),
    ),
    ...['', ipv4.join(';'), String(facts?.cpus ?? ''), String(seen.snapshots.length)],
  ]);
  return [head.split(','), ...rows];
}
