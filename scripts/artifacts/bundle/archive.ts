import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { z } from 'zod';

/** One name of a container image in an archive, and the architectures that it is there for, in Go's names. */
export interface ArchivedImage {
  /** With registry and tag: "docker.io/rancher/mirrored-pause:3.10.2". */
  readonly name: string;
  readonly architectures: readonly string[];
}

/** Manifests and configurations are a few KiB; layers are not looked at. */
const MAX_DOCUMENT_BYTES = 2 ** 20;

/** manifest.json, as `docker save` and `skopeo copy ... docker-archive:` write it. */
const dockerManifest = z.array(z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish() }));
const platform = z.object({ architecture: z.string() });
const descriptor = z.object({
  digest: z.string(),
  platform: platform.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
/** index.json, and every list of platforms below it (OCI image specification). */
const ociIndex = z.object({ manifests: z.array(descriptor) });
const ociManifest = z.object({ config: descriptor });

/**
 * The container images of an archive (docker-archive or OCI layout in a tar file, plain, gzip or zstd) by its own
 * manifests, in one pass; a name may come twice. Throws an Error that says what is wrong with it where it is no such
 * archive.
 */
export async function readImageArchive(path: string): Promise<readonly ArchivedImage[]> {
  const documents = await readDocuments(path);
  const index = documents.get('index.json');
  const manifest = documents.get('manifest.json');
  if (index === undefined && manifest === undefined)
    throw new Error('it holds no container images: neither manifest.json nor index.json is in it');
  return [
    ...(manifest === undefined ? [] : dockerImages(manifest, documents)),
    ...(index === undefined ? [] : ociImages(index, documents)),
  ];
}

type Documents = ReadonlyMap<string, unknown>;

function dockerImages(manifest: unknown, documents: Documents): ArchivedImage[] {
  return parse(dockerManifest, manifest, 'manifest.json').flatMap(({ Config, RepoTags }) => {
    const { architecture } = parse(platform, documents.get(Config), Config);
    return (RepoTags ?? []).map((tag) => ({ name: fullImageName(tag), architectures: [architecture] }));
  });
}

function parse<T>(schema: z.ZodType<T>, document: unknown, name: string): T {
  const { data } = schema.safeParse(document);
  if (data === undefined) throw new Error(`${name} in it is missing or of another form`);
  return data;
}

function ociImages(index: unknown, documents: Documents): ArchivedImage[] {
  return parse(ociIndex, index, 'index.json').manifests.flatMap(({ annotations = {}, ...each }) => {
    // containerd takes its own annotation first, and the other one only where it is a whole name.
    const name = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
    if (name === undefined || !name.includes('/')) return [];
    return [{ name: fullImageName(name), architectures: ociArchitectures(each, documents) }];
  });
}

/** The architectures of which a manifest and configuration are there, whatever a list of platforms promises. */
function ociArchitectures({ digest }: z.output<typeof descriptor>, documents: Documents): string[] {
  const blob = (of: string) => documents.get(`blobs/${of.replace(':', '/')}`);
  const list = ociIndex.safeParse(blob(digest));
  if (list.success) return list.data.manifests.flatMap((each) => ociArchitectures(each, documents));
  const manifest = ociManifest.safeParse(blob(digest));
  const config = platform.safeParse(manifest.success ? blob(manifest.data.config.digest) : undefined);
  return config.success ? [config.data.architecture] : [];
}

/** A name as containerd writes it out: "rancher/mirrored-pause:3.6" is docker.io/rancher/mirrored-pause:3.6. */
export function fullImageName(name: string): string {
  const [first = '', ...rest] = name.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const withRegistry = hasRegistry ? name : `docker.io/${rest.length > 0 ? '' : 'library/'}${name}`;
  return /:[^/]+$/.test(withRegistry) ? withRegistry : `${withRegistry}:latest`;
}

/** The JSON documents of a tar file by their paths in it, wherever in it they stand. */
async function readDocuments(path: string): Promise<Documents> {
  const documents = new Map<string, unknown>();
  // Few commands read archives, and every labup would load it.
  const { Parser } = await import('tar');
  const parser = new Parser({ strict: true, gzip: false, zstd: false, brotli: false });
  const reading: Promise<void>[] = [];
  parser.on('entry', (entry) => {
    if (entry.type !== 'File' || entry.size > MAX_DOCUMENT_BYTES) return entry.resume();
    const keep = (content: Buffer) => {
      const document = jsonOf(content);
      if (document !== undefined) documents.set(entry.path.replace(/^\.\//, ''), document);
    };
    reading.push(entry.concat().then(keep));
  });
  const done = new Promise<void>((resolve, reject) => {
    parser.on('end', resolve);
    parser.on('error', reject);
  });
  const feeding = unpacked(path, await compressionOf(path), async (content) => {
    for await (const chunk of content) parser.write(chunk);
    parser.end();
  });
  await Promise.all([feeding, done]);
  await Promise.all(reading);
  return documents;
}

function jsonOf(content: Buffer): unknown {
  if (content[0] !== 0x7b && content[0] !== 0x5b) return undefined;
  try {
    return JSON.parse(content.toString());
  } catch {
    // A small layer or script that begins with a bracket.
    return undefined;
  }
}

type Compression = 'none' | 'gzip' | 'zstd';

/** By its first bytes, which names cannot belie. */
async function compressionOf(path: string): Promise<Compression> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    if (buffer.readUInt16BE() === 0x1f8b) return 'gzip';
    return buffer.readUInt32BE() === 0x28b52ffd ? 'zstd' : 'none';
  } finally {
    await file.close();
  }
}

function unpacked(
  path: string,
  compression: Compression,
  read: (content: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  const file = createReadStream(path, { highWaterMark: 2 ** 20 });
  if (compression === 'none') return pipeline(file, read);
  return pipeline(file, compression === 'gzip' ? zlib.createGunzip() : zstdDecompress(), read);
}

/** Node's own from 22.15 on; before that a library, which is about forty times slower. */
function zstdDecompress(): Transform | typeof slowZstd {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };
  return createZstdDecompress?.() ?? slowZstd;
}

async function* slowZstd(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks: Buffer[] = [];
  const { Decompress } = await import('fzstd');
  const decompress = new Decompress((chunk) => void chunks.push(Buffer.from(chunk)));
  for await (const chunk of content) {
    decompress.push(chunk);
    yield* chunks.splice(0);
  }
  decompress.push(new Uint8Array(), true);
  yield* chunks.splice(0);
}
