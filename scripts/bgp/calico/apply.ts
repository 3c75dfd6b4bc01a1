import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isApplied } from '../../cluster/applied.ts';
import type { ClusterContext } from '../../cluster/distribution.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { liveObjects, METADATA_ONLY, namesIn, type ObjectName } from '../../cluster/live-objects.ts';
import type { RunOptions } from '../../exec/executor.ts';
import { ifMissing, writeAtomic } from '../../shared/files.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';

/** Manifests as a file of this host, or as text that goes to standard input: a password is in no command line. */
export type Manifests = { readonly file: string } | { readonly text: string };

const GENERATIONS = 'U:.metadata.uid,G:.metadata.generation,R:.metadata.resourceVersion';

/**
 * Applies manifests server-side, which large ones need (a client-side apply keeps a copy in an annotation, which overflows
 * for CRDs and would show a secret in `kubectl describe`). Returns whether an object was made or changed. What every object
 * was after it is noted beside the kubeconfig: where they all are so still, the same manifests are not applied again.
 */
export async function applyServerSide(kubectl: Kubectl, manifests: Manifests): Promise<boolean> {
  const text = 'file' in manifests ? await readFile(manifests.file, 'utf8') : manifests.text;
  const key = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const note = join(dirname(kubectl.access.kubeconfig), 'applied', key);
  const names = namesIn(text);
  const before = await generations(kubectl, manifests, names);
  if (before.length > 0 && before.join('\n') === (await noted(note))) return false;
  const flags = ['--server-side', '--force-conflicts', '--field-manager', 'labup'];
  const [args, options] = sourceOf(manifests);
  await kubectl.run(['apply', ...flags, ...args], options);
  const after = await generations(kubectl, manifests, names);
  await writeAtomic(note, after.join('\n'));
  return before.length !== after.length || before.some((line) => !after.includes(line));
}

async function noted(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(ifMissing(undefined));
}

interface Versioned {
  readonly metadata: {
    readonly uid: string;
    readonly generation?: number;
    readonly resourceVersion: string;
  };
}

/** Each object with what changes when its wishes do: its generation, or its version where a kind has no generation. */
async function generations(
  kubectl: Kubectl,
  manifests: Manifests,
  names: readonly ObjectName[] | undefined,
): Promise<readonly string[]> {
  const live = names && (await liveObjects<Versioned>(kubectl, names, METADATA_ONLY));
  if (live !== undefined)
    return live.flatMap((each) => {
      if (each === undefined) return [];
      const { uid, generation, resourceVersion } = each.metadata;
      return `${uid} ${generation ?? resourceVersion}`;
    });
  const [args, options] = sourceOf(manifests);
  const flags = ['--ignore-not-found', '--no-headers', '--output', `custom-columns=${GENERATIONS}`];
  // 1: a kind that the cluster does not know yet.
  const { stdout } = await kubectl.run(['get', ...flags, ...args], { ...options, okCodes: [0, 1] });
  return stdout
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [uid = '', generation = '', version = ''] = line.trim().split(/\s+/);
      return `${uid} ${generation === '<none>' ? version : generation}`;
    });
}

function sourceOf(manifests: Manifests): readonly [readonly string[], RunOptions] {
  const options = { timeoutMs: TIMEOUTS.provision };
  return 'file' in manifests
    ? [['--filename', manifests.file], options]
    : [['--filename', '-'], { ...options, input: manifests.text }];
}

/**
 * Applies resources of Calico's own as soon as whoever serves and checks them is up. Returns whether one was made or
 * changed. Throws LabFailure with the API server's last answer.
 */
export async function applyWhenServed(
  kubectl: Kubectl,
  yaml: string,
  { emit, signal }: ClusterContext,
): Promise<boolean> {
  if (await isApplied(kubectl, yaml)) return false;
  let changed = false;
  return waitFor({
    what: "Calico's API to accept the lab's resources",
    timeoutMs: TIMEOUTS.cni,
    look: async () => {
      const said = await kubectl.run(['apply', '--filename', '-'], { input: yaml, okCodes: [0, 1] });
      const verdicts = said.stdout.split('\n').filter((line) => line !== '' && !line.endsWith(' unchanged'));
      for (const text of verdicts) emit({ type: 'note', text });
      changed ||= verdicts.length > 0;
      if (said.exitCode === 0) return { done: true, value: changed };
      return { done: false, why: said.stderr.trim().split('\n').at(-1) ?? 'refused' };
    },
    next: 'npx lab kubectl get pods -A -o wide   (the API of projectcalico.org is served by pods of Calico)',
    signal,
    emit,
  });
}
