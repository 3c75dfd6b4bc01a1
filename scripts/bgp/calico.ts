import { readFile } from 'node:fs/promises';
import type { ClusterContext } from '../cluster/distribution.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
import { filesOf, type Software } from '../plan/software.ts';
import {
  ADMISSION_GROUP,
  ADMISSION_VERSIONS,
  type AdmissionVersion,
  hasMutatingPolicies,
  renderBgpPassword,
  renderBgpResources,
  renderCalicoManifest,
  renderClusterInformation,
  renderInstallation,
  renderLoadBalancerPools,
  renderPodPool,
} from '../render/calico.ts';
import { UserError } from '../shared/errors.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';
import { type ConditionsList, waitForCalicoApi } from './calico/api.ts';
import { applyServerSide, applyWhenServed } from './calico/apply.ts';
import { ensureAssignment, removeUnusedPools } from './calico/load-balancer.ts';
import { prepareCalicoNode } from './calico/node.ts';
import { waitForNodeStatuses } from './calico/node-status.ts';
import type { Cni } from './cni.ts';

/** Calico with BGP and without encapsulation, by its operator or by its manifest, whichever the software brings. */
export const calicoCni: Cni = {
  prepareNode: prepareCalicoNode,
  deploy: (kubectl, software, context) =>
    filesOf(software, 'calico-operator').length > 0
      ? deployOperator(kubectl, software, context)
      : deployManifest(kubectl, software, context),
  settle,
  waitUntilReady: async (kubectl, context) => {
    const { api, namespace } = await waitForCalicoApi(kubectl, context);
    await waitForNodeStatuses(kubectl, api, namespace, context);
  },
};

async function deployOperator(
  kubectl: Kubectl,
  software: Software,
  context: ClusterContext,
): Promise<boolean> {
  const crds = filesOf(software, 'calico-crds').map(({ path }) => path);
  await refuseBothGroups(crds);
  const changed: boolean[] = [];
  for (const file of crds) changed.push(await applyServerSide(kubectl, { file }));
  await waitForKinds(kubectl, ['installations.operator.tigera.io', 'apiservers.operator.tigera.io'], context);
  for (const { path } of filesOf(software, 'calico-operator'))
    changed.push(await applyServerSide(kubectl, { file: path }));
  changed.push(await applyServerSide(kubectl, { text: renderInstallation(context.plan) }));
  return changed.includes(true);
}

async function deployManifest(
  kubectl: Kubectl,
  software: Software,
  context: ClusterContext,
): Promise<boolean> {
  const [manifest] = filesOf(software, 'calico-manifest');
  if (manifest === undefined)
    throw new UserError('The software of this lab has no Calico to install.', {
      details: ['neither a file with role calico-operator nor one with role calico-manifest is in it'],
      next: 'npx lab bundle verify DIR   (says what a bundle must hold)',
    });
  const shipped = await readFile(manifest.path, 'utf8');
  const admission = hasMutatingPolicies(shipped) ? await servedAdmission(kubectl) : undefined;
  const text = renderCalicoManifest(context.plan, shipped, admission);
  if (!(await applyServerSide(kubectl, { text }))) return false;
  // As early as can be: the first pods need them, and kubelet tries again only after 10 to 15 s.
  const { api } = await waitForCalicoApi(kubectl, context);
  const first = [renderPodPool(context.plan, api), renderClusterInformation(api)];
  await applyWhenServed(kubectl, first.join('---\n'), context);
  return true;
}

/** The newest version in which the cluster serves mutating admission policies; undefined where it serves none. */
async function servedAdmission(kubectl: Kubectl): Promise<AdmissionVersion | undefined> {
  for (const version of ADMISSION_VERSIONS) {
    // 1: the cluster does not serve this version at all.
    const found = await kubectl.run(['get', '--raw', `/apis/${ADMISSION_GROUP}/${version}`], {
      okCodes: [0, 1],
    });
    if (found.exitCode === 0 && found.stdout.includes('"mutatingadmissionpolicies"')) return version;
  }
  return undefined;
}

/** The password before the session that needs it; everything by the group that this cluster serves. */
async function settle(kubectl: Kubectl, context: ClusterContext): Promise<boolean> {
  const { plan, secrets } = context;
  const { api, by, namespace } = await waitForCalicoApi(kubectl, context);
  const password = await applyServerSide(kubectl, { text: renderBgpPassword(secrets, namespace) });
  const resources = [
    by === 'manifest' ? renderPodPool(plan, api) : '',
    renderBgpResources(plan, api),
    renderLoadBalancerPools(plan, api),
  ].filter((text) => text !== '');
  const applied = await applyWhenServed(kubectl, resources.join('---\n'), context);
  const removed = await removeUnusedPools(kubectl, api, plan);
  const assignment = await ensureAssignment(kubectl, { api, namespace }, context);
  return password || applied || removed || assignment;
}

/** Calico takes the CRDs that it finds as its choice of storage, and must not find both. */
async function refuseBothGroups(files: readonly string[]): Promise<void> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  const has = (name: string) => texts.some((text) => text.includes(`\n  name: ${name}\n`));
  if (!has('bgppeers.crd.projectcalico.org') || !has('bgppeers.projectcalico.org')) return;
  throw new UserError(
    "The software of this lab has Calico's CRDs twice: those of its old storage and native ones.",
    {
      details: [...files],
      next: 'keep v1_crd_projectcalico_org.yaml or v3_projectcalico_org.yaml in the bundle, and remove the other',
    },
  );
}

async function waitForKinds(
  kubectl: Kubectl,
  wanted: readonly string[],
  { emit, signal }: ClusterContext,
): Promise<void> {
  await waitFor({
    what: "the API server to know the Tigera operator's kinds",
    timeoutMs: TIMEOUTS.cni,
    look: async () => {
      const { items } = await kubectl.json<ConditionsList>(['get', 'crd', '--ignore-not-found', ...wanted]);
      const missing = wanted.filter(
        (name) =>
          !items.some(
            ({ metadata, status }) =>
              metadata.name === name &&
              status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True'),
          ),
      );
      return missing.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: `${missing.join(', ')} not established` };
    },
    next: `npx lab kubectl get crd ${wanted.join(' ')}`,
    signal,
    emit,
  });
}
