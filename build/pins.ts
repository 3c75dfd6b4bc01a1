import { createHash } from 'node:crypto';
import { type Document, isScalar, type Node, parseDocument, visit } from 'yaml';
import { z } from 'zod';
import { findChecksum } from '../scripts/artifacts/online/download.ts';
import { type HttpsClient, readAll } from '../scripts/artifacts/online/https.ts';
import { type Component, loadVersions, type PinnedImage } from '../scripts/artifacts/online/versions.ts';
import { messageOf, UserError } from '../scripts/shared/errors.ts';

/** Where the releases of each component are listed. */
const REPOSITORIES = {
  k3s: 'k3s-io/k3s',
  kubernetes: 'kubernetes/kubernetes',
  containerd: 'containerd/containerd',
  runc: 'opencontainers/runc',
  'cni-plugins': 'containernetworking/plugins',
  crictl: 'kubernetes-sigs/cri-tools',
  calico: 'projectcalico/calico',
} as const;
export type ComponentName = keyof typeof REPOSITORIES;
export const COMPONENTS = Object.keys(REPOSITORIES) as readonly ComponentName[];

/** Any list of platforms, or the one image: a digest is that of whichever the registry has under the tag. */
const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
/** No list, manifest of Calico's or page of releases is nearly as large. */
const MAX_BYTES = 2 ** 26;

/** A component, and the releases that are newer: the newest of the same minor version, and the newest. */
export interface Newer {
  readonly name: ComponentName;
  readonly version: string;
  readonly newer: readonly string[];
  /** Why its publisher could not be asked. */
  readonly problem?: string;
}

/** A file or image: what versions.yaml says of it, and what its publisher says. */
export interface Sum {
  readonly what: string;
  /** Of the sum in versions.yaml. */
  readonly path: readonly (string | number)[];
  readonly pinned: string | undefined;
  readonly published?: string;
  readonly problem?: string;
}

/**
 * Asks publishers for the releases that are newer than those of the text of a versions.yaml. Throws UserError where none of
 * them answers.
 */
export async function newerReleases(
  text: string,
  client: HttpsClient,
  signal: AbortSignal,
): Promise<readonly Newer[]> {
  const lock = loadVersions(text);
  const releases = z.array(z.object({ tag_name: z.string(), prerelease: z.boolean(), draft: z.boolean() }));
  const found = await Promise.all(
    COMPONENTS.map(async (name): Promise<Newer> => {
      const { version } = lock[name];
      try {
        const url = `https://api.github.com/repos/${REPOSITORIES[name]}/releases?per_page=100`;
        const listed = releases.parse(JSON.parse((await bodyOf(client, url, {}, signal)).toString()));
        const tags = listed.filter(({ prerelease, draft }) => !prerelease && !draft);
        return {
          name,
          version,
          newer: newerThan(
            version,
            tags.map((each) => each.tag_name),
          ),
        };
      } catch (error) {
        return { name, version, newer: [], problem: messageOf(error) };
      }
    }),
  );
  const problems = found.flatMap(({ problem }) => problem ?? []);
  if (problems.length === found.length)
    throw new UserError('No list of releases could be read, so nothing was compared.', {
      details: [...new Set(problems)],
      next: 'npm run pins   (where api.github.com can be reached; a proxy is taken from HTTPS_PROXY)',
    });
  return found;
}

/** Those of some tags that are worth moving to: the newest of the same minor version, and the newest of all. Pure. */
export function newerThan(version: string, tags: readonly string[]): readonly string[] {
  const sorted = tags.filter((tag) => compare(tag, version) > 0).sort(compare);
  const minor = /^v?\d+\.\d+\./.exec(version)?.[0] ?? version;
  const newest = [sorted.filter((tag) => tag.startsWith(minor)).at(-1), sorted.at(-1)];
  return [...new Set(newest.filter((tag) => tag !== undefined))];
}

// Negative for whatever is no release, like "v1.37.0-rc.1" or a tag of another series.
function compare(a: string, b: string): number {
  const numbers = (tag: string) =>
    /^v?(\d+)\.(\d+)\.(\d+)(?:\+k3s(\d+))?$/
      .exec(tag)
      ?.slice(1)
      .map((part = '0') => Number(part));
  const [left, right] = [numbers(a), numbers(b)];
  if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
  const index = left.findIndex((part, place) => part !== right[place]);
  return (left[index] ?? 0) - (right[index] ?? 0);
}

/** Asks publishers for the sum of every file and image that the text of a versions.yaml names, one after another. */
export async function publishedSums(
  text: string,
  client: HttpsClient,
  signal: AbortSignal,
): Promise<readonly Sum[]> {
  const lists = new Map<string, Promise<Buffer>>();
  const once = (url: string) => {
    const list = lists.get(url) ?? bodyOf(client, url, {}, signal);
    lists.set(url, list);
    return list;
  };
  const sums: Sum[] = [];
  for (const { what, path, ask, ...pin } of pinsOf(text)) {
    const pinned = pin.pinned?.endsWith(UNKNOWN_SUM) ? undefined : pin.pinned;
    try {
      sums.push({ what, path, pinned, published: await ask(once, client, signal) });
    } catch (error) {
      sums.push({ what, path, pinned, problem: messageOf(error) });
    }
  }
  return sums;
}

interface Pin extends Pick<Sum, 'what' | 'path' | 'pinned'> {
  readonly ask: (
    once: (url: string) => Promise<Buffer>,
    client: HttpsClient,
    signal: AbortSignal,
  ) => Promise<string>;
}

function pinsOf(text: string): readonly Pin[] {
  const { calico, ...lock } = loadVersions(text);
  const parts: [path: string[], part: Pick<Component, 'files' | 'images'>][] = [
    ...COMPONENTS.flatMap((name): typeof parts => (name === 'calico' ? [] : [[[name], lock[name]]])),
    [['calico', 'methods', 'manifest'], calico.methods.manifest],
    [['calico', 'methods', 'operator'], calico.methods.operator],
  ];
  return parts.flatMap(([path, { files, images }]) => [
    ...files.flatMap((file, index) =>
      Object.entries(file.downloads).map(
        ([platform, { url, sha256, checksums }]): Pin => ({
          what: `${file.path} ${platform}`,
          path: [...path, 'files', index, 'downloads', platform, 'sha256'],
          pinned: sha256,
          ask: async (once) => {
            if (checksums === undefined) return sha256Of(await once(url));
            const sum = findChecksum((await once(checksums.url)).toString(), checksums.name);
            if (sum === undefined) throw new Error(`${checksums.url} does not name it`);
            return sum;
          },
        }),
      ),
    ),
    ...images.map(
      (image, index): Pin => ({
        what: `${image.name}:${image.tag}`,
        path: [...path, 'images', index, 'digest'],
        pinned: image.digest,
        ask: async (_, client, signal) => {
          const manifest = await bodyOf(client, manifestUrl(image), { accept: MANIFEST_TYPES }, signal);
          return `sha256:${sha256Of(manifest)}`;
        },
      }),
    ),
  ]);
}

function manifestUrl({ name, tag }: PinnedImage): string {
  const [registry, ...path] = name.split('/');
  return `https://${registry}/v2/${path.join('/')}/manifests/${tag}`;
}

function bodyOf(
  client: HttpsClient,
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Buffer> {
  return readAll(client, url, MAX_BYTES, signal, { 'user-agent': 'k8s-bgp-lab', ...headers });
}

function sha256Of(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Stands for the sum of a file of another version until its publisher was asked. */
export const UNKNOWN_SUM = '0'.repeat(64);

/**
 * The text of a versions.yaml with one component at another version: in every URL and tag below it, and with UNKNOWN_SUM
 * in place of the old sums and digests. Comments stay. Pure.
 */
export function movePin(text: string, name: ComponentName, version: string): string {
  const document = parseDocument(text);
  const [old, bare] = [loadVersions(text)[name].version, version].map((each) => each.replace(/^v/, ''));
  const moved = (value: string) =>
    value
      .replaceAll(old ?? '', bare ?? '')
      .replaceAll(encodeURIComponent(old ?? ''), encodeURIComponent(bare ?? ''));
  visit(document.get(name) as Node, {
    Map(_, map) {
      const before = JSON.stringify(map);
      for (const { value } of map.items)
        if (isScalar(value) && typeof value.value === 'string') value.value = moved(value.value);
      if (JSON.stringify(map) === before) return;
      if (map.has('sha256')) map.set('sha256', UNKNOWN_SUM);
      if (map.has('digest')) map.set('digest', `sha256:${UNKNOWN_SUM}`);
    },
  });
  return write(document);
}

/** The text of a versions.yaml with those published sums that it lacks; one that it has is never replaced. Pure. */
export function addSums(text: string, sums: readonly Sum[]): string {
  const document = parseDocument(text);
  for (const { path, pinned, published } of sums) {
    if (pinned !== undefined || published === undefined) continue;
    const value = document.createNode(published);
    value.comment = ' [publisher]';
    document.setIn(path, value);
  }
  return write(document);
}

function write(document: Document): string {
  return document.toString({ lineWidth: 0 });
}
