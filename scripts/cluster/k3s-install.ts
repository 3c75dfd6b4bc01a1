import type { RemoteMachine } from '../exec/ssh.ts';
import {
  BROUGHT,
  contentKey,
  lookAtNode,
  missingFrom,
  oncePerContent,
  putFile,
} from '../machines/deliver.ts';
import { filesFor, type Software, type SoftwareFile } from '../plan/software.ts';
import type { MachinePlan } from '../plan/types.ts';
import { K3S_DATA } from '../render/k3s.ts';
import { UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

const PROGRAM = '/usr/local/bin/k3s';
/** k3s imports what is in here when it starts, pins it against removal, and watches it afterwards. */
const IMAGES_DIR = `${K3S_DATA}/agent/images`;

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
 * The k3s program and container images on a node, to be imported by k3s itself. Throws UserError where the software cannot
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
  const put = (file: SoftwareFile) => putFile(machine, file, PROGRAM, '755');
  const finish = async () => {
    await machine.run(['sh', '-c', FINISH], { timeoutMs: TIMEOUTS.command });
  };
  const installed = await oncePerContent(machine, look, 'k3s', missingFrom(look, program), put, emit, finish);
  // All of them, whatever the machine image has: its images are those of another containerd.
  const copy = (file: SoftwareFile) => putFile(machine, file, `${IMAGES_DIR}/${archiveName(file)}`);
  const names = images.map(archiveName);
  const brought = await oncePerContent(machine, look, 'container-images', images, copy, emit, () =>
    removeOthers(machine, names),
  );
  return installed || brought;
}

// What an earlier version of the software has brought.
async function removeOthers(machine: RemoteMachine, names: readonly string[]): Promise<void> {
  const kept = names.flatMap((name) => ['!', '-name', name]);
  await machine.run(['find', IMAGES_DIR, '-maxdepth', '1', '-name', 'lab-*', ...kept, '-delete']);
}

/** A name that k3s knows the compression by, and that no two archives share. Throws UserError on another ending. */
function archiveName(file: SoftwareFile): string {
  const ending = /\.(tar|tar\.gz|tgz|tar\.zst|tzst)$/.exec(file.path)?.[0];
  if (ending === undefined)
    throw new UserError(`k3s would not import ${file.path}.`, {
      details: ['it takes archives whose names end in .tar, .tar.gz, .tgz, .tar.zst or .tzst'],
      next: 'give the file such a name in the bundle',
    });
  return `lab-${contentKey([file]).slice(0, 16)}${ending}`;
}
