import { z } from 'zod';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { HarnessError, messageOf } from '../../shared/errors.ts';

/** A block of the pod CIDR that Calico's IPAM has given to a node. A node may have several, or none yet. */
export interface PodBlock {
  readonly prefix: string;
  readonly node: string;
}

/**
 * BlockAffinity of both groups: `deleted` is a string in crd.projectcalico.org/v1. `type` is "host", or "virtual" for the
 * addresses of LoadBalancer services; without it (Calico up to 3.29) all are of nodes.
 */
const affinities = z.object({
  items: z.array(
    z.looseObject({
      spec: z.looseObject({
        cidr: z.string(),
        node: z.string(),
        state: z.string().nullish(),
        type: z.string().nullish(),
        deleted: z.union([z.boolean(), z.string()]).nullish(),
      }),
    }),
  ),
});

/** Where Calico keeps them: without native v3 resources always in its own storage group. */
const PLACES = [
  '/apis/crd.projectcalico.org/v1/blockaffinities',
  '/apis/projectcalico.org/v3/blockaffinities',
] as const;

/** Asks the API server for the pod blocks of all nodes. Throws HarnessError where it has none of Calico's resources. */
export async function readPodBlocks(kubectl: Kubectl): Promise<readonly PodBlock[]> {
  const complaints: string[] = [];
  for (const place of PLACES) {
    const { exitCode, stdout, stderr } = await kubectl.run(['get', '--raw', place], { okCodes: [0, 1] });
    if (exitCode === 0) return parsePodBlocks(stdout);
    complaints.push(`${place}: ${stderr.trim()}`);
  }
  throw new HarnessError("Calico's block affinities could not be read.", {
    details: complaints,
    next: 'npx lab kubectl get crd   (blockaffinities of crd.projectcalico.org or projectcalico.org must be there)',
  });
}

/** Reads a list of BlockAffinity objects: the blocks that nodes own and announce, sorted. Throws HarnessError otherwise. */
export function parsePodBlocks(text: string): readonly PodBlock[] {
  let items: z.output<typeof affinities>['items'];
  try {
    items = affinities.parse(JSON.parse(text)).items;
  } catch (cause) {
    throw new HarnessError("Calico's block affinities are not what was expected.", {
      details: [messageOf(cause)],
      cause,
    });
  }
  return items
    .filter(({ spec }) => (spec.type || 'host') === 'host' && String(spec.deleted ?? false) === 'false')
    .filter(({ spec }) => (spec.state || 'confirmed') === 'confirmed')
    .map(({ spec }) => ({ prefix: spec.cidr, node: spec.node }))
    .sort((a, b) => a.prefix.localeCompare(b.prefix, 'en', { numeric: true }));
}
