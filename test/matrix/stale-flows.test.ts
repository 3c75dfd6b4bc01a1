import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseFlows, readFlows } from '../../scripts/matrix/conntrack.ts';
import { checkStaleFlows } from '../../scripts/matrix/stale-flows.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { endpointsOf, POD_IPS } from './fixtures.ts';

const STATE = endpointsOf();

/** Lines as `conntrack -L -p udp` of conntrack-tools 1.4.7 prints them. */
function line(destination: string, port: number, backend: string, unreplied = false): string {
  return `udp      17 99 src=192.168.13.104 dst=${destination} sport=40001 dport=${port} ${unreplied ? '[UNREPLIED] ' : ''}src=${backend} dst=192.168.13.104 sport=5678 dport=40001 ${unreplied ? '' : '[ASSURED] '}mark=0 use=1`;
}

describe('parseFlows', () => {
  it('reads what a control plane with k3s and Calico printed, marks and all', () => {
    const text = readFileSync(
      new URL('../transcripts/calico/k8smaster1-conntrack.txt', import.meta.url),
      'utf8',
    );
    const flows = parseFlows(text);
    expect(flows).toHaveLength(39);
    expect(flows[0]).toEqual({
      client: '10.255.93.65',
      clientPort: 55279,
      destination: '192.168.13.30',
      port: 53,
      backend: '192.168.13.30',
      backendPort: 53,
      seen: '10.255.93.65',
      seenPort: 55279,
      protocol: 'udp',
      secondsLeft: 23,
    });
  });

  it('reads what conntrack prints', () => {
    expect(parseFlows(`${line('192.168.13.35', 31678, '10.255.0.74', true)}\n`)).toEqual([
      {
        client: '192.168.13.104',
        clientPort: 40001,
        destination: '192.168.13.35',
        port: 31678,
        backend: '10.255.0.74',
        backendPort: 5678,
        seen: '192.168.13.104',
        seenPort: 40001,
        protocol: 'udp',
        secondsLeft: 99,
      },
    ]);
    expect(parseFlows('')).toEqual([]);
  });

  it.each([
    ['a zone', ' dport=31678 ', ' dport=31678 zone-orig=1 '],
    ['counters', ' dport=31678 ', ' dport=31678 packets=1 bytes=30 '],
    ['offloading', ' dport=31678 ', ' dport=31678 [OFFLOAD] '],
    ['a zone of the reply', ' dport=40001 ', ' dport=40001 zone-reply=1 '],
  ])('reads a line with %s', (_, old, now) => {
    const usual = line('192.168.13.35', 31678, '10.255.0.74');
    expect(usual).toContain(old);
    expect(parseFlows(usual.replace(old, now))).toEqual(parseFlows(usual));
  });

  it('leaves out a line that it does not know, and refuses what is something else', () => {
    const left: string[] = [];
    const text = `udp what\n${line('192.168.13.35', 31678, '10.255.0.74')}\n`;
    expect(parseFlows(text, (each) => left.push(each))).toHaveLength(1);
    expect(left).toEqual(['udp what']);
    expect(() => parseFlows('tcp 6 what')).toThrow('not a line of conntrack');
  });
});

async function verdicts(text: string, node = 'k8sworker1') {
  const executors = new Map([[node, recordingExecutor((argv) => `${text}${mark(argv)}`, node)]]);
  return checkStaleFlows(STATE, await readFlows([node], executors, { protocol: 'udp' }));
}

/** The separators that one call for several answers puts behind each: output, code (bgp/checks/ask.ts). */
function mark(argv: readonly string[]): string {
  return argv.includes('-c') ? '\u001e0\u001e' : '';
}

describe('checkStaleFlows', () => {
  it.each([
    ['a flow to an endpoint', line('192.168.13.35', 31678, POD_IPS[0])],
    ['a flow that nothing translates', line('192.168.13.35', 31678, '192.168.13.35', true)],
    ['a flow to what is no service', line('192.168.13.35', 53, '10.255.0.99')],
    ['a flow to the same port of a machine that is no node', line('192.168.13.40', 31678, '10.255.0.99')],
  ])('is content with %s', async (_, text) => {
    expect(await verdicts(text)).toMatchObject([{ id: 'conntrack.udp.k8sworker1', verdict: 'passed' }]);
  });

  it('names a flow to a pod that is gone', async () => {
    expect(await verdicts(line('192.168.13.35', 31678, '10.255.0.99', true))).toMatchObject([
      {
        verdict: 'failed',
        reason: 'stale',
        seen: {
          stale: [
            {
              client: '192.168.13.104',
              clientPort: 40001,
              destination: '192.168.13.35',
              port: 31678,
              backend: '10.255.0.99',
              service: 'echo-server-udp',
            },
          ],
        },
      },
    ]);
    expect(await verdicts(line('10.107.216.154', 5678, '10.255.0.99'))).toMatchObject([
      { verdict: 'failed' },
    ]);
  });

  it('names a line that it does not know, and still a flow to a pod that is gone', async () => {
    const known = line('192.168.13.35', 31678, POD_IPS[0]);
    expect(await verdicts(`udp what\n${known}`)).toMatchObject([
      { verdict: 'skipped', reason: 'partly-read', seen: { flows: 1, unread: ['udp what'] } },
    ]);
    const stale = line('192.168.13.35', 31678, '10.255.0.99');
    expect(await verdicts(`udp what\n${stale}`)).toMatchObject([{ verdict: 'failed' }]);
  });

  it('knows nothing where the table cannot be read', async () => {
    expect(await verdicts('nonsense\n')).toMatchObject([{ verdict: 'harness' }]);
    expect(checkStaleFlows(STATE, await readFlows(['k8sworker1'], new Map()))).toEqual([]);
  });
});
