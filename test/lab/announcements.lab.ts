/**
 * What Calico's BIRD announces and what that of the `bird` CNI does, node by node: the same BIRD 1.6.8 with the one
 * configuration and then with the other, in network namespaces on one bridge. Needs root and Debian's package bird.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nodesOf, routerPeers } from '../../scripts/bgp/checks/expected.ts';
import { theMachine } from '../../scripts/plan/types.ts';
import { renderBirdConf } from '../../scripts/render/bird.ts';
import { calicoPlan, labPlan, labSecrets } from '../render/fixture.ts';
import { type ClusterFacts, calicoBirdConf } from './announcements/calico-bird.ts';
import { Speaker, Wire } from './announcements/wire.ts';
import { until } from './support.ts';

const canRun = process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/sbin/bird');
if (!canRun) console.warn("SKIPPED: announcements need root on Linux and Debian's package bird");

const EXTERNAL = '2.2.2.2/32';
const CLUSTER_IP = '10.96.5.5/32';
const WITH_POD = ['k8sworker1', 'k8sworker2'];

describe.skipIf(!canRun)('announcements, node by node', () => {
  const plan = labPlan();
  const secrets = labSecrets(plan);
  const folder = mkdtempSync(join(tmpdir(), 'lab-announcements-'));
  const router = theMachine(plan, 'router');
  const speakerOf = ({ name, address }: { name: string; address: string }) =>
    new Speaker(name, address, folder);
  const nodes = nodesOf(plan).map((node) => ({ node, speaker: speakerOf(node) }));
  const outside = speakerOf(router);
  const all = [...nodes.map(({ speaker }) => speaker), outside];
  const wire = new Wire(all);

  beforeAll(() => {
    wire.make(plan.network.prefixLength);
    for (const { node, speaker } of nodes) {
      // As on a node: the service CIDR on the link, and a pod with a route of its own in the node's block.
      speaker.run('ip', 'route', 'add', plan.kubernetes.serviceCidr, 'dev', 'eth0');
      for (const nic of ['cali1', 'veth1']) {
        speaker.run('ip', 'link', 'add', nic, 'type', 'veth', 'peer', 'name', `${nic}p`);
        speaker.run('ip', 'link', 'set', nic, 'up');
        speaker.run('ip', 'link', 'set', `${nic}p`, 'up');
      }
      // Felix gives it a metric; BIRD takes a smaller one for that of a virtual machine on the move.
      speaker.run('ip', 'route', 'add', podOf(node.podBlock ?? ''), 'dev', 'cali1', 'metric', '1024');
    }
  });
  afterEach(async () => {
    for (const speaker of all) await speaker.stop();
  });
  afterAll(() => {
    wire.remove();
    rmSync(folder, { recursive: true });
  });

  const facts: ClusterFacts = {
    blocks: Object.fromEntries(nodes.map(({ node }) => [node.name, node.podBlock ?? ''])),
    services: { [EXTERNAL]: WITH_POD, [CLUSTER_IP]: WITH_POD },
  };

  /** "from > to": what `to` has learned from `from`, as "prefix via next hop". */
  const heard = async (configurationOf: (name: string) => string) => {
    for (const { node, speaker } of nodes) speaker.start(configurationOf(node.name));
    outside.start(routerConf());
    await until('all sessions to be established', 90_000, async () =>
      all.every((speaker) => sessionsOf(speaker).every((state) => state === 'Established')),
    );
    let last = '';
    let table: Record<string, readonly string[]> = {};
    let same = 0;
    await until('the tables to be quiet', 60_000, async () => {
      table = announced();
      const text = JSON.stringify(table);
      same = text === last ? same + 1 : 0;
      last = text;
      return same >= 30;
    });
    return table;
  };
  const announced = () => {
    const ends = [
      ...nodes.map(({ node, speaker }) => ({ ...node, speaker })),
      { ...router, speaker: outside },
    ];
    return Object.fromEntries(
      plan.bgp.peerings.flatMap(({ a, b }) =>
        [
          [a, b],
          [b, a],
        ].map(([from, to]): [string, readonly string[]] => {
          const listener = ends.find(({ name }) => name === to?.machine)?.speaker;
          const kind = listener === outside ? 'from' : from?.machine === router.name ? 'Node' : 'Mesh';
          const protocol = `${kind}_${from?.address.replaceAll('.', '_')}`;
          const text = listener?.ask('show', 'route', 'protocol', protocol) ?? '';
          return [`${from?.machine} > ${to?.machine}`, learned(text)];
        }),
      ),
    );
  };
  const routerConf = () => `
router id ${router.address};
protocol device { scan time 2; }
protocol direct { interface "eth0"; }
protocol static { route ${plan.bgp.routerPrefixes[0]} blackhole; route 9.9.9.0/24 blackhole; }
${routerPeers(plan)
  .map(
    ({ address }) => `protocol bgp from_${address.replaceAll('.', '_')} {
  local as ${plan.bgp.routerAsn}; neighbor ${address} as ${plan.bgp.clusterAsn}; source address ${router.address};
  password "${secrets.bgpPassword}"; add paths rx; connect delay time 1; connect retry time 2; error wait time 1, 5;
  import all; export where source = RTS_STATIC;
}`,
  )
  .join('\n')}`;

  const birdConf = (name: string) =>
    renderBirdConf(plan, nodeOf(name), secrets).replace(
      'include "/etc/bird/services.conf";',
      // As bird/announcer.py writes it.
      [plan.kubernetes.serviceCidr, ...(WITH_POD.includes(name) ? [EXTERNAL] : [])]
        .map((prefix) => `route ${prefix} blackhole;`)
        .join(' '),
    );
  const calicoConf = (name: string) => calicoBirdConf(calicoPlan(plan), nodeOf(name), facts, secrets);
  const nodeOf = (name: string) => {
    const found = nodes.find(({ node }) => node.name === name)?.node;
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  };

  /** What must be announced, from the research into Calico's templates: the table that both are measured against. */
  const wanted = (withClusterIp: boolean) =>
    Object.fromEntries(
      plan.bgp.peerings.flatMap(({ a, b }) =>
        [
          [a, b],
          [b, a],
        ].map(([from, to]): [string, readonly string[]] => {
          const key = `${from?.machine} > ${to?.machine}`;
          // The router says more than the plan wants, and the workers' import filters take only the plan's prefixes.
          if (from?.machine === router.name) return [key, [`5.5.5.5/32 via ${router.address}`]];
          const node = nodeOf(from?.machine ?? '');
          const prefixes = [
            node.podBlock ?? '',
            plan.kubernetes.serviceCidr,
            ...(WITH_POD.includes(node.name) ? [EXTERNAL, ...(withClusterIp ? [CLUSTER_IP] : [])] : []),
          ];
          return [key, prefixes.map((prefix) => `${prefix} via ${node.address}`).sort()];
        }),
      ),
    );

  it('of Calico: own block, service CIDR, service addresses where there is a pod, nothing learned, no pod', async () => {
    expect(await heard(calicoConf)).toEqual(wanted(true));
  });

  it('of the bird CNI: the same without single ClusterIPs', async () => {
    expect(await heard(birdConf)).toEqual(wanted(false));
  });
});

/** The first address of a block that a pod could have. */
function podOf(block: string): string {
  return `${block.replace(/\d+\/\d+$/, (end) => String(Number.parseInt(end, 10) + 5))}/32`;
}

function sessionsOf(speaker: Speaker): readonly string[] {
  try {
    const states = [...speaker.ask('show', 'protocols', 'all').matchAll(/BGP state:\s+(\S+)/g)];
    return states.length === 0 ? ['none'] : states.map(([, state = '']) => state);
  } catch {
    return ['not running'];
  }
}

/** All paths of a protocol, best or not: "prefix via gateway". */
function learned(text: string): readonly string[] {
  let prefix = '';
  const found = new Set<string>();
  for (const line of text.split('\n')) {
    const [, named, gateway] = /^(\S*)\s+via (\S+) on/.exec(line) ?? [];
    if (gateway === undefined) continue;
    if (named !== '' && named !== undefined) prefix = named.includes('/') ? named : `${named}/32`;
    found.add(`${prefix} via ${gateway}`);
  }
  return [...found].sort();
}
