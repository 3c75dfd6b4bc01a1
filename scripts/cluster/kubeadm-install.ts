import { basename } from 'node:path';
import type { RemoteMachine } from '../exec/ssh.ts';
import {
  ensureUnits,
  lookAtNode,
  missingFrom,
  type NodeLook,
  oncePerContent,
  putFile,
  putProgram,
} from '../machines/deliver.ts';
import { type FileRole, filesFor, type Software, type SoftwareFile } from '../plan/software.ts';
import type { MachinePlan } from '../plan/types.ts';
import { kubeadmApi } from '../render/kubeadm.ts';
import { IMAGE_RUNTIME, renderRuntimeFiles } from '../render/runtime.ts';
import { UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { type Containerd, checkContainerd, containerdOf, importImage, missingImages } from './containerd.ts';

const PROGRAM_ROLES: readonly FileRole[] = ['kubelet', 'kubeadm'];
const TOOL_ROLES: readonly FileRole[] = ['containerd', 'runc', 'crictl', 'cni-plugins'];
const IMAGE_ROLES: readonly FileRole[] = ['image-archive', 'echo-image'];

const DEBS = '/var/lib/lab/debs';

// $0 is the folder, the rest are files in it: others may be left there of a labup that was killed. Names are noted before
// they are installed, for lab-remove. All in one call: they need each other.
const INSTALL_DEBS = `
set -eu
cd "$0"
for deb in "$@"; do dpkg-deb --field "$deb" Package; done >> /var/lib/lab/installed-packages
dpkg --install --force-confdef --force-confold "$@"
rm -r "$0"
`;

/**
 * kubelet, kubeadm, container runtime and container images on a node. What the machine's image has already is left as it
 * is; where it has everything, one look is all that happens. Throws UserError where the software cannot make such a node.
 */
export async function installKubeadm(
  machine: RemoteMachine,
  node: MachinePlan,
  software: Software,
  emit: Emit,
): Promise<boolean> {
  const all = filesFor(software, node, ...PROGRAM_ROLES, 'deb', ...TOOL_ROLES, ...IMAGE_ROLES);
  if (all.length === 0) return false;
  const look = await lookAtNode(machine);
  const files = missingFrom(look, all);
  if (files.length === 0) return false;
  const of = (roles: readonly FileRole[]) => files.filter(({ role }) => roles.includes(role));
  const once = (what: string, which: readonly SoftwareFile[], work: (file: SoftwareFile) => Promise<void>) =>
    oncePerContent(machine, look, what, which, work, emit);
  const place = (file: SoftwareFile) => putProgram(machine, file);

  const tools = await once('container-tools', of(TOOL_ROLES), place);
  const debs = await ensureDebs(machine, look, of(['deb']), emit);
  const programs = await once('kubernetes', of(PROGRAM_ROLES), place);

  const isBrought = of(['containerd']).length > 0;
  const { containerd: version, cgroupDriver } = tools ? await lookAtNode(machine) : look;
  const containerd = containerdOf(machine.name, version, isBrought);
  checkContainerd(machine.name, containerd, software.versions.kubernetes);
  const needed = await imagesOfKubeadm(machine, node, software);
  const runtimeFiles = renderRuntimeFiles({
    containerdMajor: containerd.major,
    sandboxImage: needed.find((name) => /\/pause:/.test(name)) ?? IMAGE_RUNTIME.sandboxImage,
    cgroupDriver: needed.length === 0 ? IMAGE_RUNTIME.cgroupDriver : cgroupDriver,
    cni: software.cni,
    isBrought,
  });
  const runtime = await ensureUnits(machine, runtimeFiles, ['containerd.service']);

  // The machine image has dropped the layers of its images once they were unpacked; another containerd than its own may
  // take them for incomplete.
  const archives = (isBrought ? all : files).filter(({ role }) => IMAGE_ROLES.includes(role));
  const importing = (file: SoftwareFile) => importImage(machine, containerd, file);
  const images = await oncePerContent(machine, look, 'container-images', archives, importing, emit, () =>
    checkImages(machine, containerd, software, needed),
  );
  return tools || debs || programs || runtime || images;
}

function ensureDebs(
  machine: RemoteMachine,
  look: NodeLook,
  files: readonly SoftwareFile[],
  emit: Emit,
): Promise<boolean> {
  const copy = (file: SoftwareFile) => putFile(machine, file, `${DEBS}/${basename(file.path)}`);
  const names = files.map(({ path }) => `./${basename(path)}`);
  return oncePerContent(machine, look, 'kubernetes-packages', files, copy, emit, async () => {
    const options = { timeoutMs: TIMEOUTS.provision, env: { DEBIAN_FRONTEND: 'noninteractive' } };
    await machine.run(['sh', '-c', INSTALL_DEBS, DEBS, ...names], options);
  });
}

/**
 * The images that this node will run of those that kubeadm itself names for its version, such as
 * "registry.k8s.io/pause:3.10.2". None for the 1.20 that the lab builds: its image names are the lab's own.
 */
async function imagesOfKubeadm(
  machine: RemoteMachine,
  { role }: MachinePlan,
  { versions }: Software,
): Promise<readonly string[]> {
  if (kubeadmApi(versions.kubernetes) === 'v1beta2') return [];
  // With a version it asks nobody for the newest one.
  const argv = ['kubeadm', 'config', 'images', 'list', '--kubernetes-version', versions.kubernetes];
  const { stdout } = await machine.run(argv, { timeoutMs: TIMEOUTS.command });
  const names = stdout.split('\n').filter((line) => /^\S+\/\S+:\S+$/.test(line));
  return role === 'control-plane'
    ? names
    : names.filter((name) => /\/(pause|kube-proxy|coredns):/.test(name));
}

async function checkImages(
  machine: RemoteMachine,
  containerd: Containerd,
  { versions }: Software,
  needed: readonly string[],
): Promise<void> {
  const missing = await missingImages(machine, containerd, needed);
  if (missing.length === 0) return;
  throw new UserError(
    `${machine.name} lacks container images that Kubernetes ${versions.kubernetes} needs, and no machine pulls any.`,
    {
      details: missing.map((name) => `no archive of the bundle has ${name}`),
      next: 'add them to the bundle as files of role image-archive, and run labup again',
    },
  );
}
