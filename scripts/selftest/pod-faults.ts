import { checkId } from '../bgp/checks/check.ts';
import { indexMachine } from '../matrix/expect/machine.ts';
import { CALICO_GATEWAY } from '../plan/addressing.ts';
import {
  type ExpectedRed,
  type Fault,
  type Fitted,
  failedCheck,
  type InapplicableFault,
  KUBECTL,
  MARK,
  named,
} from './fault.ts';
import { lookFor, putBack, takeAway } from './placed-rules.ts';
import { nodePortWays, pick, type Scene } from './scene.ts';

/** Faults of the pod network. */
export function podFaults(scene: Scene): readonly (Fault | InapplicableFault)[] {
  return [
    named(
      'nat-outgoing-missing',
      'a node does not masquerade what leaves the pod network',
      natOutgoingMissing(scene),
    ),
    named(
      'pod-gateway-missing',
      "a node does not answer its pods for Calico's gateway",
      gatewayRouteMissing(scene),
    ),
    named('policy-not-enforced', 'a NetworkPolicy that nothing enforces', policyWithoutEffect(scene)),
  ];
}

function blockedCell(id: string, by: string): ExpectedRed {
  return { kind: 'cell', id, verdict: 'blocked', finding: { reason: 'blocked', by } };
}

/** With Calico: the route is gone without which a node does not answer its pods for their gateway. */
function gatewayRouteMissing(scene: Scene): Fitted {
  const { plan, state } = scene;
  const prefix = `${CALICO_GATEWAY}/32`;
  const [way, ...others] = plan.choices.cni.value === 'calico' ? nodePortWays(scene, 'tcp') : [];
  const other = others.find(({ node, cell }) => node !== way?.node && cell.from === way?.cell.from);
  const machine = state.machines.get(way?.node ?? '');
  const [hop] = machine?.routes.find((route) => route.prefix === prefix)?.hops ?? [];
  if (way === undefined || other === undefined || machine === undefined || hop === undefined)
    return { skipped: 'it takes Calico, and a node port that two workers answer' };
  const source = machine.routes.find((route) => route.prefix === prefix)?.source;
  const routes = machine.routes.filter((route) => route.prefix !== prefix);
  if (indexMachine({ ...machine, routes }, undefined).lookup(CALICO_GATEWAY).kind !== 'none')
    return { skipped: 'the default route of the nodes does the same' };
  const route = [prefix, 'dev', hop.interface, 'scope', 'link', ...(source ? ['src', source] : [])];
  const on = way.node;
  return {
    inject: [{ on, argv: ['ip', 'route', 'del', prefix] }],
    revert: [{ on, argv: ['ip', 'route', 'replace', ...route] }],
    cells: [way.cell.id, other.cell.id],
    expect: [
      failedCheck(checkId('pod-gateway', { machine: on }), { reason: 'missing' }),
      blockedCell(way.cell.id, checkId('pod-gateway', { machine: on })),
    ],
    // Cluster DNS may run there.
    alsoRed: ['dns.*'],
  };
}

/** The masquerading of what leaves the pod network is gone from the client pod's node. */
function natOutgoingMissing({ plan, state, cells, picture }: Scene): Fitted {
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
    return { skipped: 'it takes a client pod that reaches a server, and a node port of another node' };
  // In nftables Felix puts the name of the table before that of the chain.
  const jump = picture.get(on)?.rules.find(({ target }) => target === chain || target === `nat-${chain}`);
  if (jump === undefined) return { skipped: `nothing on ${on} jumps to ${chain}` };
  return {
    inject: [takeAway(on, jump)],
    revert: [putBack(on, jump)],
    // Felix puts back what it finds missing, at the latest after its refresh interval.
    stillThere: { ...lookFor(on, jump), until: /^gone$/m },
    cells: [masqueraded.id, direct.id],
    expect: [
      failedCheck(checkId('masquerading', { machine: on }), {
        reason: 'missing',
        wanted: { sources: [plan.kubernetes.podCidr] },
      }),
      blockedCell(masqueraded.id, checkId('masquerading', { machine: on })),
    ],
  };
}

/** A policy of which nothing takes notice. It selects no pod, so that it would do no harm where something did. */
function policyWithoutEffect({ plan, cells }: Scene): Fitted {
  const { namespace } = plan.echo;
  if (plan.choices.cni.value === 'calico') return { skipped: 'Calico enforces policies' };
  const answered = pick(cells, ({ expected }) => expected.outcome === 'ok');
  if (answered === undefined) return { skipped: 'it takes a connection that is answered' };
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: MARK, namespace },
    spec: { podSelector: { matchLabels: { [MARK]: 'none' } }, policyTypes: ['Ingress'] },
  };
  return {
    inject: [{ on: KUBECTL, argv: ['apply', '-f', '-'], input: JSON.stringify(policy) }],
    revert: [{ on: KUBECTL, argv: ['delete', 'networkpolicy', MARK, '-n', namespace, '--ignore-not-found'] }],
    cells: [answered.id],
    expect: [
      failedCheck(checkId('policies', {}), {
        reason: 'not-enforced',
        seen: { policies: [`NetworkPolicy ${namespace}/${MARK}`] },
      }),
    ],
  };
}
