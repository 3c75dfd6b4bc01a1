import { spawnSync } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { localExecutor } from '../../scripts/exec/local.ts';
import { machineSource } from '../../scripts/matrix/probe-sources.ts';
import { runCells } from '../../scripts/matrix/run.ts';
import type { Cell } from '../../scripts/matrix/types.ts';
import { assetPath } from '../../scripts/shared/files.ts';

const version = spawnSync('python3', ['--version'], { encoding: 'utf8' });
const hasPython = version.status === 0;
if (!hasPython) process.stderr.write('SKIPPED: the real probe, because this machine has no python3.\n');

function cell(port: number, address = '127.0.0.1'): Cell {
  return {
    id: `here>${address}:${port}/tcp`,
    from: 'here',
    kind: 'pod',
    to: address,
    address,
    port,
    protocol: 'tcp',
    expected: { outcome: 'ok', servers: [], clients: [], why: '', chain: [] },
  };
}

describe.skipIf(!hasPython)('the real probe, run on this machine', () => {
  // A server that speaks the echo protocol: a header, then what it gets.
  const server = createServer((socket) => {
    socket.write(
      `Thu Jan  1 00:00:00 UTC 2026\nServer: 127.0.0.1:${socket.localPort}\nClient: 127.0.0.1:${socket.remotePort}\n\n`,
    );
    socket.pipe(socket);
  });
  let open = 0;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    open = (server.address() as AddressInfo).port;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  const here = new Map([
    ['here', machineSource('here', localExecutor(), ['python3', assetPath('probe', 'probe.py')])],
  ]);

  it('is understood', async () => {
    const cells = [cell(open), cell(1), cell(open, 'no-such-name.invalid')];
    const { cells: seen, dns } = await runCells(cells, here, {
      dns: [{ id: 'q', from: 'here', name: 'localhost', type: 'A', server: '127.0.0.1' }],
    });
    expect(seen.get(cells[0]?.id ?? '')).toMatchObject({
      outcome: 'ok',
      server: '127.0.0.1',
      client: '127.0.0.1',
      attempts: 1,
    });
    expect(seen.get(cells[1]?.id ?? '')).toMatchObject({ outcome: 'refused', server: null, connectMs: null });
    expect(seen.get(cells[1]?.id ?? '')?.detail).toContain('ECONNREFUSED');
    expect(seen.get(cells[2]?.id ?? '')?.outcome).toMatch(/^dns-(nxdomain|error)$/);
    expect(dns.get('q')?.outcome).not.toBe('harness-error');
  });

  it('that refuses its input is a harness error', async () => {
    const { cells: seen } = await runCells([{ ...cell(open), port: 70000 }], here);
    const [only] = [...seen.values()];
    expect(only?.outcome).toBe('harness-error');
    expect(only?.detail).toContain('port');
  });
});
