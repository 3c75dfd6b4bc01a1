import type { ApiAnswer } from './api-question.ts';
import type { Kubectl } from './kubectl.ts';

/** What an object is called, in a manifest and in the API. */
export interface ObjectName {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string | undefined };
}

/** For objects of which only the metadata is wanted: CRDs are large. */
export const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=1,application/json';

interface ResourceList {
  readonly resources: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
  }[];
}

/**
 * Objects as the API server has them now, undefined for one that it lacks, without a process of kubectl. Undefined as a
 * whole where only kubectl can tell.
 */
export async function liveObjects<T>(
  { ask }: Kubectl,
  wanted: readonly ObjectName[],
  accept?: string,
): Promise<readonly (T | undefined)[] | undefined> {
  if (ask === undefined) return undefined;
  const versions = [...new Set(wanted.map(({ apiVersion }) => apiVersion))];
  const read = async (version: string) => [version, parsed<ResourceList>(await ask(root(version)))] as const;
  const served = new Map(await Promise.all(versions.map(read)));
  const objects = await Promise.all(
    wanted.map(async ({ apiVersion, kind, metadata: { name, namespace = 'default' } }) => {
      const list = served.get(apiVersion);
      if (list === undefined) return undefined;
      const resource = list.value?.resources.find((each) => each.kind === kind && !each.name.includes('/'));
      if (resource === undefined) return { value: undefined };
      const place = `${root(apiVersion)}${resource.namespaced ? `/namespaces/${namespace}` : ''}`;
      return parsed<T>(await ask(`${place}/${resource.name}/${encodeURIComponent(name)}`, accept));
    }),
  );
  const told = objects.filter((each) => each !== undefined);
  return told.length === wanted.length ? told.map(({ value }) => value) : undefined;
}

/**
 * The names of a manifest's objects, without parsing all of it, which takes half a second for one of Calico's. Undefined
 * where it is not written as everybody writes them.
 */
export function namesIn(yaml: string): readonly ObjectName[] | undefined {
  const documents = yaml.split(/^---[ \t]*$/m).filter((text) => /^[^#\s]/m.test(text));
  const names = documents.flatMap((text) => nameIn(text) ?? []);
  return names.length === documents.length ? names : undefined;
}

function nameIn(text: string): ObjectName | undefined {
  const kinds = valuesOf('kind', text);
  const [apiVersion] = valuesOf('apiVersion', text);
  const metadata = /^metadata:[ \t]*\n((?:[ \t]*\n|[ #].*\n)+)/m.exec(`${text}\n`)?.[1] ?? '';
  const [name] = valuesOf(' {2}name', metadata);
  const [namespace] = valuesOf(' {2}namespace', metadata);
  const [kind, ...more] = kinds;
  if (kind === undefined || more.length > 0 || apiVersion === undefined || name === undefined)
    return undefined;
  return { apiVersion, kind, metadata: { name, namespace } };
}

function valuesOf(key: string, text: string): readonly string[] {
  const lines = text.matchAll(new RegExp(`^${key}:[ \\t]+(["']?)([\\w.:/-]+)\\1[ \\t]*(?:#.*)?$`, 'gm'));
  return [...lines].map(([, , value = '']) => value);
}

function root(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** What an answer holds: nothing where there is no such thing; undefined where it is none. */
function parsed<T>(answer: ApiAnswer | undefined): { readonly value: T | undefined } | undefined {
  if (answer?.status === 404) return { value: undefined };
  return answer?.status === 200 ? { value: JSON.parse(answer.text) as T } : undefined;
}
