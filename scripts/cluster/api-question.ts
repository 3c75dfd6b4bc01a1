/** An answer of the API server, whatever its status. */
export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** GET of a path of the API server, in the form that `accept` names if not as JSON. Throws where no answer comes. */
export type ApiReader = (
  path: string,
  timeoutMs: number,
  signal?: AbortSignal,
  accept?: string,
) => Promise<ApiAnswer>;

/** A `kubectl get` in terms of the API: its one raw path, or the objects that it prints as JSON. */
export type ApiQuestion =
  | { readonly raw: string }
  | {
      readonly kinds: readonly Kind[];
      readonly namespace?: string;
      readonly name?: string;
      readonly mayLack: boolean;
      readonly query: string;
    };

interface Kind {
  /** '' is the core group. */
  readonly group: string;
  readonly plural: string;
}

/** The short names that the lab uses, by kubectl's rules; any other kind is asked for as PLURAL.GROUP. */
const KINDS: Readonly<Record<string, Kind>> = {
  ...Object.fromEntries(
    ['configmaps', 'endpoints', 'namespaces', 'nodes', 'pods', 'services'].map((plural) => [
      plural,
      { group: '', plural },
    ]),
  ),
  configmap: { group: '', plural: 'configmaps' },
  endpointslices: { group: 'discovery.k8s.io', plural: 'endpointslices' },
};
const CLUSTER_WIDE = ['namespaces', 'nodes'];

/** What `kubectl get` asks for; undefined where only kubectl itself can tell. Pure. */
export function questionOf([verb, ...words]: readonly string[]): ApiQuestion | undefined {
  if (verb !== 'get') return undefined;
  if (words[0] === '--raw') return words.length === 2 && words[1] ? { raw: words[1] } : undefined;
  const names: string[] = [];
  const query = new URLSearchParams();
  let [namespace, everywhere, isJson, mayLack]: [string | undefined, boolean, boolean, boolean] = [
    undefined,
    false,
    false,
    false,
  ];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const value = () => words[++at] ?? '';
    if (word === '-n') namespace = value();
    else if (word === '-A' || word === '--all-namespaces') everywhere = true;
    else if (word === '--selector') query.set('labelSelector', value());
    else if (word === '--field-selector') query.set('fieldSelector', value());
    else if (word === '--ignore-not-found') mayLack = true;
    else if (word === '-o') isJson = value() === 'json';
    else if (word.startsWith('-')) return undefined;
    else names.push(word);
  }
  const [list = '', name, ...more] = names;
  const kinds = list.split(',').map(kindOf);
  const isKnown = kinds.every((kind) => kind !== undefined);
  if (!isJson || !isKnown || more.length > 0 || (name !== undefined && kinds.length > 1)) return undefined;
  const wide = kinds.filter(({ group, plural }) => group === '' && CLUSTER_WIDE.includes(plural));
  // Without either, kubectl takes the namespace of its configuration.
  if (everywhere ? namespace !== undefined : wide.length !== (namespace === undefined ? kinds.length : 0))
    return undefined;
  return {
    kinds,
    mayLack,
    query: query.size === 0 ? '' : `?${query}`,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
  };
}

function kindOf(word: string): Kind | undefined {
  const [, plural, group] = /^([a-z]+)\.([a-z0-9.-]+)$/.exec(word) ?? [];
  return plural === undefined || group === undefined ? KINDS[word] : { group, plural };
}

interface Listed {
  readonly kind: string;
  readonly apiVersion: string;
  readonly items: readonly { readonly metadata: object }[];
}

/** The answer that kubectl would print as JSON; undefined where it would print nothing. Throws where it would fail. */
export async function answerTo(
  { kinds, namespace, name, mayLack, query }: Exclude<ApiQuestion, { readonly raw: string }>,
  ask: (path: string) => Promise<ApiAnswer>,
): Promise<object | undefined> {
  const read = async (path: string): Promise<unknown> => {
    const { status, text } = await ask(path);
    if (status !== 200) throw new Error(`status ${status}`);
    return JSON.parse(text);
  };
  const pathOf = async ({ group, plural }: Kind): Promise<string> => {
    const served = group === '' ? undefined : ((await read(`/apis/${group}`)) as Group);
    const base = served === undefined ? '/api/v1' : `/apis/${served.preferredVersion.groupVersion}`;
    return `${base}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plural}`;
  };
  const paths = await Promise.all(kinds.map(pathOf));
  if (name !== undefined) {
    const { status, text } = await ask(`${paths[0]}/${name}`);
    if (status === 404 && mayLack) return undefined;
    if (status !== 200) throw new Error(`status ${status}`);
    return unmanaged(JSON.parse(text));
  }
  const lists = (await Promise.all(paths.map((path) => read(`${path}${query}`)))) as Listed[];
  // In a list of the API the objects do not say again what they are.
  const items = lists.flatMap(({ kind, apiVersion, items: objects }) =>
    objects.map((object) => ({ apiVersion, kind: kind.replace(/List$/, ''), ...unmanaged(object) })),
  );
  return { apiVersion: 'v1', kind: 'List', items };
}

interface Group {
  readonly preferredVersion: { readonly groupVersion: string };
}

/** Without what the API server notes of who wrote which field, as kubectl prints it since 1.21. */
function unmanaged<T extends { readonly metadata: object }>(object: T): T {
  return { ...object, metadata: { ...object.metadata, managedFields: undefined } };
}
