import { describe, expect, it } from 'vitest';
import {
  parseAsPaths as birdPaths,
  parseProtocols,
  parseRefused,
  parseRoutes,
} from '../../scripts/bgp/checks/bird.ts';
import { parseAsPaths, parseBgpRoutes, parseNeighbors, parseRib } from '../../scripts/bgp/checks/frr.ts';
import { parseKernelRoutes } from '../../scripts/bgp/checks/tables.ts';
import { transcript } from './fixtures.ts';

const WORKERS = ['192.168.13.35', '192.168.13.36', '192.168.13.37'];
const ROUTER_TABLE = {
  '2.2.2.2/32': WORKERS,
  '10.96.0.0/12': WORKERS,
  '10.255.0.64/26': ['192.168.13.35'],
  '10.255.0.128/26': ['192.168.13.36'],
  '10.255.0.192/26': ['192.168.13.37'],
};

describe('FRR', () => {
  const neighbors = (state = '') =>
    parseNeighbors(
      transcript('frr/bgp-neighbors.json', state),
      WORKERS,
      parseAsPaths(transcript('frr/bgp-ipv4-unicast.json')),
    );

  it('sessions, what their ends agreed on, and what goes over them', () => {
    expect(neighbors()).toEqual(
      WORKERS.map((neighbor) => ({
        neighbor,
        remoteAsn: 65001,
        state: 'Established',
        filter: 'K8S-IN',
        agreed: {
          holdSeconds: 9,
          capabilities: ['AS4', 'add-path', 'refresh', 'restart'],
          password: true,
          restartSeconds: 10,
        },
        asPaths: ['65001'],
        drops: 0,
        offered: ['5.5.5.5/32'],
        refused: [],
      })),
    );
    expect(neighbors('-w2-session-down')[1]).toEqual({
      neighbor: '192.168.13.36',
      remoteAsn: 65001,
      state: 'Connect',
      filter: 'K8S-IN',
      asPaths: ['65001'],
      drops: 1,
      offered: [],
      refused: [],
    });
  });

  it('a default route that is sent to the neighbors', () => {
    expect(neighbors('-leak')[0]?.offered).toEqual(['0.0.0.0/0', '5.5.5.5/32']);
  });

  it('a session without password, and with less than FRR can do', () => {
    const text = transcript('frr/bgp-neighbors.json')
      .replaceAll('"authenticationEnabled":1,', '')
      .replaceAll('"routeRefresh":"advertisedAndReceivedNew"', '"routeRefresh":"advertised"');
    expect(parseNeighbors(text, [])[0]?.agreed).toMatchObject({
      password: false,
      capabilities: ['AS4', 'add-path', 'restart'],
    });
  });

  it('no neighbor at all', () => {
    expect(parseNeighbors('{}', [])).toEqual([]);
    expect(parseNeighbors('{\n}\n', WORKERS)).toEqual([]);
  });

  it('BGP table: best path and its multipath siblings, add-path copies merged', () => {
    const table = parseBgpRoutes(transcript('frr/bgp-ipv4-unicast.json'));
    expect(Object.fromEntries(table)).toEqual({ ...ROUTER_TABLE, '5.5.5.5/32': ['self'] });
  });

  it('RIB and FIB', () => {
    const { selected, installed } = parseRib(transcript('frr/ip-route.json'));
    for (const [prefix, hops] of Object.entries(ROUTER_TABLE)) {
      expect(selected.get(prefix)).toEqual(hops);
      expect(installed.get(prefix)).toEqual(hops);
    }
    expect(installed.get('192.168.13.0/24')).toEqual(['dev eth0']);
    expect(installed.get('5.5.5.5/32')).toEqual(['blackhole']);
  });

  it('a next hop that did not get into the kernel is in the RIB only', () => {
    const text = transcript('frr/ip-route.json').replace(
      '"fib":true,\n          "ip":"192.168.13.36"',
      '"ip":"192.168.13.36"',
    );
    const { selected, installed } = parseRib(text);
    expect(selected.get('2.2.2.2/32')).toEqual(WORKERS);
    expect(installed.get('2.2.2.2/32')).toEqual(['192.168.13.35', '192.168.13.37']);
  });

  it.each([(text: string) => parseNeighbors(text, []), parseBgpRoutes, parseRib])(
    'refuses what is no answer',
    (parse) => {
      expect(() => parse('% Unknown command')).toThrow();
      expect(() => parse('[]')).toThrow();
    },
  );
});

describe('kernel', () => {
  it('gateways, several of them, blackholes and on-link routes', () => {
    expect(Object.fromEntries(parseKernelRoutes(transcript('kernel/k8sworker1.json')))).toEqual({
      '2.2.2.2/32': ['blackhole'],
      '5.5.5.5/32': ['192.168.13.39'],
      '10.96.0.0/12': ['dev eth0'],
      '10.255.0.0/26': ['192.168.13.30'],
      '10.255.0.64/26': ['blackhole'],
      '10.255.0.128/26': ['192.168.13.36'],
      '10.255.0.192/26': ['192.168.13.37'],
      '192.168.13.0/24': ['dev eth0'],
    });
    expect(parseKernelRoutes(transcript('kernel/k8smaster1.json')).get('2.2.2.2/32')).toEqual(WORKERS);
    expect(Object.fromEntries(parseKernelRoutes(transcript('kernel/bgp.json')))).toMatchObject(ROUTER_TABLE);
  });

  it('an empty table', () => {
    expect(parseKernelRoutes('[]').size).toBe(0);
    expect(parseKernelRoutes('').size).toBe(0);
  });

  it('a default route', () => {
    expect(
      parseKernelRoutes('[{"dst":"default","gateway":"10.0.0.1","dev":"eth0"}]').get('0.0.0.0/0'),
    ).toEqual(['10.0.0.1']);
  });
});

describe('BIRD', () => {
  it('sessions', () => {
    const sessions = parseProtocols(transcript('bird/k8sworker2-protocols.txt'));
    const [mesh] = sessions;
    expect(mesh).toEqual({
      neighbor: '192.168.13.30',
      remoteAsn: 65001,
      state: 'Established',
      filter: 'imp',
      refused: [],
      endsIn: 119,
      asPaths: [],
      agreed: { holdSeconds: 240, capabilities: ['AS4', 'add-path', 'refresh', 'restart'] },
    });
    expect(
      sessions.map(({ neighbor, remoteAsn, agreed }) => [neighbor, remoteAsn, agreed?.holdSeconds]),
    ).toEqual([
      ['192.168.13.30', 65001, 240],
      ['192.168.13.35', 65001, 240],
      ['192.168.13.37', 65001, 240],
      ['192.168.13.39', 65000, 9],
    ]);
    const down = parseProtocols(transcript('bird/k8sworker2-protocols.txt', '-w2-session-down'));
    expect(down.at(-1)).toMatchObject({ neighbor: '192.168.13.39', remoteAsn: 65000, state: 'Down' });
    expect(down.at(-1)?.agreed).toBeUndefined();
    expect(parseProtocols(transcript('bird/k8smaster1-protocols.txt'))).toHaveLength(3);
  });

  it('routes that a filter keeps out, and AS paths, by session', () => {
    expect([...parseRefused(transcript('bird/k8sworker1-filtered-leak.txt'))]).toEqual([
      ['Node_192_168_13_39', ['0.0.0.0/0']],
    ]);
    expect([...parseRefused('BIRD 1.6.8 ready.\n')]).toEqual([]);
    const text = transcript('bird/k8sworker1-route-all.txt');
    expect(Object.fromEntries(birdPaths(text))).toEqual({
      Mesh_192_168_13_30: [''],
      Mesh_192_168_13_36: [''],
      Mesh_192_168_13_37: [''],
      Node_192_168_13_39: ['65000'],
    });
    expect(parseRoutes(text).get('10.255.0.128/26')).toEqual(['192.168.13.36']);
  });

  it('routes: the best and those as good as it', () => {
    const worker = parseRoutes(transcript('bird/k8sworker1-route.txt'));
    expect(worker.get('2.2.2.2/32')).toEqual(['blackhole']);
    expect(worker.get('10.255.0.128/26')).toEqual(['192.168.13.36']);
    expect(worker.get('5.5.5.5/32')).toEqual(['192.168.13.39']);
    const master = parseRoutes(transcript('bird/k8smaster1-route.txt'));
    expect(master.get('2.2.2.2/32')).toEqual(WORKERS);
    expect(master.has('5.5.5.5/32')).toBe(false);
  });

  it('a multipath route that came from the kernel', () => {
    const text = [
      'BIRD 1.6.8 ready.',
      '10.9.0.0/16        multipath [kernel1 11:00:00] * (10)',
      '\tvia 192.168.13.35 on eth0 weight 1',
      '\tvia 192.168.13.36 on eth0 weight 1',
    ].join('\n');
    expect(parseRoutes(text).get('10.9.0.0/16')).toEqual(['192.168.13.35', '192.168.13.36']);
  });

  it.each([parseProtocols, parseRoutes])('refuses what is no answer', (parse) => {
    expect(() => parse('')).toThrow('BIRD did not answer: nothing');
    expect(() => parse('Unable to connect to server control socket')).toThrow('BIRD did not answer');
  });

  it('refuses a line that it does not understand', () => {
    expect(() => parseRoutes('BIRD 1.6.8 ready.\nsyntax error')).toThrow('not a line of BIRD');
  });
});
