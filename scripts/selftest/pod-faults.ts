import { checkId } from '../bgp/checks/check.ts';
import { indexMachine } from '../matrix/expect/machine.ts';
import { CALICO_GATEWAY } from '../plan/addressing.ts';
import { type Fault, type InapplicableFault, KUBECTL, MARK } from './fault.ts';
import { lookFor, putBack, takeAway } from './placed-rules.ts';
import { nodePortWays, pick, type Scene } from './scene.ts';

/** Faults of the pod network. */
export function podFaults(scene: Scene): readonly (Fault | InapplicableFault)[] {
  return [natOutgoingMissing(scene), gatewayRouteMissing(scene), policyWithoutEffect(scene)];
}

/** With Calico: the route is gone without which a node does not answer its pods for their gateway. */
function gatewayRouteMissing(scene: Scene): Fault | InapplicableFault {
  const id = 'pod-gateway-missing';
  const title = "a node does not answer its pods for Calico's gateway";
  const { plan, state } = scene;
  const prefix = `${CALICO_GATEWAY}/32`;
  const [way, ...others] = plan.choices.cni.value === 'calico' ? nodePortWays(scene, 'tcp') : [];
  const other = others.find(({ node, cell }) => node !== way?.node && cell.from === way?.cell.from);
  const machine = state.machines.get(way?.node ?? '');
  const [hop] = machine?.routes.find((route) => route.prefix === prefix)?.hops ?? [];
  if (way === undefined || other === undefined || machine === undefined || hop === undefined)
    return { id, title, skipped: 'it takes Calico, and a node port that two workers answer' };
  const source = machine.routes.find((route) => route.prefix === prefix)?.source;
  const routes = machine.routes.filter((route) => route.prefix !== prefix);
  if (indexMachine({ ...machine, routes }, undefined).lookup(CALICO_GATEWAY).kind !== 'none')
    return { id, title, skipped: 'the default route of the nodes does the same' };
  const route = [prefix, 'dev', hop.interface, 'scope', 'link', ...(source ? ['src', source] : [])];
  const on = way.node;
  return {
    id,
    title,
    moment: 'before',
    inject: [{ on, argv: ['ip', 'route', 'del', prefix] }],
    revert: [{ on, argv: ['ip', 'route', 'replace', ...route] }],
    cells: [way.cell.id, other.cell.id],
    expect: [
      {
        kind: 'check',
        id: checkId('pod-gateway', { machine: on }),
        verdict: 'failed',
        reason: 'missing',
      },
      {
        kind: 'cell',
        id: way.cell.id,
        verdict: 'blocked',
        finding: { reason: 'blocked', by: checkId('pod-gateway', { machine: on }) },
      },
    ],
    // Cluster DNS may run there.
    alsoRed: ['dns.*'],
  };
}

/** The masquerading of what leaves the pod network is gone from the client pod's node. */
function natOutgoingMissing({ plan, state, cells, picture }: Scene): Fault | InapplicableFault {
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
  // In nftables Felix puts the name of the table before that of the chain.
  const jump = picture.get(on)?.rules.find(({ target }) => target === chain || target === `nat-${chain}`);
  if (jump === undefined) return { id, title, skipped: `nothing on ${on} jumps to ${chain}` };
  return {
    id,
    title,
    moment: 'before',
    inject: [takeAway(on, jump)],
    revert: [putBack(on, jump)],
    // Felix puts back what it finds missing, at the latest after its refresh interval.
    stillThere: { ...lookFor(on, jump), until: /^gone$/m },
    cells: [masqueraded.id, direct.id],
    expect: [
      {
        kind: 'check',
        id: checkId('masquerading', { machine: on }),
        verdict: 'failed',
        reason: 'missing',
        wanted: { sources: [plan.kubernetes.podCidr] },
      },
      {
        kind: 'cell',
        id: masqueraded.id,
        verdict: 'blocked',
        finding: { reason: 'blocked', by: checkId('masquerading', { machine: on }) },
      },
    ],
    alsoRed: [],
  };
}

/** A policy of which nothing takes notice. It selects no pod, so that it would do no harm where something did. */
function policyWithoutEffect({ plan, cells }: Scene): Fault | InapplicableFault {
  const id = 'policy-not-enforced';
  const title = 'a NetworkPolicy that nothing enforces';
  const { namespace } = plan.echo;
  if (plan.choices.cni.value === 'calico') return { id, title, skipped: 'Calico enforces policies' };
  const answered = pick(cells, ({ expected }) => expected.outcome === 'ok');
  if (answered === undefined) return { id, title, skipped: 'it takes a connection that is answered' };
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: MARK, namespace },
    spec: { podSelector: { matchLabels: { [MARK]: 'none' } }, policyTypes: ['Ingress'] },
  };
  return {
    id,
    title,
    moment: 'before',
    inject: [{ on: KUBECTL, argv: ['apply', '-f', '-'], input: JSON.stringify(policy) }],
    revert: [{ on: KUBECTL, argv: ['delete', 'networkpolicy', MARK, '-n', namespace, '--ignore-not-found'] }],
    cells: [answered.id],
    expect: [
      {
        kind: 'check',
        id: checkId('policies', {}),
        verdict: 'failed',
        reason: 'not-enforced',
        seen: { policies: [`NetworkPolicy ${namespace}/${MARK}`] },
      },
    ],
    alsoRed: [],
  };
}
