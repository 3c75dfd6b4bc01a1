import { parse } from 'yaml';
import type { RunOptions } from '../../scripts/exec/executor.ts';
import { type RecordingExecutor, type Reply, recordingExecutor } from './recording-executor.ts';

/** An instance of the fake. */
export interface FakeVm {
  state: string;
  /** What /etc/lab/owner says. */
  owner?: string | undefined;
  address: string;
  finished: boolean;
  errors: readonly string[];
  zone?: string;
  /** What its disk holds; a test may change it. */
  disk?: string;
  /** What each snapshot holds. */
  snapshots?: Map<string, string | undefined>;
}

/** multipass in memory: enough of it for the driver to work against, and a place to make any call fail. */
export interface FakeMultipass {
  readonly local: RecordingExecutor;
  readonly vms: Map<string, FakeVm>;
  version: string;
  daemon: boolean;
  networks: readonly { readonly name: string; readonly type: string; readonly description: string }[];
  settings: Record<string, string>;
  /** Asked first; the first answer counts. */
  readonly hooks: ((
    argv: readonly string[],
    options: RunOptions,
  ) => Reply | undefined | Promise<Reply | undefined>)[];
  /** Every call after `multipass`, as lines. */
  lines(verb?: string): readonly string[];
}

/** What the daemon refuses, as the client prints it. */
export function refused(verb: string, text: string, exitCode = 2): Reply {
  return { exitCode, stdout: '\u001b[2K\u001b[0A\u001b[0E', stderr: `${verb} failed: ${text}\n` };
}

/** Answers a verb (and a name) once. */
export function once(
  verb: string,
  reply: Reply | (() => Reply | undefined),
  name?: string,
): FakeMultipass['hooks'][number] {
  let done = false;
  return ([, given, ...rest]) => {
    if (done || given !== verb || (name !== undefined && !rest.includes(name))) return undefined;
    done = true;
    return typeof reply === 'function' ? reply() : reply;
  };
}

export function fakeMultipass(): FakeMultipass {
  const vms = new Map<string, FakeVm>();
  let addresses = 10;
  const local = recordingExecutor(async (argv, options) => {
    if (argv[0] !== 'multipass') return undefined;
    for (const hook of fake.hooks) {
      const said = await hook(argv, options);
      if (said !== undefined) return said;
    }
    const [verb = '', ...words] = argv.slice(1);
    const after = (option: string) => words[words.indexOf(option) + 1] ?? '';
    const missing = (name: string) =>
      refused(verb, `The following errors occurred:\ninstance "${name}" does not exist`);
    const json = (value: unknown) => `${JSON.stringify(value, null, 4)}\n`;
    if (verb === 'version') {
      return json({ multipass: fake.version, ...(fake.daemon ? { multipassd: fake.version } : {}) });
    }
    if (!fake.daemon) return refused(verb, 'cannot connect to the multipass socket');
    switch (verb) {
      case 'list': {
        if (words.includes('--snapshots')) {
          const of = ({ snapshots = new Map() }: FakeVm) =>
            Object.fromEntries([...snapshots.keys()].map((name) => [name, { comment: '', parent: '' }]));
          const having = [...vms].filter(([, { snapshots }]) => snapshots?.size);
          return json({ errors: [], info: Object.fromEntries(having.map(([name, vm]) => [name, of(vm)])) });
        }
        const list = [...vms].map(([name, { state, zone }]) => ({
          ipv4: [],
          name,
          release: 'Ubuntu 24.04 LTS',
          state,
          ...(zone === undefined ? {} : { zone: { available: true, name: zone } }),
        }));
        return json({ list: list.reverse() });
      }
      case 'find':
        return json({ errors: [], images: words[0] === '24.04' ? { '24.04': { os: 'Ubuntu' } } : {} });
      case 'networks':
        return json({ list: fake.networks });
      case 'get':
        return `${fake.settings[words[0] ?? ''] ?? '<empty>'}\n`;
      case 'launch': {
        const name = after('--name');
        if (vms.has(name)) return refused(verb, `instance "${name}" already exists`);
        vms.set(
          name,
          launched(options, `10.97.0.${addresses++}`, words.includes('--zone') ? after('--zone') : undefined),
        );
        return `\u001b[2K\u001b[0A\u001b[0ELaunched: ${name}\n`;
      }
      case 'start': {
        const vm = vms.get(words[0] ?? '');
        if (vm === undefined)
          return refused(verb, `instance(s) missing\nInstance '${words[0]}' does not exist.\n`);
        vm.state = 'Running';
        vm.address = `10.97.0.${addresses++}`;
        return '';
      }
      case 'stop': {
        const names = words.filter((word) => word !== '--force');
        const gone = names.find((name) => !vms.has(name));
        if (gone !== undefined) return missing(gone);
        for (const name of names) (vms.get(name) as FakeVm).state = 'Stopped';
        return '';
      }
      case 'snapshot': {
        const [name = '', snapshot] = [words[0], after('-n')];
        const vm = vms.get(name);
        if (vm === undefined) return missing(name);
        if (vm.state !== 'Stopped')
          return refused(verb, 'Multipass can only take snapshots of stopped instances.');
        vm.snapshots ??= new Map();
        if (vm.snapshots.has(snapshot)) return refused(verb, `Snapshot already exists: ${name}.${snapshot}`);
        vm.snapshots.set(snapshot, vm.disk);
        return `Snapshot taken: ${name}.${snapshot}\n`;
      }
      case 'restore': {
        const [name = '', snapshot = ''] = words[0]?.split('.') ?? [];
        const vm = vms.get(name);
        if (vm?.snapshots?.has(snapshot) !== true) return refused(verb, `No such snapshot: ${words[0]}`);
        if (!words.includes('--destructive'))
          return refused(verb, "Unable to query client for confirmation. Use '--destructive'", 1);
        if (vm.state !== 'Stopped')
          return refused(verb, 'Multipass can only restore snapshots of stopped instances.');
        vm.disk = vm.snapshots.get(snapshot) ?? '';
        return '';
      }
      case 'delete': {
        const names = words.filter((word) => word !== '--purge');
        const [instance = '', snapshot] = names[0]?.split('.') ?? [];
        if (snapshot !== undefined) {
          const had = words.includes('--purge') && vms.get(instance)?.snapshots?.delete(snapshot);
          return had === true ? '' : refused(verb, `No such snapshot: ${names[0]}`);
        }
        const gone = names.find((name) => !vms.has(name));
        if (gone !== undefined) return missing(gone);
        for (const name of names) vms.delete(name);
        return '';
      }
      case 'exec': {
        const name = words[1] ?? '';
        const vm = vms.get(name);
        if (vm === undefined) return missing(name);
        return guestAnswer(vm, name);
      }
      default:
        return { exitCode: 1, stdout: `Error: Unknown command or alias '${verb}'\n` };
    }
  });
  const fake: FakeMultipass = {
    local,
    vms,
    version: '1.16.3',
    daemon: true,
    networks: [
      { name: 'br0', type: 'bridge', description: 'Network bridge' },
      { name: 'eth0', type: 'ethernet', description: 'Ethernet device' },
      { name: 'wlan0', type: 'wifi', description: 'Wi-Fi device' },
    ],
    settings: { 'local.driver': 'qemu', 'client.primary-name': 'primary' },
    hooks: [],
    lines: (verb) =>
      local.calls
        .map(({ argv }) => argv.slice(1).join(' '))
        .filter((line) => verb === undefined || line.startsWith(`${verb} `)),
  };
  return fake;
}

/** What the guest does with its user-data; with none it is a plain machine. */
function launched({ input = '' }: RunOptions, address: string, zone: string | undefined): FakeVm {
  const userData = parse(input.toString()) as
    | { write_files?: readonly { path: string; content: string }[] }
    | undefined;
  const owner = userData?.write_files?.find(({ path }) => path === '/etc/lab/owner')?.content.trim();
  return {
    state: 'Running',
    owner,
    address,
    finished: true,
    errors: [],
    ...(zone === undefined ? {} : { zone }),
  };
}

/** As the driver's questions are answered by a guest that also has a lab address, a pod bridge and a loopback. */
export function guestAnswer(vm: FakeVm, name: string): string {
  const link = (ifname: string, ...infos: readonly Record<string, unknown>[]) => ({
    ifname,
    addr_info: infos,
  });
  const global = (local: string, more: Record<string, unknown> = {}) => ({
    family: 'inet',
    local,
    prefixlen: 24,
    scope: 'global',
    ...more,
  });
  const links = [
    link('lo', { family: 'inet', local: '127.0.0.1', scope: 'host' }),
    link('cni0', global('10.255.0.1')),
    link('ens3', global('192.168.13.30', { secondary: true }), global(vm.address, { dynamic: true })),
  ];
  const routes = [
    { dst: 'default', gateway: '192.0.2.1', dev: 'ens4', metric: 200 },
    { dst: 'default', gateway: '10.97.0.1', dev: 'ens3', metric: 100 },
  ];
  const v1 = { stage: null, 'modules-final': { errors: vm.errors } };
  return [
    '',
    ...['@lab owner', ...(vm.owner === undefined ? [] : [vm.owner]), ''],
    ...['@lab key', `ssh-ed25519 KEY-OF-${name} root@${name}`, ''],
    ...['@lab status', JSON.stringify({ v1 }), ''],
    ...[
      '@lab result',
      ...(vm.finished ? [JSON.stringify({ v1: { datasource: 'x', errors: vm.errors } })] : []),
      '',
    ],
    ...['@lab addresses', JSON.stringify(links), ''],
    ...['@lab routes', JSON.stringify(routes), ''],
    ...['@lab end', ''],
  ].join('\n');
}
