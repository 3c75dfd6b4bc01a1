import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { display } from '../../scripts/cli/deps.ts';
import { main } from '../../scripts/cli/main.ts';
import type { BinName } from '../../scripts/cli/program.ts';
import type { Deps } from '../../scripts/commands/deps.ts';
import type { Executor, RunOptions } from '../../scripts/exec/executor.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import type { Connect } from '../../scripts/machines/connect.ts';
import type { SeenFacts } from '../../scripts/machines/host-facts.ts';
import type { MissingPackage } from '../../scripts/plan/host-facts.ts';
import { DEBIAN_SOFTWARE } from '../../scripts/plan/plan.ts';
import { fakeMachine as bgpSpeaker, repliesOf } from '../bgp/fixtures.ts';
import { kubectlJson } from '../matrix/fixtures.ts';
import { GOOD_HOST } from '../plan/doctor/good-host.ts';
import { CA_CERTIFICATE } from './ca.ts';
import { type FakeDriver, fakeDriver } from './driver.ts';
import { fakeMachine } from './machine.ts';
import { type RecordingExecutor, type Reply, recordingExecutor } from './recording-executor.ts';
import { type FakeTerminal, fakeTerminal } from './terminal.ts';

/**
 * A whole lab in this process, for running the real commands against: the driver keeps names, machines answer what a
 * lab's machines answer (BGP from recorded transcripts), kubectl answers what a cluster's API server says. Nothing on
 * the host is touched but the folder `cwd`.
 */
export interface FakeLab {
  readonly cwd: string;
  driver: FakeDriver;
  /** This host's commands: kubectl, ssh, apt. */
  readonly local: RecordingExecutor;
  readonly interactive: (readonly string[])[];
  /** What each machine was asked, as "machine: command". */
  readonly asked: string[];
  /** What is missing from the cache, and from the host. */
  missing: { name: string; minutes: number }[];
  packages: MissingPackage[];
  facts: Partial<SeenFacts>;
  /** Whether the package mirror answers. */
  reachable: boolean;
  connect: Connect;
  /** Changes what kubectl or another program of the host says. */
  reply: (line: string) => Reply | undefined | Promise<Reply | undefined>;
  deps: (terminal: FakeTerminal, quiet: boolean) => Deps;
  run(name: BinName, argv: readonly string[], options?: RunLab): Promise<Ran>;
}

export interface RunLab {
  readonly tty?: boolean;
  readonly signal?: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
  /** Called as soon as the command runs, e.g. for typing. */
  readonly meanwhile?: (terminal: FakeTerminal) => void;
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const shell = localExecutor();

export function fakeLab(spec: string | undefined = 'version: 1\n'): FakeLab {
  const cwd = mkdtempSync(join(tmpdir(), 'lab-'));
  if (spec !== undefined) writeFileSync(join(cwd, 'lab.yaml'), spec);
  const done = new Set<string>();
  let applied = false;
  const kubectl = (line: string): Reply => {
    if (line.startsWith('get --raw /apis/policy.networking.k8s.io')) return { exitCode: 1 };
    if (line.startsWith('get --raw')) return 'ok';
    if (line.startsWith('get configmap cluster-info'))
      return { stdout: `{"data": {"jws-kubeconfig-${tokenId()}": "x"}}` };
    if (line.startsWith('get nodes,pods'))
      return JSON.stringify({ items: [...NODES.map(nodeObject), ...podsOf(line)] });
    if (line.startsWith('get nodes')) return nodesJson();
    if (line.startsWith('apply')) {
      const verdict = applied ? 'unchanged' : 'created';
      applied = true;
      return `service/echo ${verdict}\n`;
    }
    if (line.startsWith('get pods')) return JSON.stringify({ items: podsOf(line) });
    if (/^get services -n/.test(line)) return '{"items": []}';
    if (/^get \S*services/.test(line)) return kubectlJson();
    return '';
  };
  const tokenId = () =>
    (
      JSON.parse(readFileSync(join(cwd, '.lab/bgp-lab/secrets.json'), 'utf8')) as { joinToken: string }
    ).joinToken.split('.')[0] ?? '';
  const machine = (name: string): Executor => {
    return recordingExecutor(async (argv, options) => {
      const line = argv.join(' ');
      lab.asked.push(`${name}: ${line.split('\n')[0]}`);
      if (line === 'cat /run/cloud-init/result.json') return '{"v1": {"errors": []}}';
      if (line.includes('date +%s')) return '1000000 100\n';
      if (line.startsWith('test -e')) return { exitCode: done.has(name) ? 0 : 1 };
      if (line.startsWith('touch')) done.add(name);
      // No process has that name.
      if (line.startsWith('pkill')) return { exitCode: 1 };
      if (line === 'cat /etc/kubernetes/pki/ca.crt') return CA_CERTIFICATE;
      if (line === 'cat /etc/kubernetes/admin.conf')
        return 'clusters: [{ cluster: { server: "https://192.168.13.30:6443" } }]\n';
      if (line.includes('birdc') || line.includes('vtysh')) return recorded(name, argv, options);
      if (line.includes('is-active')) {
        const [, , , stamp = '', ...units] = argv;
        return `${files.get(name)?.files.get(stamp)?.content ?? ''}\n${units.map(() => 'active\n').join('')}`;
      }
      return '';
    }, name);
  };
  const files = new Map<string, ReturnType<typeof fakeMachine>>();
  const lab: FakeLab = {
    cwd,
    driver: fakeDriver(),
    local: recordingExecutor(async (argv) => {
      const line = argv.join(' ');
      const said = await lab.reply(line);
      if (said !== undefined) return said;
      return argv[0] === '/cache/kubectl'
        ? kubectl(argv.slice(argv.indexOf('--request-timeout') + 2).join(' '))
        : '';
    }),
    interactive: [],
    asked: [],
    missing: [],
    packages: [],
    facts: {},
    reachable: true,
    connect: async ({ name, address }) => {
      const known = files.get(name) ?? fakeMachine(name, machine(name), address);
      files.set(name, known);
      return known;
    },
    reply: () => undefined,
    deps: (terminal, quiet) => ({
      cwd,
      env: terminal.env,
      local: {
        ...lab.local,
        // As the real one: a command's own signal goes before that of the whole.
        run: (argv, options) => lab.local.run(argv, { signal: terminal.signal, ...options }),
      },
      interactive: async (argv) => {
        lab.interactive.push(argv);
        return 0;
      },
      host: {
        facts: async (_, ours) => {
          const existingMachines = ours.filter(({ kind }) => kind === 'machine').map(({ name }) => name);
          return { ...BARE, existingMachines, ...lab.facts };
        },
        missingPackages: async () => lab.packages,
        daemonInstalled: async () => true,
      },
      driver: async (name) => (name === lab.driver.name ? lab.driver : { ...fakeDriver(), name }),
      artifacts: async () => ({
        missing: async () => lab.missing,
        reachable: async () => lab.reachable,
        ensure: async () => {
          const changed = lab.missing.length > 0;
          lab.missing = [];
          return {
            artifacts: {
              image: { metadataFile: '', rootfsFile: '', key: 'key' },
              software: { ...DEBIAN_SOFTWARE, files: [] },
              kubectl: '/cache/kubectl',
            },
            changed,
          };
        },
      }),
      connect: (target, timeoutMs) => lab.connect(target, timeoutMs),
      signal: terminal.signal,
      ...display(terminal, quiet),
    }),
    async run(name, argv, { meanwhile, ...options } = {}) {
      const terminal = fakeTerminal({ cwd, ...options });
      const running = main(name, argv, terminal, (_, quiet) => lab.deps(terminal, quiet));
      meanwhile?.(terminal);
      return { code: await running, out: terminal.out(), err: terminal.err() };
    },
  };
  return lab;
}

/** What a speaker's transcripts answer to a script; each is run once, in a real shell. */
const answers = new Map<string, Promise<Reply>>();

function recorded(name: string, argv: readonly string[], options: RunOptions): Promise<Reply> {
  const key = `${name} ${argv.join(' ')}`;
  const answer = answers.get(key) ?? bgpSpeaker(name, repliesOf(name), shell.run).run(argv, options);
  answers.set(key, answer);
  return answer;
}

const { differences, missingArtifacts, missingPackages, networkReachable, ...SEEN } = GOOD_HOST;
const BARE: SeenFacts = {
  ...SEEN,
  routes: [],
  addresses: [],
  links: ['lo'],
  resolvers: [],
  bridgeIsOurs: true,
};

const NODES = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'];
const READY = { conditions: [{ type: 'Ready', status: 'True' }] };

/** What `kubectl get nodes -o json` says. */
export function nodesJson(): string {
  const { items } = JSON.parse(kubectlJson()) as { items: readonly { kind: string }[] };
  return JSON.stringify({ items: items.filter(({ kind }) => kind === 'Node') });
}

function nodeObject(name: string): unknown {
  return { kind: 'Node', metadata: { name }, spec: { podCIDR: '10.255.0.0/26' }, status: READY };
}

function podsOf(line: string): readonly unknown[] {
  const names = line.includes('kube-system')
    ? NODES.map((node) => `pod-${node}`)
    : ['echo-server1', 'echo-server2', 'echo-server3', 'echo-client1'];
  const namespace = line.includes('kube-system') ? 'kube-system' : 'echo-server';
  return names.map((name) => ({
    kind: 'Pod',
    metadata: { name, namespace, uid: 'old', annotations: appliedAs(name) },
    spec: { restartPolicy: 'Never' },
    status: { phase: 'Running', ...READY },
  }));
}

/** The client pod was created, the others applied. */
function appliedAs(name: string): unknown {
  const text = JSON.stringify({ kind: 'Pod', metadata: { name, namespace: 'echo-server' } });
  return name === 'echo-client1' ? undefined : { 'kubectl.kubernetes.io/last-applied-configuration': text };
}

/** Every file below a folder with its content, for showing that nothing was touched. */
export function filesOf(folder: string): Readonly<Record<string, string>> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    paths.map((path) => {
      const full = join(folder, path);
      return [path, statSync(full).isDirectory() ? '(folder)' : readFileSync(full, 'utf8')];
    }),
  );
}
