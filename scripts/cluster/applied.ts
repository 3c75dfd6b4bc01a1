import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import type { Kubectl } from './kubectl.ts';
import { liveObjects, type ObjectName } from './live-objects.ts';

/** Where `kubectl apply` notes what it was given. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

interface LiveObject {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
}

/** The lists whose items the API server adds defaults to, and `kubectl apply` merges by a key. */
const MERGED = ['containers', 'env', 'ports'];

/**
 * Whether `kubectl apply` of these manifests would change nothing: every object was applied as it is here, and nobody has
 * changed any of it since. False also where it cannot be told without asking kubectl, which takes a second of processor
 * time for it.
 */
export async function isApplied(kubectl: Kubectl, yaml: string): Promise<boolean> {
  if (kubectl.ask === undefined) return false;
  const documents = parseAllDocuments(yaml).map((each) => each.toJS() as ObjectName | null);
  const wanted = documents.filter((each) => each !== null);
  const live = await liveObjects<LiveObject>(kubectl, wanted);
  return live !== undefined && wanted.every((each, index) => isAsApplied(each, live[index]));
}

/** Whether an object was applied as this, and has all of it still. Pure. */
export function isAsApplied(wanted: ObjectName, live: LiveObject | undefined): boolean {
  const noted = live?.metadata.annotations?.[LAST_APPLIED];
  if (noted === undefined) return false;
  const applied = { ...wanted, metadata: { annotations: {}, ...wanted.metadata } };
  return isDeepStrictEqual(JSON.parse(noted), applied) && holds(live, wanted);
}

// Any list that is not merged is replaced as a whole, and an item that was added to a merged one is left to kubectl.
function holds(live: unknown, wanted: unknown, isMerged = false): boolean {
  if (Array.isArray(wanted) && isMerged)
    return (
      Array.isArray(live) &&
      live.length === wanted.length &&
      wanted.every((each, index) => holds(live[index], each))
    );
  if (!isMap(wanted) || !isMap(live)) return isDeepStrictEqual(live, wanted);
  return Object.entries(wanted).every(([key, value]) => holds(live[key], value, MERGED.includes(key)));
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
