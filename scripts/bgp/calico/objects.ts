import { z } from 'zod';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { CALICO_APIS } from '../../render/calico.ts';
import { HarnessError, messageOf } from '../../shared/errors.ts';

/** What of Calico's own objects expectations follow from; a version that lacks some of these kinds has the others. */
const KINDS = [
  'blockaffinities',
  'bgpconfigurations',
  'globalnetworkpolicies',
  'globalnetworksets',
  'hostendpoints',
  'ippools',
  'networkpolicies',
  'networksets',
  'tiers',
];

/** Where Calico keeps its labels in crd.projectcalico.org/v1: as JSON. */
const METADATA = 'projectcalico.org/metadata';

const names = z.record(z.string(), z.string()).nullish();
const kept = z.looseObject({ labels: names });
const schema = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: names,
    annotations: names,
  }),
  spec: z.record(z.string(), z.unknown()).nullish(),
});
const list = z.object({ items: z.array(schema) });
const resources = z.object({ resources: z.array(z.looseObject({ name: z.string() })) });

/** One of Calico's own objects, whichever of its groups it came from. */
export interface CalicoObject {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: Readonly<Record<string, unknown>>;
}

/** What is asked for, by kubectl: it stays the same for as long as a command runs. */
const known = new WeakMap<Kubectl, string>();

/**
 * Asks the API server for Calico's own objects, in one call once it is known which of them are there. Throws HarnessError where
 * there is none of its groups.
 */
export async function readCalicoObjects(kubectl: Kubectl): Promise<readonly CalicoObject[]> {
  const what = known.get(kubectl) ?? (await servedKinds(kubectl));
  known.set(kubectl, what);
  const { stdout } = await kubectl.run(['get', what, '-A', '-o', 'json']);
  return parseCalicoObjects(stdout);
}

/** The kinds of the group that Calico keeps its objects in: without native v3 resources that is always its storage group. */
async function servedKinds(kubectl: Kubectl): Promise<string> {
  const complaints: string[] = [];
  for (const api of [...CALICO_APIS].reverse()) {
    const { exitCode, stdout, stderr } = await kubectl.run(['get', '--raw', `/apis/${api}`], {
      okCodes: [0, 1],
    });
    const [group] = api.split('/');
    if (exitCode !== 0) complaints.push(`${api}: ${stderr.trim()}`);
    else {
      const served = parsed(resources, stdout).resources.map(({ name }) => name);
      if (served.includes('blockaffinities'))
        return KINDS.filter((kind) => served.includes(kind))
          .map((kind) => `${kind}.${group}`)
          .join();
      complaints.push(`${api}: no blockaffinities`);
    }
  }
  throw new HarnessError("Calico's own objects could not be read.", {
    details: complaints,
    next: 'npx lab kubectl get crd   (blockaffinities of crd.projectcalico.org or projectcalico.org must be there)',
  });
}

/** Reads a list of Calico's objects. Throws HarnessError where it is none. */
export function parseCalicoObjects(text: string): readonly CalicoObject[] {
  return parsed(list, text).items.map(({ kind, metadata, spec }): CalicoObject => {
    const { name, namespace, labels, annotations } = metadata;
    const stored = annotations?.[METADATA];
    const hidden = stored === undefined ? undefined : parsed(kept, stored).labels;
    return {
      kind,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...hidden, ...labels },
      spec: spec ?? {},
    };
  });
}

function parsed<T extends z.ZodType>(expected: T, text: string): z.output<T> {
  try {
    return expected.parse(JSON.parse(text));
  } catch (cause) {
    throw new HarnessError("Calico's objects are not what was expected.", {
      details: [messageOf(cause)],
      cause,
    });
  }
}
