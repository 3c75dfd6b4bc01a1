import type { Fault, InapplicableFault } from './fault.ts';
import { literally, pick, type Scene } from './scene.ts';

/** Faults of the pod network. */
export function podFaults(scene: Scene): readonly (Fault | InapplicableFault)[] {
  return [natOutgoingMissing(scene)];
}

/** The masquerading of what leaves the pod network is gone from the client pod's node. */
function natOutgoingMissing({ plan, state, cells }: Scene): Fault | InapplicableFault {
  const id = 'nat-outgoing-missing';
  const title = 'a node does not masquerade what leaves the pod network';
  const from = `pod/${plan.echo.clientPod.pod}`;
  const on = state.pods.find(({ name }) => `pod/${name}` === from)?.node;
  const chain = on === undefined ? undefined : state.machines.get(on)?.natOutgoing?.chain;
  const masqueraded = pick(
    cells,
    ({ from: origin, expected }) =>
      origin === from &&
      expected.outcome === 'ok' &&
      expected.chain.some(({ chains }) => chains?.includes(chain ?? '')),
  );
  const direct = pick(
    cells,
    (cell) => cell.from === from && cell.kind === 'pod' && cell.expected.outcome === 'ok',
  );
  if (on === undefined || chain === undefined || masqueraded === undefined || direct === undefined)
    return {
      id,
      title,
      skipped: 'it takes a client pod that reaches a server, and a node port of another node',
    };
  const jump = ['POSTROUTING', '-j', chain];
  const restore = 'iptables -w -t nat -C "$@" 2>/dev/null || iptables -w -t nat -A "$@"';
  return {
    id,
    title,
    moment: 'before',
    inject: [{ on, argv: ['iptables', '-w', '-t', 'nat', '-D', ...jump] }],
    revert: [{ on, argv: ['sh', '-c', restore, 'sh', ...jump] }],
    cells: [masqueraded.id, direct.id],
    expect: [
      {
        kind: 'check',
        id: `pod-network.${on}`,
        verdict: 'failed',
        sentence: new RegExp(
          `^nothing is masqueraded, not what comes from ${literally(plan.kubernetes.podCidr)} is`,
        ),
      },
      {
        kind: 'cell',
        id: masqueraded.id,
        verdict: 'blocked',
        sentence: new RegExp(literally(`not tried: pod-network.${on} failed`)),
      },
    ],
    alsoRed: [],
  };
}
