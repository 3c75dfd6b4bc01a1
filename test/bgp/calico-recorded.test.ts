import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { ensureAssignment } from '../../scripts/bgp/calico/load-balancer.ts';
import { unreadyCalico } from '../../scripts/bgp/calico/node-status.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { waitForNodes } from '../../scripts/cluster/nodes.ts';
import { isCrashing, isReadyPod, type Pod } from '../../scripts/cluster/pods.ts';
import { renderBgpResources } from '../../scripts/render/calico.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { calicoPlan, labSecrets } from '../render/fixture.ts';

/** What the API server of the lab with k3s 1.36 and Calico 3.32 said; see test/transcripts/README.md. */
interface Item {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: unknown;
}
const items = ['objects.json', 'system.json', 'node-statuses.json'].flatMap((name) => {
  const text = readFileSync(new URL(`../transcripts/calico/${name}`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { items: Item[] }).items;
});
const ofKind = (kind: string) => items.filter((each) => each.kind === kind);
// As it was made: with spec.externalIPs.
const made = calicoPlan();
const plan = {
  ...made,
  bgp: { ...made.bgp, externalPrefixes: ['2.2.2.2/32'] },
  echo: { ...made.echo, loadBalancer: 'externalIPs' as const },
};
const executor = recordingExecutor((argv) => {
  const line = argv.join(' ');
  const pods = /get pods .*k8s-app=(\S+)/.exec(line)?.[1];
  if (pods !== undefined)
    return JSON.stringify({ items: ofKind('Pod').filter(({ metadata }) => metadata.name.startsWith(pods)) });
  if (line.includes('get nodes')) return JSON.stringify({ items: ofKind('Node') });
  if (line.includes('kubecontrollersconfigurations/default'))
    return JSON.stringify(ofKind('KubeControllersConfiguration')[0]);
  throw new Error(`not recorded: ${line}`);
});
const kubectl = kubectlWith(executor, { binary: 'kubectl', kubeconfig: 'k' });
const installed = { api: 'projectcalico.org/v3', namespace: 'kube-system' } as const;

it('its nodes and pods are ready', async () => {
  await waitForNodes(kubectl, plan, () => {});
  const pods = ofKind('Pod') as unknown as Pod[];
  expect(pods).toHaveLength(10);
  expect(pods.filter((pod) => !isReadyPod(pod) || isCrashing(pod))).toEqual([]);
  const { pods: unready } = await unreadyCalico(kubectl, 'kube-system', 'calico-node');
  expect(unready).toEqual([]);
});

it('its load balancer gives addresses on request only, as labup had set it', async () => {
  const context = { plan, secrets: labSecrets(plan), emit: () => {} };
  expect(await ensureAssignment(kubectl, installed, context)).toBe(false);
});

it.each(
  parseAllDocuments(renderBgpResources(plan, 'projectcalico.org/v3')).map((document) => {
    const resource = parse(String(document)) as Item;
    return [resource.kind, resource] as const;
  }),
)('has taken our %s as it is written', (kind, { metadata, spec }) => {
  const taken = ofKind(kind).find((each) => each.metadata.name === metadata.name);
  expect(taken?.spec).toMatchObject(spec as object);
});
