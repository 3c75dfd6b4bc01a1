import { expect, it } from 'vitest';
import { missingOf } from '../../scripts/commands/scenario/scenario.ts';
import type { Need } from '../../scripts/scenarios/scenario.ts';

const has = {
  images: new Set(['registry.lab.internal/lab/echo:1']),
  kubernetes: 'v1.20.2',
  proxyMode: 'iptables',
  workers: 2,
  hasOutsider: true,
};

it.each<readonly [Need, Partial<typeof has>, string | undefined]>([
  [{ image: 'registry.lab.internal/lab/echo:1' }, {}, undefined],
  [{ image: 'registry.lab.internal/lab/nginx:1' }, {}, 'registry.lab.internal/lab/nginx:1'],
  [{ minor: 20 }, {}, undefined],
  [{ minor: 24 }, {}, 'it needs Kubernetes 1.24 or later, and this is v1.20.2'],
  [{ workers: 2 }, {}, undefined],
  [{ workers: 2 }, { workers: 1 }, 'it needs 2 workers, and this lab has 1'],
  [{ outsider: true }, {}, undefined],
  [{ outsider: true }, { hasOutsider: false }, 'it needs a client without routes, and this lab has none'],
  [{ proxyMode: 'iptables' }, {}, undefined],
  [{ proxyMode: 'iptables' }, { proxyMode: 'nftables' }, 'mode nftables'],
])('what %j lacks on a lab with %j', (need, other, reason) => {
  const missing = missingOf([need], { ...has, ...other });
  if (reason === undefined) expect(missing).toBeUndefined();
  else
    expect(missing).toEqual({
      reason: expect.stringContaining(reason),
      next: expect.stringMatching(/^npx lab/),
    });
});
