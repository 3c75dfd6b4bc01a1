import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { delaysOf } from '../../scripts/matrix/pace.ts';
import type { ProbeSource } from '../../scripts/matrix/probe-sources.ts';
import { runCells } from '../../scripts/matrix/run.ts';
import { endpointsOf, fakeProbeSource, type KubeService, planOf } from './fixtures.ts';

const PORTS = 7;

/** The external address answers on several ports. */
function onSeveralPorts(service: KubeService): KubeService {
  if (service.metadata.name !== 'echo-lb-tcp') return service;
  const ports = Array.from({ length: PORTS }, (_, index) => ({
    name: `tcp${index}`,
    port: 1234 + index,
    protocol: 'TCP',
    targetPort: 1234,
    nodePort: 32153 + index,
  }));
  return { ...service, spec: { ...service.spec, ports } };
}

const cells = buildCells(planOf(), endpointsOf({ ready: ['echo-client1'], edit: onSeveralPorts }));
const external = (from: string) =>
  cells.filter((cell) => cell.from === from && cell.to === 'echo-lb-tcp/2.2.2.2');

describe('delaysOf', () => {
  it('begins what one machine refuses one source for lack of a route a second apart, after the first four', () => {
    const delays = delaysOf(cells);
    for (const from of ['routed', 'pod/echo-client1'])
      expect(
        external(from).map(({ id }) => delays.get(id)),
        from,
      ).toEqual([undefined, undefined, undefined, undefined, 1100, 2200, 3300]);
    expect(delays.size).toBe(6);
  });

  it('delays nothing that a machine refuses itself', () => {
    const own = external('ubuntu');
    expect(own.map(({ expected }) => expected.outcome)).toEqual(Array(PORTS).fill('no-route'));
    expect(delaysOf(own).size).toBe(0);
  });

  it('delays nothing of a lab where everything answers', () => {
    expect(delaysOf(buildCells(planOf(), endpointsOf({ edit: onSeveralPorts }))).size).toBe(0);
  });
});

describe('runCells', () => {
  it('tells the probe, and gives it as much more time', async () => {
    const inner = fakeProbeSource('routed', cells);
    let patience: number | undefined;
    const routed: ProbeSource = {
      name: 'routed',
      run: (input, onLine, lastBegins) => {
        patience = lastBegins;
        return inner.run(input, onLine);
      },
    };
    await runCells(external('routed'), new Map([['routed', routed]]));
    const asked = JSON.parse(inner.inputs[0] ?? '') as { cells: { delayMs?: number }[] };
    expect(asked.cells.map(({ delayMs = 0 }) => delayMs)).toEqual([0, 0, 0, 0, 1100, 2200, 3300]);
    expect(patience).toBe(3300);
  });
});
