import { basename, join } from 'node:path';
import type { ArtifactFolder } from '../artifacts/ensure.ts';
import type { RemoteMachine } from '../exec/ssh.ts';
import { isNode } from '../plan/addressing.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { imagesOf, packagesOf, renderNetworkFiles, renderRuntimeFiles } from '../render/software.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { ensureUnits } from './units.ts';

/** What a plain machine needs to become a Kubernetes node. */
export interface NodeSoftware {
  /** kubelet and kubeadm. */
  readonly kubernetes: ArtifactFolder;
  /** Archives of container images, named after them. */
  readonly containerImages: ArtifactFolder;
}

const APPLIED_DIR = '/var/lib/lab/applied';
/** The packages that labup has installed, one per line, for whoever wants them away again (lab-remove). */
const INSTALLED = '/var/lib/lab/installed-packages';
/** All packages that were there before the first of those, one per line: others that came with them can be told. */
const BEFORE = '/var/lib/lab/packages-before';

/**
 * Makes a plain machine what one of the lab's own image is: packages, network settings, and on Kubernetes nodes container
 * runtime, binaries and container images. Looks first and does only what is missing; returns whether anything was.
 */
export async function ensureSoftware(
  machine: RemoteMachine,
  plan: LabPlan,
  planned: MachinePlan,
  software: NodeSoftware,
  emit: Emit,
): Promise<boolean> {
  const packages = await ensurePackages(machine, packagesOf(planned), emit);
  const network = await ensureUnits(machine, renderNetworkFiles(plan, planned), ['lab-network.service']);
  if (!isNode(planned)) return packages || network;
  const runtime = await ensureUnits(machine, renderRuntimeFiles(), ['containerd.service']);
  const binaries = await ensureBinaries(machine, software.kubernetes, emit);
  const images = await ensureImages(machine, imagesOf(planned), software.containerImages, emit);
  return packages || network || runtime || binaries || images;
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query(1) writes its fields like this.
const PACKAGE_NAME = '${Package}\n';
// biome-ignore lint/suspicious/noTemplateCurlyInString: as above.
const PACKAGE_LINE = '${Package} ${db:Status-Status}\n';

async function ensurePackages(
  machine: RemoteMachine,
  wanted: readonly string[],
  emit: Emit,
): Promise<boolean> {
  const query = ['dpkg-query', '--show', '--showformat', PACKAGE_LINE, ...wanted];
  // 1: one of them is not even known to dpkg.
  const { stdout } = await machine.run(query, { okCodes: [0, 1], timeoutMs: TIMEOUTS.command });
  const there = new Set(stdout.split('\n').flatMap((line) => /^(\S+) installed$/.exec(line)?.[1] ?? []));
  const missing = wanted.filter((name) => !there.has(name));
  if (missing.length === 0) return false;
  const onLine = (line: string) => {
    if (line.trim() !== '') emit({ type: 'note', text: `${machine.name}: ${line.slice(0, 100)}` });
  };
  const options = { timeoutMs: TIMEOUTS.provision, env: { DEBIAN_FRONTEND: 'noninteractive' }, onLine };
  // Noted first: what a killed labup has begun to install is its doing too.
  await machine.run(['mkdir', '--parents', '/var/lib/lab']);
  const note = 'test -e "$0" || { dpkg-query --show --showformat "$1" > "$0.new" && mv "$0.new" "$0"; }';
  await machine.run(['sh', '-c', note, BEFORE, PACKAGE_NAME], { timeoutMs: TIMEOUTS.command });
  await machine.run(['tee', '--append', INSTALLED], { input: `${missing.join('\n')}\n` });
  await machine.run(['apt-get', 'update'], options);
  await machine.run(['apt-get', 'install', '--yes', '--no-install-recommends', ...missing], options);
  return true;
}

async function ensureBinaries(
  machine: RemoteMachine,
  { folder, key }: ArtifactFolder,
  emit: Emit,
): Promise<boolean> {
  return once(machine, 'kubernetes', key, async () => {
    for (const name of ['kubelet', 'kubeadm']) {
      emit({ type: 'note', text: `${machine.name}: ${name}` });
      // A running program cannot be written to, but its name can be given to another file.
      const script = 'cat > "$0.new" && chmod 755 "$0.new" && mv "$0.new" "$0"';
      const options = { inputFile: join(folder, name), timeoutMs: TIMEOUTS.provision };
      await machine.run(['sh', '-c', script, `/usr/bin/${name}`], options);
    }
  });
}

async function ensureImages(
  machine: RemoteMachine,
  names: readonly string[],
  { folder, key }: ArtifactFolder,
  emit: Emit,
): Promise<boolean> {
  return once(machine, 'container-images', key, async () => {
    for (const name of names) {
      const archive = join(folder, `${name}.tar`);
      emit({ type: 'note', text: `${machine.name}: ${basename(archive)}` });
      const argv = ['ctr', '--namespace', 'k8s.io', 'images', 'import', '-'];
      await machine.run(argv, { inputFile: archive, timeoutMs: TIMEOUTS.provision });
    }
  });
}

/** Does something once for every value of a key, which is noted on the machine when it is done. */
async function once(
  machine: RemoteMachine,
  what: string,
  key: string,
  work: () => Promise<void>,
): Promise<boolean> {
  const path = `${APPLIED_DIR}/${what}`;
  const { stdout } = await machine.run(['cat', path], { okCodes: [0, 1] });
  if (stdout.trim() === key) return false;
  await work();
  await machine.writeFiles([{ path, content: `${key}\n` }]);
  return true;
}
