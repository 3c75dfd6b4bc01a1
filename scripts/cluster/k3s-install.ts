import type { RemoteMachine } from '../exec/ssh.ts';
import {
  BROUGHT,
  lookAtNode,
  missingFrom,
  oncePerContent,
  putFile,
  putProgram,
} from '../machines/deliver.ts';
import { filesFor, type Software, type SoftwareFile } from '../plan/software.ts';
import type { MachinePlan } from '../plan/types.ts';
import { K3S_IMAGES, k3sArchive } from '../render/k3s.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

// The names that k3s answers to as well, where no other program has them: as its installer does. A k3s that runs goes on
// with the program that it was started from.
const FINISH = `
set -eu
for name in kubectl crictl ctr; do
  if [ ! -e "/usr/local/bin/$name" ] && ! command -v "$name" >/dev/null; then
    echo "/usr/local/bin/$name" >> ${BROUGHT}
    ln -sf k3s "/usr/local/bin/$name"
  fi
done
for unit in k3s.service k3s-agent.service; do
  if systemctl is-active --quiet "$unit"; then systemctl restart --no-block "$unit"; fi
done
`;

/**
 * The k3s program and container images on a node, to be imported by k3s itself. Where the machine's image has everything,
 * one look is all that happens. Throws UserError where the software cannot
 * make such a node.
 */
export async function installK3s(
  machine: RemoteMachine,
  node: MachinePlan,
  software: Software,
  emit: Emit,
): Promise<boolean> {
  const program = filesFor(software, node, 'k3s');
  const images = filesFor(software, node, 'image-archive', 'echo-image');
  if (program.length + images.length === 0) return false;
  const look = await lookAtNode(machine);
  if (missingFrom(look, [...program, ...images]).length === 0) return false;
  const put = (file: SoftwareFile) => putProgram(machine, file);
  const finish = async () => {
    await machine.run(['sh', '-c', FINISH], { timeoutMs: TIMEOUTS.command });
  };
  const installed = await oncePerContent(machine, look, 'k3s', missingFrom(look, program), put, emit, finish);
  // All of them where one is missing: what a machine image has without k3s is the images of another containerd.
  const copy = (file: SoftwareFile) => putFile(machine, file, `${K3S_IMAGES}/${k3sArchive(file)}`);
  const names = images.map(k3sArchive);
  const brought = await oncePerContent(machine, look, 'container-images', images, copy, emit, () =>
    removeOthers(machine, names),
  );
  return installed || brought;
}

// What an earlier version of the software has brought.
async function removeOthers(machine: RemoteMachine, names: readonly string[]): Promise<void> {
  const kept = names.flatMap((name) => ['!', '-name', name]);
  await machine.run(['find', K3S_IMAGES, '-maxdepth', '1', '-name', 'lab-*', ...kept, '-delete']);
}
