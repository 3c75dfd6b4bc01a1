import { z } from 'zod';
import type { ClusterContext } from '../../cluster/distribution.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { explainPods, isCrashing, reasonOf, unreadyPods } from '../../cluster/pods.ts';
import { type LabPlan, machinesOf } from '../../plan/types.ts';
import type { CalicoApi } from '../../render/calico.ts';
import { sessionsOf } from '../../render/sessions.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';

const statuses = z.object({
  items: z.array(
    z.looseObject({
      spec: z.looseObject({ node: z.string() }),
      status: z
        .looseObject({
          agent: z
            .looseObject({ birdV4: z.looseObject({ state: z.string().default('') }).optional() })
            .optional(),
          bgp: z
            .looseObject({
              peersV4: z
                .array(z.looseObject({ peerIP: z.string().default(''), state: z.string().default('') }))
                .nullish(),
            })
            .optional(),
        })
        .nullish(),
    }),
  ),
});

/**
 * Waits until calico-node is Ready on every node and says that its BIRD runs and that every session of the plan is
 * Established. Neither proves the other: after half a minute one session is enough for calico-node's readiness
 * (node/pkg/health), and BIRD keeps its sessions while felix, which makes the rules, does not start. What the router says of
 * the same sessions is looked at by the BGP checks.
 */
export async function waitForNodeStatuses(
  kubectl: Kubectl,
  api: CalicoApi,
  namespace: string,
  { plan, emit, signal }: ClusterContext,
): Promise<void> {
  const [group] = api.split('/');
  await waitFor({
    what: 'calico-node to be Ready on every node, with its BGP sessions established',
    timeoutMs: TIMEOUTS.cni,
    look: async () => {
      const { stdout } = await kubectl.run(['get', '--raw', `/apis/${api}/caliconodestatuses`]);
      const wrong = unsettled(plan, stdout);
      const { texts, isCrashing: hopeless } = await unreadyCalico(kubectl, namespace, 'calico-node');
      if (wrong.length === 0 && texts.length === 0) return { done: true, value: undefined };
      const more = wrong.length > 3 ? [`${wrong.length - 3} more`] : [];
      return { done: false, why: [...wrong.slice(0, 3), ...more, ...texts].join('; '), hopeless };
    },
    explain: async () =>
      explainPods(kubectl, namespace, (await unreadyCalico(kubectl, namespace, 'calico-node')).pods),
    next: `npx lab kubectl get pods -n ${namespace} -o wide   and   npx lab kubectl get caliconodestatuses.${group} -o yaml`,
    signal,
    emit,
  });
}

/** What is not yet as planned, from a list of CalicoNodeStatus objects: nothing where every session is Established. */
export function unsettled(plan: LabPlan, text: string): readonly string[] {
  const { items } = statuses.parse(JSON.parse(text));
  return machinesOf(plan, 'control-plane', 'worker').flatMap((node): readonly string[] => {
    const status = items.find(({ spec }) => spec.node === node.name)?.status;
    if (status?.bgp === undefined) return [`calico-node of ${node.name} has not said anything yet`];
    const bird = status.agent?.birdV4?.state ?? '';
    const peers = status.bgp.peersV4 ?? [];
    return [
      ...(bird === 'Ready' ? [] : [`BIRD of ${node.name} is ${bird || 'in an unknown state'}`]),
      ...sessionsOf(plan, node).flatMap(({ peer }) => {
        const state = peers.find(({ peerIP }) => peerIP === peer.address)?.state;
        if (state === 'Established') return [];
        return [`session ${node.name} - ${peer.machine}: ${state || 'not configured'}`];
      }),
    ];
  });
}

/** Of Calico's pods, who keeps calico-node's sessions or kube-controllers from coming up. */
export async function unreadyCalico(kubectl: Kubectl, namespace: string, app: string) {
  const pods = await unreadyPods(kubectl, namespace, `k8s-app=${app}`);
  return {
    pods,
    texts: pods.map((pod) => `${app} on ${pod.spec.nodeName ?? 'no node'} is not Ready: ${reasonOf(pod)}`),
    isCrashing: pods.some(isCrashing),
  };
}
