import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Header } from 'tar';
import { stringify } from 'yaml';
import { debianArchitecture } from '../../scripts/artifacts/debian.ts';
import type { FileRole } from '../../scripts/plan/software.ts';

/** A tar file with these files in it. */
export function tarOf(files: Readonly<Record<string, string>>): Buffer {
  const blocks = Object.entries(files).flatMap(([path, content]) => {
    const header = Buffer.alloc(512);
    new Header({ path, size: Buffer.byteLength(content), mode: 0o644, type: 'File' }).encode(header, 0);
    const body = Buffer.from(content);
    return [header, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** A docker-archive of images without layers, as `docker save` orders it: manifest.json last. */
export function dockerArchive(names: readonly string[], architecture: string = debianArchitecture()): Buffer {
  const configs = Object.fromEntries(
    names.map((name, index) => [`${index}.json`, JSON.stringify({ architecture, os: 'linux', name })]),
  );
  const manifest = names.map((name, index) => ({ Config: `${index}.json`, RepoTags: [name], Layers: [] }));
  return tarOf({ ...configs, layer: '[no JSON', 'manifest.json': JSON.stringify(manifest) });
}

/** An OCI layout of one image, whose list of platforms promises more architectures than are there. */
export function ociArchive(
  annotations: Readonly<Record<string, string>>,
  architectures: readonly string[],
  promised: readonly string[] = [],
): Buffer {
  const blobs: Record<string, string> = {};
  const blob = (content: object) => {
    const text = JSON.stringify(content);
    const sum = createHash('sha256').update(text).digest('hex');
    blobs[`blobs/sha256/${sum}`] = text;
    return { digest: `sha256:${sum}`, size: text.length };
  };
  const manifests = architectures.map((architecture) => ({
    ...blob({ schemaVersion: 2, config: blob({ architecture, os: 'linux' }), layers: [] }),
    platform: { os: 'linux', architecture },
  }));
  const absent = promised.map((architecture) => ({
    digest: `sha256:${'0'.repeat(64)}`,
    platform: { os: 'linux', architecture },
  }));
  const list = blob({ schemaVersion: 2, manifests: [...manifests, ...absent] });
  const index = { schemaVersion: 2, manifests: [{ ...list, annotations }] };
  return tarOf({
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    ...blobs,
    'index.json': JSON.stringify(index),
  });
}

/** A file of a bundle that a test makes. */
export interface TestFile {
  readonly path: string;
  readonly role: FileRole;
  readonly content: string | Buffer;
  readonly nodes?: readonly string[];
}

/** Calico's manifest, as far as the lab reads it; the webhooks are left out of labs. */
export const CALICO_MANIFEST = [
  workload('DaemonSet', 'calico-node', ['quay.io/calico/cni:v3.32.1'], ['quay.io/calico/node:v3.32.1']),
  workload('Deployment', 'calico-kube-controllers', [], ['quay.io/calico/kube-controllers:v3.32.1']),
  workload('Deployment', 'calico-webhooks', [], ['quay.io/calico/webhooks:v3.32.1']),
].join('---\n');

/** Some workload of a manifest. */
export function workload(
  kind: string,
  name: string,
  initImages: readonly string[],
  images: readonly string[],
): string {
  const containers = (list: readonly string[]) => list.map((image) => ({ name, image }));
  const pod = { initContainers: containers(initImages), containers: containers(images) };
  return stringify({ kind, metadata: { name }, spec: { template: { spec: pod } } });
}

/** k3s with Calico, whole: the smallest bundle that makes a lab. k3s is a program that says how it was called. */
export const K3S_FILES: readonly TestFile[] = [
  { path: 'k3s', role: 'k3s', content: '#!/bin/sh\necho "$K3S_CONFIG_FILE: $*"\n' },
  {
    path: 'k3s-images.tar.gz',
    role: 'image-archive',
    content: gzipSync(
      dockerArchive(['rancher/mirrored-pause:3.10.2', 'rancher/mirrored-coredns-coredns:1.14.6']),
    ),
  },
  { path: 'calico.yaml', role: 'calico-manifest', content: CALICO_MANIFEST },
  {
    path: 'calico.tar',
    role: 'image-archive',
    content: dockerArchive(
      ['node', 'cni', 'kube-controllers'].map((name) => `quay.io/calico/${name}:v3.32.1`),
    ),
  },
];

/** Writes a bundle in place of whatever was there; by default one of k3s with Calico. */
export function writeBundle(
  folder: string,
  files: readonly TestFile[] = K3S_FILES,
  about: Readonly<Record<string, unknown>> = {},
): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const listed = files.map(({ content, ...file }) => {
    mkdirSync(dirname(join(folder, file.path)), { recursive: true });
    writeFileSync(join(folder, file.path), content);
    return { ...file, version: 'v1', sha256: createHash('sha256').update(content).digest('hex') };
  });
  const manifest = {
    schemaVersion: 1,
    architecture: debianArchitecture(),
    distribution: 'k3s',
    cni: 'calico',
    versions: { kubernetes: 'v1.36.3+k3s1', calico: 'v3.32.1' },
    files: listed,
    ...about,
  };
  writeFileSync(join(folder, 'bundle.yaml'), stringify(manifest));
}
