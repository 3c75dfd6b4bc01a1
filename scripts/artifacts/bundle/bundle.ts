import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { FILE_ROLES, NODE_ROLES, type Software } from '../../plan/software.ts';
import { UserError } from '../../shared/errors.ts';

/** The version of bundle.yaml that this release reads and writes. */
export const BUNDLE_VERSION = 1;
/** What a folder must hold to be a bundle. */
export const BUNDLE_FILE = 'bundle.yaml';

const VERSION_HINT = 'like "v1.36.2" or "v1.36.2+k3s1"';
const version = z.string().regex(/^v\d+\.\d+\.\d+[-+.\w]*$/, `not a version ${VERSION_HINT}`);

/** Below the bundle's folder, so that carrying the folder carries every file. */
const relativePath = z
  .string()
  .min(1)
  .refine(
    (path) => !path.startsWith('/') && path.split('/').every((part) => !['', '.', '..'].includes(part)),
    {
      message: 'not a path below the bundle, without "." and ".."',
    },
  );

const fileSchema = z.strictObject({
  path: relativePath,
  role: z.enum(FILE_ROLES),
  version: z.string().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'not 64 lower-case hex digits'),
  nodes: z
    .array(z.enum(NODE_ROLES))
    .min(1)
    .default([...NODE_ROLES]),
  inMachineImage: z.boolean().default(false),
  platform: z
    .string()
    .regex(/^(linux|darwin)\/(amd64|arm64)$/, 'not a platform like "linux/amd64"')
    .optional(),
});

const manifestSchema = z
  .strictObject({
    schemaVersion: z.literal(BUNDLE_VERSION),
    architecture: z.enum(['amd64', 'arm64']),
    distribution: z.enum(['k3s', 'kubeadm']),
    cni: z.enum(['calico', 'bird']),
    versions: z.strictObject({ kubernetes: version, calico: version.optional() }),
    files: z.array(fileSchema).min(1),
  })
  .superRefine(({ files, cni, versions }, context) => {
    const seen = new Set<string>();
    files.forEach(({ path, role, platform }, index) => {
      const complain = (key: string, message: string) =>
        context.addIssue({ code: 'custom', path: ['files', index, key], message });
      if (seen.has(path)) complain('path', `${path} is listed twice`);
      if (path === BUNDLE_FILE) complain('path', `${BUNDLE_FILE} lists the others, not itself`);
      if (platform !== undefined && role !== 'kubectl') complain('platform', 'only a kubectl has one');
      seen.add(path);
    });
    if ((cni === 'calico') !== (versions.calico !== undefined))
      context.addIssue({
        code: 'custom',
        path: ['versions', 'calico'],
        message: 'given exactly where cni is calico',
      });
  });

/** bundle.yaml, checked; docs/bundle.md describes it. */
export type BundleManifest = z.output<typeof manifestSchema>;
export type BundleFile = BundleManifest['files'][number];

/** Reads the text of a bundle.yaml. `where` is its path. Throws UserError that names everything that is wrong with it. */
export function parseBundle(text: string, where: string): BundleManifest {
  const document = parseDocument(text);
  const [broken] = document.errors;
  if (broken !== undefined) throw bundleError(where, [broken.message.split('\n')[0] ?? '']);
  const result = manifestSchema.safeParse(document.toJS());
  if (result.success) return result.data;
  throw bundleError(
    where,
    result.error.issues.map(({ path, message }) => `${path.join('.') || 'the document'}: ${message}`),
  );
}

function bundleError(where: string, details: readonly string[]): UserError {
  return new UserError(`${where} does not describe a bundle.`, {
    details,
    next: 'Correct it as docs/bundle.md describes, or make it again: npx lab bundle create --from online DIR',
  });
}

/** A folder with a bundle.yaml; whether its files are as that says is another question (check.ts). */
export interface Bundle {
  /** Absolute. */
  readonly folder: string;
  readonly manifest: BundleManifest;
}

/** Reads a bundle's description. Throws UserError where there is none, or it is wrong. */
export function readBundle(folder: string): Bundle {
  const absolute = resolve(folder);
  const path = join(absolute, BUNDLE_FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    throw new UserError(`${absolute} is no bundle: there is no ${BUNDLE_FILE} in it.`, {
      details: ['A bundle that is still being made has none either: it is written last.'],
      next: `npx lab bundle create --from online ${folder}   (or --from debian)`,
      cause: error,
    });
  }
  return { folder: absolute, manifest: parseBundle(text, path) };
}

/** What a bundle holds, as labup's steps take it. Check its files first. */
export function softwareOf({ folder, manifest }: Bundle): Software {
  const { distribution, cni, versions, files } = manifest;
  return {
    distribution,
    cni,
    versions,
    files: files.map((file) => ({ ...file, path: join(folder, file.path) })),
  };
}
