import type { ClusterContext } from '../../cluster/distribution.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { CALICO_APIS, CALICO_NAMESPACES, type CalicoApi } from '../../render/calico.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { type Look, waitFor } from '../../shared/wait.ts';

/** How Calico is installed in a cluster, and through which group its resources are written there. */
export interface InstalledCalico {
  readonly by: keyof typeof CALICO_NAMESPACES;
  /** Where calico-node runs. */
  readonly namespace: string;
  readonly api: CalicoApi;
}

/** The parts of the operator's work that must be Available before Calico's resources can be written. */
const NEEDED_STATUSES = ['calico', 'apiserver'];

/** Objects that say by conditions how far they are. */
export interface ConditionsList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status?: {
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly message?: string;
      }[];
    };
  }[];
}

/**
 * Waits until the cluster serves Calico's resources and says how: by the operator through projectcalico.org/v3 once its
 * TigeraStatus says so, by a manifest through the group that the manifest has brought.
 */
export async function waitForCalicoApi(
  kubectl: Kubectl,
  { emit, signal }: ClusterContext,
): Promise<InstalledCalico> {
  const by = (await answers(kubectl, '/apis/operator.tigera.io/v1/installations/default'))
    ? 'operator'
    : 'manifest';
  const namespace = CALICO_NAMESPACES[by];
  if (by === 'operator')
    await waitFor({
      what: "the Tigera operator to say that Calico and Calico's API server are available",
      timeoutMs: TIMEOUTS.cni,
      look: async () => operatorsWord(await kubectl.json<ConditionsList>(['get', 'tigerastatuses'])),
      next: `npx lab kubectl get tigerastatus   and   npx lab kubectl get pods -n ${namespace} -o wide`,
      signal,
      emit,
    });
  const api = await waitFor({
    what: "the cluster to serve Calico's resources",
    timeoutMs: TIMEOUTS.cni,
    look: () => servedApi(kubectl, by),
    next: 'npx lab kubectl get apiservices v3.projectcalico.org   and   npx lab kubectl get crd',
    signal,
    emit,
  });
  return { by, namespace, api };
}

/** What TigeraStatus objects say: not Available, and why. */
function operatorsWord({ items }: ConditionsList): Look<undefined> {
  const missing = NEEDED_STATUSES.flatMap((name) => {
    const conditions = items.find(({ metadata }) => metadata.name === name)?.status?.conditions ?? [];
    const is = (type: string) => conditions.find((each) => each.type === type && each.status === 'True');
    if (is('Available') !== undefined) return [];
    const condition = is('Degraded') ?? is('Progressing');
    return [`${name}: ${condition?.message || (condition?.type ?? 'nothing said yet')}`];
  });
  return missing.length === 0 ? { done: true, value: undefined } : { done: false, why: missing.join('; ') };
}

async function servedApi(kubectl: Kubectl, by: InstalledCalico['by']): Promise<Look<CalicoApi>> {
  // The operator's API server answers for v3 later than the CRDs of its storage are there.
  const candidates = by === 'operator' ? CALICO_APIS.slice(0, 1) : CALICO_APIS;
  for (const api of candidates)
    if (await answers(kubectl, `/apis/${api}/bgppeers`)) return { done: true, value: api };
  return {
    done: false,
    why: `no answer from ${candidates.map((api) => `/apis/${api}/bgppeers`).join(', ')}`,
  };
}

async function answers(kubectl: Kubectl, path: string): Promise<boolean> {
  return (await kubectl.run(['get', '--raw', path], { okCodes: [0, 1] })).exitCode === 0;
}
