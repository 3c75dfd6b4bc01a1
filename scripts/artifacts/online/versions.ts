import { parse } from 'yaml';
import { z } from 'zod';
import {
  FILE_ROLES,
  type FileRole,
  NODE_ROLES,
  type NodeRole,
  type SoftwareFacts,
} from '../../plan/software.ts';
import { readAsset } from '../../shared/files.ts';
import type { DistributionName } from '../../spec/types.ts';
import type { Download } from './download.ts';
import type { ImageWanted } from './images.ts';

/** What a file is for: any machine, or one system and architecture (Go's names, which are Debian's here). */
export const PLATFORMS = ['any', 'linux/amd64', 'linux/arm64', 'darwin/amd64', 'darwin/arm64'] as const;
export type Platform = (typeof PLATFORMS)[number];

// A name that may mean something else tomorrow pins nothing.
const FLOATING = /(^|[/:@-])(latest|stable|edge|nightly|main|master|release-v?\d+\.\d+)([/:.]|$)/;
const fixed = (what: string) => (value: string) => !FLOATING.test(value) || `${what} names no single version`;
const refine = (schema: z.ZodString, check: (value: string) => true | string) =>
  schema.superRefine((value, context) => {
    const problem = check(value);
    if (problem !== true) context.addIssue({ code: 'custom', message: problem });
  });

const url = refine(z.string().regex(/^https:\/\/[^\s/]+\/\S+$/, 'must be an https:// URL'), fixed('the URL'));
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits');
const version = z.string().regex(/^v?\d+\.\d+\.\d+(-\d+)?(\+[0-9a-z]+)?$/, 'must be one exact version');

const download = z
  .strictObject({
    url,
    sha256: sha256.optional(),
    /** The publisher's list: its URL, and this file's name in it where the list has names. */
    checksums: z.strictObject({ url, name: z.string().min(1).optional() }).optional(),
  })
  .refine((each) => each.sha256 !== undefined || each.checksums !== undefined, {
    message: 'needs a sha256, or the checksums of its publisher',
  });

const file = z.strictObject({
  role: z.enum(FILE_ROLES),
  /** In a bundle's folder. */
  path: z.string().regex(/^[a-z0-9][\w.-]*(\/[a-z0-9][\w.-]*)*$/i, 'must be a relative path'),
  downloads: z.partialRecord(z.enum(PLATFORMS), download),
});

const image = z.strictObject({
  /** With its registry: nothing is looked for on Docker Hub because a name was short. */
  name: z
    .string()
    .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(\/[a-z0-9._-]+)+$/, 'must be a full name with registry'),
  tag: refine(z.string().regex(/^[\w][\w.-]*\d[\w.-]*$/, 'must be one exact tag'), fixed('the tag')),
  digest: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits')
    .optional(),
  /** Default: every Kubernetes node. */
  nodes: z
    .array(z.enum(NODE_ROLES))
    .min(1)
    .default([...NODE_ROLES]),
});

const content = { files: z.array(file).default([]), images: z.array(image).default([]) };
const component = z.strictObject({ version, ...content });

const schema = z
  .strictObject({
    schemaVersion: z.literal(1),
    k3s: component.extend({
      /** The images that a lab runs of those in its archive, which k3s itself names. */
      runs: z.array(
        z.string().regex(/^[a-z0-9.-]+(\/[a-z0-9._-]+)+:[\w.-]+$/, 'must be a full name with tag'),
      ),
    }),
    kubernetes: component,
    containerd: component,
    runc: component,
    'cni-plugins': component,
    crictl: component,
    calico: z.strictObject({
      version,
      method: z.enum(['manifest', 'operator']),
      methods: z.strictObject({ manifest: z.strictObject(content), operator: z.strictObject(content) }),
    }),
    debian: z.strictObject({
      suite: z.string().min(1),
      packages: z.record(z.string(), z.string().regex(/^\d+\.\d+(\.\d+)?$/, 'must be an exact version')),
    }),
  })
  .superRefine(({ schemaVersion, calico, debian, ...components }, context) => {
    const all = { ...components, calico: { version: calico.version, files: calicoFiles(calico.methods) } };
    for (const [name, { version: wanted, files }] of Object.entries(all)) {
      for (const each of files.flatMap(({ downloads }) => Object.values(downloads))) {
        for (const where of [each.url, each.checksums?.url ?? each.url]) {
          if (decodeURIComponent(where).includes(wanted.replace(/^v/, ''))) continue;
          context.addIssue({ code: 'custom', path: [name], message: `${where} is not of version ${wanted}` });
        }
      }
    }
  });

/** Everything that is downloaded, pinned: versions.yaml. */
export type Versions = z.infer<typeof schema>;
export type Component = z.infer<typeof component>;
export type PinnedFile = z.infer<typeof file>;
export type PinnedImage = z.infer<typeof image>;

/** Reads the lock that ships with the lab. It is part of the program: a mistake in it is a bug, and throws as one. */
export function loadVersions(text: string = readAsset('versions.yaml')): Versions {
  const parsed = schema.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new Error(`versions.yaml is not a valid lock:\n${z.prettifyError(parsed.error)}`);
}

function calicoFiles(methods: { readonly [name: string]: { readonly files: PinnedFile[] } }): PinnedFile[] {
  return Object.values(methods).flatMap(({ files }) => files);
}

/** Debian's names, which are Go's. */
export type Architecture = 'amd64' | 'arm64';

/** Where one file of a lab comes from. */
export type Source =
  | { readonly kind: 'download'; readonly download: Download }
  | { readonly kind: 'image'; readonly image: ImageWanted };

/** One file of a lab that is had from its publisher. */
export interface OnlineFile {
  readonly role: FileRole;
  /** In a bundle's folder. */
  readonly path: string;
  readonly version: string;
  readonly nodes: readonly NodeRole[];
  /** kubectl only: the host's, as Go calls it. */
  readonly platform?: Platform;
  readonly source: Source;
}

export interface OnlineChoice {
  readonly distribution: DistributionName;
  readonly architecture: Architecture;
  /** Where labup runs, and so kubectl; default: Linux of the lab's architecture. */
  readonly hostPlatform?: Platform | undefined;
  /** How Calico is installed; default: as versions.yaml says. */
  readonly calicoMethod?: Versions['calico']['method'] | undefined;
}

const PROGRAMS: readonly FileRole[] = ['k3s', 'kubelet', 'kubeadm', 'kubectl', 'runc'];

/** Every file that a lab of this distribution and architecture needs from outside, from the lock alone. */
export function onlineFiles(lock: Versions, choice: OnlineChoice): readonly OnlineFile[] {
  const { distribution, architecture, calicoMethod = lock.calico.method } = choice;
  const machine: Platform = `linux/${architecture}`;
  const host = choice.hostPlatform ?? machine;
  const calico: Component = { version: lock.calico.version, ...lock.calico.methods[calicoMethod] };
  const whole = (component: Component) => [
    ...component.files.map((file) => pinnedFile(component, file, file.role === 'kubectl' ? host : machine)),
    ...component.images.map((image) => pinnedImage(image, architecture)),
  ];
  if (distribution === 'kubeadm') {
    const { kubernetes, containerd, runc, crictl } = lock;
    return [kubernetes, containerd, runc, lock['cni-plugins'], crictl, calico].flatMap(whole);
  }
  // k3s has a containerd, runc and crictl in it, and is a kubectl too, but only where it can run.
  const kubectl = whole(lock.kubernetes).filter(({ role }) => role === 'kubectl' && host !== machine);
  return [...whole(lock.k3s), ...kubectl, ...whole(calico)];
}

/** What a plan has to know of the software of the lock. */
export function onlineFacts(lock: Versions, distribution: DistributionName): SoftwareFacts {
  const { k3s, kubernetes, calico } = lock;
  const { version } = distribution === 'k3s' ? k3s : kubernetes;
  return { distribution, cni: 'calico', versions: { kubernetes: version, calico: calico.version } };
}

function pinnedFile(
  { version }: Component,
  { role, path, downloads }: PinnedFile,
  platform: Platform,
): OnlineFile {
  const pinned = downloads[platform] ?? downloads.any;
  if (pinned === undefined) throw new Error(`versions.yaml has no ${path} for ${platform}`);
  const name = path.split('/').at(-1) ?? path;
  const download: Download = { ...pinned, name, version, executable: PROGRAMS.includes(role) };
  const source: Source = { kind: 'download', download };
  const file = { role, path, version, nodes: [...NODE_ROLES], source };
  return role === 'kubectl' ? { ...file, platform } : file;
}

function pinnedImage({ name, tag, digest, nodes }: PinnedImage, architecture: Architecture): OnlineFile {
  return {
    role: 'image-archive',
    path: `images/${name.split('/').slice(1).join('_')}.tar`,
    version: tag,
    nodes,
    source: { kind: 'image', image: { name, tag, digest, architecture } },
  };
}
