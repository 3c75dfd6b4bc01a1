import {
  type FileRole,
  NODE_ROLES,
  type NodeRole,
  type Software,
  type SoftwareFile,
} from '../../scripts/plan/software.ts';
import { type FakeMachine, fakeMachine } from '../fakes/machine.ts';
import { type RecordingExecutor, type Reply, recordingExecutor } from '../fakes/recording-executor.ts';

/** A Kubernetes node without a connection; it remembers packages, files and notes that it was given. */
export interface FakeNode {
  readonly executor: RecordingExecutor;
  readonly machine: FakeMachine;
  /** Files of the host that were sent to it, in order. */
  given(): readonly string[];
}

export interface NodeOptions {
  readonly packages?: readonly string[];
  /** It booted from the lab's own image. */
  readonly prebuilt?: boolean;
  readonly cgroup?: 'cgroup2fs' | 'tmpfs';
  /** What `containerd --version` says. */
  readonly containerd?: string;
  /** Answers that differ from a node on which everything succeeds. */
  readonly reply?: (line: string) => Reply | undefined;
}

export const DEBIAN_CONTAINERD = 'containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1';
export const CURRENT_CONTAINERD =
  'containerd github.com/containerd/containerd/v2 v2.2.1 dea7da592f5d1d2b7755e3a161be07f43fad8f75';

export function fakeNode(name: string, options: NodeOptions = {}): FakeNode {
  const { packages = [], prebuilt = false, cgroup = 'tmpfs', containerd = DEBIAN_CONTAINERD } = options;
  const installed = new Set(packages);
  const executor = recordingExecutor((argv) => {
    const line = argv.join(' ');
    const said = options.reply?.(line);
    if (said !== undefined) return said;
    if (argv[0] === 'dpkg-query') {
      const asked = argv.slice(4);
      const lines = asked.filter((each) => installed.has(each)).map((each) => `${each} installed\n`);
      return { exitCode: lines.length === asked.length ? 0 : 1, stdout: lines.join('') };
    }
    if (line.startsWith('apt-get install')) for (const each of argv.slice(4)) installed.add(each);
    if (line.includes('lab-cloud-init.service')) {
      const applied = [...machine.files].flatMap(([path, { content }]) =>
        path.startsWith('/var/lib/lab/applied/')
          ? [`applied: ${path.slice('/var/lib/lab/applied/'.length)} ${content.trim()}\n`]
          : [],
      );
      const lines = [`cgroup: ${cgroup}\n`, `containerd: ${containerd}\n`, ...applied];
      return [...(prebuilt ? ['prebuilt: yes\n'] : []), ...lines].join('');
    }
    if (argv[0] === 'cat') return machine.files.get(argv[1] ?? '')?.content ?? { exitCode: 1 };
    if (line.includes('is-active "$@"')) {
      const [, , , stamp = '', ...units] = argv;
      return `${machine.files.get(stamp)?.content ?? ''}\n${units.map(() => 'active\n').join('')}`;
    }
    if (line.startsWith('systemctl show')) return 'ActiveState=active\nNRestarts=0\n';
    return '';
  }, name);
  const machine = fakeMachine(name, executor);
  const given = () => executor.calls.flatMap(({ options: { inputFile } }) => inputFile ?? []);
  return { executor, machine, given };
}

/** A file of a lab's software; its hash stands for its content. */
export function softwareFile(
  role: FileRole,
  path: string,
  extra: Partial<Omit<SoftwareFile, 'role' | 'path'>> = {},
): SoftwareFile {
  const sha256 = Buffer.from(path).toString('hex').padEnd(64, '0').slice(-64);
  return { role, path, version: 'v1', sha256, nodes: NODE_ROLES, inMachineImage: false, ...extra };
}

/** What the Debian build gives, all of it in the machine image. */
export function debianFiles(): Software {
  const image = (name: string, ...nodes: NodeRole[]) =>
    softwareFile(name === 'echo' ? 'echo-image' : 'image-archive', `/cache/images/${name}.tar`, {
      inMachineImage: true,
      ...(nodes.length === 0 ? {} : { nodes }),
    });
  return {
    distribution: 'kubeadm',
    cni: 'bird',
    versions: { kubernetes: 'v1.20.2' },
    files: [
      softwareFile('kubelet', '/cache/kubernetes/kubelet', { inMachineImage: true }),
      softwareFile('kubeadm', '/cache/kubernetes/kubeadm', { inMachineImage: true }),
      image('kube-apiserver', 'control-plane'),
      image('pause'),
      image('kube-proxy'),
      image('echo', 'worker'),
    ],
  };
}
