import type { RemoteMachine } from '../exec/ssh.ts';
import { putFile } from '../machines/deliver.ts';
import type { SoftwareFile } from '../plan/software.ts';
import { LabFailure, UserError } from '../shared/errors.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { kubernetesMinor } from '../shared/versions.ts';

/** The container runtime of one node. */
export interface Containerd {
  readonly major: number;
  readonly minor: number;
  /** Its own client program. */
  readonly ctr: string;
}

/**
 * Which containerd a node has, by what `containerd --version` says: "containerd github.com/containerd/containerd 1.6.20~ds1
 * 1.6.20~ds1-1+b1" is Debian's, ".../containerd/v2 v2.2.1 dea7da592f5d" is upstream's. Throws LabFailure where it has none.
 */
export function containerdOf(machine: string, version: string, isBrought: boolean): Containerd {
  const [, major, minor] = / v?(\d+)\.(\d+)\.\d/.exec(version) ?? [];
  if (major === undefined || minor === undefined)
    throw new LabFailure(`${machine} has no containerd.`, {
      details: [`containerd --version: ${version === '' ? 'no such program' : version}`],
      next: `npx lab exec ${machine} -- containerd --version`,
    });
  return { major: Number(major), minor: Number(minor), ctr: isBrought ? '/usr/local/bin/ctr' : 'ctr' };
}

/** Throws UserError where the runtime is too old for the cluster: kubelet 1.36 speaks to containerd 2 and later only. */
export function checkContainerd(machine: string, { major, minor }: Containerd, kubernetes: string): void {
  if (kubernetesMinor(kubernetes) < 36 || major >= 2) return;
  throw new UserError(`Kubernetes ${kubernetes} needs containerd 2, and ${machine} has ${major}.${minor}.`, {
    details: ['the bundle has no file of role containerd, so the one of the machine would be used'],
    next: 'add a release of containerd and runc to the bundle (roles containerd and runc), or take Kubernetes 1.35',
  });
}

// $0 is the compressed archive, $1 the program that unpacks it, $2 ctr. A plain file between: sh has no way to see that
// the first part of a pipe failed.
const IMPORT_UNPACKED = `
set -eu
trap 'rm -f "$0" "$0.tar"' EXIT
if ! command -v "$1" >/dev/null; then echo "no program $1" >&2; exit 69; fi
"$1" --decompress --stdout "$0" > "$0.tar"
"$2" --namespace k8s.io images import "$0.tar"
`;

/**
 * Imports the images of an archive (docker-archive or OCI, plain or compressed) where kubelet finds them. containerd 1.7
 * and later unpack it themselves; for an older one the node does. Throws UserError where it has no program for that.
 */
export async function importImage(
  machine: RemoteMachine,
  { major, minor, ctr }: Containerd,
  file: SoftwareFile,
): Promise<void> {
  const program = /\.(gz|tgz)$/.test(file.path) ? 'gzip' : /\.zst$/.test(file.path) ? 'zstd' : undefined;
  const options = { timeoutMs: TIMEOUTS.provision };
  if (program === undefined || major > 1 || minor >= 7) {
    const argv = [ctr, '--namespace', 'k8s.io', 'images', 'import', '-'];
    await machine.run(argv, { ...options, inputFile: file.path });
    return;
  }
  const archive = '/var/lib/lab/image';
  await putFile(machine, file, archive);
  const { exitCode } = await machine.run(['sh', '-c', IMPORT_UNPACKED, archive, program, ctr], {
    ...options,
    okCodes: [0, 69],
  });
  if (exitCode === 69)
    throw new UserError(`${machine.name} cannot unpack ${file.path}.`, {
      details: [`its containerd is ${major}.${minor}, which cannot do it, and it has no ${program}`],
      next: `install ${program} there, or put the archive into the bundle unpacked`,
    });
}

/** The images that a node lacks of those that it needs, by their full names. */
export async function missingImages(
  machine: RemoteMachine,
  { ctr }: Containerd,
  needed: readonly string[],
): Promise<readonly string[]> {
  const argv = [ctr, '--namespace', 'k8s.io', 'images', 'list', '--quiet'];
  const { stdout } = await machine.run(argv, { timeoutMs: TIMEOUTS.command });
  const there = new Set(stdout.split('\n'));
  return needed.filter((name) => !there.has(name));
}
