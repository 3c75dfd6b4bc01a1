import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { RemoteMachine } from '../exec/ssh.ts';
import { placeOf, type SoftwareFile } from '../plan/software.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import type { CgroupDriver } from '../render/runtime.ts';
import { packagesOf, renderNetworkFiles } from '../render/software.ts';
import type { Emit } from '../shared/events.ts';
import type { RenderedFile } from '../shared/files.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/** Holds a key of what was brought, by name, and per first unit of a group the hash of the files that it was last started with. */
const APPLIED_DIR = '/var/lib/lab/applied';
/** Every file that was brought, one path per line, for whoever wants them away again (lab-remove). */
export const BROUGHT = '/var/lib/lab/brought';

/** What one look at a Kubernetes node finds. */
export interface NodeLook {
  /** It booted from the lab's own machine image. */
  readonly isPrebuilt: boolean;
  /** Who has to make the control groups of pods there, see cgroupDriverOf. */
  readonly cgroupDriver: CgroupDriver;
  /** What was brought before: a key of its content by name. */
  readonly applied: ReadonlyMap<string, string>;
  /** What `containerd --version` says; empty without containerd. */
  readonly containerd: string;
}

// Only the lab's image has this unit. On cgroup v2 the guest's systemd owns the whole tree. On v1, in a container, it
// owns the hierarchies that it has mounted and not those that lab-cgroups adds, so kubelet makes the groups itself.
const LOOK = `
[ -e /etc/systemd/system/lab-cloud-init.service ] && echo "prebuilt: yes"
echo "cgroup: $(stat --file-system --format=%T /sys/fs/cgroup)"
echo "containerd: $(containerd --version 2>/dev/null)"
for file in ${APPLIED_DIR}/*; do [ -f "$file" ] && echo "applied: \${file##*/} $(cat "$file")"; done
true
`;

/** Looks at a node in one round trip; changes nothing. */
export async function lookAtNode(machine: RemoteMachine): Promise<NodeLook> {
  const { stdout } = await machine.run(['sh', '-c', LOOK], { timeoutMs: TIMEOUTS.command });
  const after = (word: string) =>
    stdout
      .split('\n')
      .flatMap((line) => (line.startsWith(`${word}: `) ? [line.slice(word.length + 2).trim()] : []));
  return {
    isPrebuilt: after('prebuilt').length > 0,
    cgroupDriver: after('cgroup')[0] === 'cgroup2fs' ? 'systemd' : 'cgroupfs',
    applied: new Map(
      after('applied').map((line): [string, string] => {
        const space = line.indexOf(' ');
        return space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
      }),
    ),
    containerd: after('containerd')[0] ?? '',
  };
}

/** The files that a node does not have from its image. */
export function missingFrom(look: NodeLook, files: readonly SoftwareFile[]): readonly SoftwareFile[] {
  return look.isPrebuilt ? files.filter(({ inMachineImage }) => !inMachineImage) : files;
}

/**
 * Does something with each file once for the content of all, whose key is noted on the machine when everything is done,
 * `finish` included. Returns whether it had to; without files there is nothing to do.
 */
export async function oncePerContent(
  machine: RemoteMachine,
  look: NodeLook,
  what: string,
  files: readonly SoftwareFile[],
  work: (file: SoftwareFile) => Promise<void>,
  emit: Emit,
  finish: () => Promise<void> = async () => {},
): Promise<boolean> {
  if (files.length === 0) return false;
  const key = contentKey(files);
  if (look.applied.get(what) === key) return false;
  for (const file of files) {
    emit({ type: 'note', text: `${machine.name}: ${basename(file.path)}` });
    await work(file);
  }
  await finish();
  await machine.writeFiles([{ path: `${APPLIED_DIR}/${what}`, content: `${key}\n` }]);
  return true;
}

/** One key for the content of files, in their order. */
function contentKey(files: readonly SoftwareFile[]): string {
  return createHash('sha256')
    .update(files.map(({ role, sha256 }) => `${role} ${sha256}\n`).join(''))
    .digest('hex');
}

// $0 is the file, $1 its mode, $2 the list of brought files. A running program cannot be written to, but its name can be
// given to another file.
const PUT = `
set -eu
mkdir -p "$(dirname "$0")" "$(dirname "$2")"
echo "$0" >> "$2"
cat > "$0.lab-new"
chmod "$1" "$0.lab-new"
mv "$0.lab-new" "$0"
`;

/** Copies a file of this host to a machine, whole or not at all. `mode` is octal, "755". */
export async function putFile(
  machine: RemoteMachine,
  file: SoftwareFile,
  path: string,
  mode = '644',
): Promise<void> {
  const options = { inputFile: file.path, timeoutMs: TIMEOUTS.provision };
  await machine.run(['sh', '-c', PUT, path, mode, BROUGHT], options);
}

// $0 is the archive, $1 the folder, $2 the list of brought files. What will be there is noted before it is.
const UNPACK = `
set -eu
mkdir -p "$1"
tar --list --file "$0" > "$0.list"
sed "s|^\\./||; s|^|$1/|" "$0.list" | grep -v '/$' >> "$2"
tar --extract --no-same-owner --file "$0" --directory "$1"
rm "$0" "$0.list"
`;

/** Copies a program of this host, or the content of a release's archive, to where it goes on a machine. */
export async function putProgram(machine: RemoteMachine, file: SoftwareFile): Promise<void> {
  const place = placeOf(file);
  if ('path' in place) return putFile(machine, file, place.path, '755');
  const archive = `/var/lib/lab/${basename(file.path)}`;
  await putFile(machine, file, archive);
  await machine.run(['sh', '-c', UNPACK, archive, place.folder, BROUGHT], { timeoutMs: TIMEOUTS.provision });
}

/**
 * Puts files on a machine and makes its systemd units run with them: enabled, and restarted unless all of them run with
 * exactly these files already, also where an earlier run was stopped between writing and restarting. `untilStarted`
 * waits for units that take longer to start than a command may. Returns whether anything had to be done.
 */
export async function ensureUnits(
  machine: RemoteMachine,
  files: readonly RenderedFile[],
  units: readonly string[],
  untilStarted?: () => Promise<void>,
): Promise<boolean> {
  const options = { timeoutMs: TIMEOUTS.command };
  const stamp = { path: `${APPLIED_DIR}/${units[0]}`, content: hashOf(files) };
  const changed = await machine.writeFiles(files);
  if (changed.length === 0 && (await allRunWith(machine, units, stamp))) return false;
  // BIRD and FRR have init scripts too, of which systemd would have to be told by reading all units again (systemctl(1)).
  const env = { SYSTEMCTL_SKIP_SYSV: '1' };
  await machine.run(['systemctl', 'enable', '--quiet', '--no-reload', ...units], { ...options, env });
  await machine.run(['systemctl', 'daemon-reload'], options);
  const how = untilStarted === undefined ? [] : ['--no-block'];
  await machine.run(['systemctl', 'restart', ...how, ...units], options);
  await untilStarted?.();
  await machine.writeFiles([stamp]);
  return true;
}

// is-active prints a state per unit; its exit code is 0 where any of them is active (systemctl(1)), so it does not help.
async function allRunWith(
  machine: RemoteMachine,
  units: readonly string[],
  stamp: RenderedFile,
): Promise<boolean> {
  const script = 'cat "$0" 2>/dev/null; echo; systemctl is-active "$@"; true';
  const { stdout } = await machine.run(['sh', '-c', script, stamp.path, ...units], {
    timeoutMs: TIMEOUTS.command,
  });
  const [applied, ...states] = stdout.trimEnd().split('\n');
  return applied === stamp.content && states.length === units.length && states.every((is) => is === 'active');
}

function hashOf(files: readonly RenderedFile[]): string {
  return createHash('sha256').update(JSON.stringify(files)).digest('hex');
}

/** The packages that labup has installed, one per line, for whoever wants them away again (lab-remove). */
const INSTALLED = '/var/lib/lab/installed-packages';
/** All packages that were there before the first of those, one per line: others that came with them can be told. */
const BEFORE = '/var/lib/lab/packages-before';

/**
 * Makes a plain machine what every machine of the lab's own image is: packages and network settings. What makes it a
 * Kubernetes node is its distribution's. Looks first and does only what is missing; returns whether anything was.
 */
export async function ensureSoftware(
  machine: RemoteMachine,
  plan: LabPlan,
  planned: MachinePlan,
  emit: Emit,
): Promise<boolean> {
  const packages = await ensurePackages(machine, packagesOf(planned, plan.choices), emit);
  const network = await ensureUnits(machine, renderNetworkFiles(plan, planned), ['lab-network.service']);
  return packages || network;
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
