import { mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { newSecrets } from '../../scripts/exec/keys.ts';
import type { SshTarget } from '../../scripts/exec/ssh.ts';
import type { Connect } from '../../scripts/machines/connect.ts';
import { sshDriver } from '../../scripts/machines/ssh/driver.ts';
import { Registry } from '../../scripts/machines/ssh/login.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { HarnessError, LabError, LabFailure, messageOf, UserError } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { type RecordingExecutor, recordingExecutor } from '../fakes/recording-executor.ts';
import { labPlan } from '../render/fixture.ts';

const HOST_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKnown';
const secrets = newSecrets('bgp-lab', []);
const LAB_KEY = secrets.clientKey.publicKey.trim();

let folder: string;
let plan: LabPlan;
/** What machines say of themselves when they are inspected, by name; absent: nobody gets in. */
let says: Map<string, string>;
let known: (host: string) => string;
/** What stops connections on their way to a machine. */
let gate: ((name: string) => LabError | undefined) | undefined;
let asked: Map<string, RecordingExecutor>;
let targets: SshTarget[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ssh-driver-'));
  writeFileSync(join(folder, 'key'), 'the private key\n');
  const whole = labPlan();
  plan = {
    ...whole,
    machines: whole.machines.map((machine, index) => ({
      ...machine,
      ssh: { host: `10.0.0.${index + 1}`, port: 22, user: 'admin', key: join(folder, 'key') },
    })),
  };
  says = new Map(plan.machines.map(({ name }) => [name, '']));
  known = (host) => `# Host ${host} found: line 3\n${host} ${HOST_KEY}\n`;
  gate = undefined;
  asked = new Map();
  targets = [];
});

function driver() {
  const local = recordingExecutor((argv) => (argv[0] === 'ssh-keygen' ? known(argv[2] ?? '') : undefined));
  const connect: Connect = async (target) => {
    targets.push(target);
    const closed = gate?.(target.name);
    if (closed !== undefined) throw closed;
    const said = says.get(target.name);
    if (said === undefined) throw new Error('All configured authentication methods failed');
    const executor = recordingExecutor((argv) => {
      if (argv[0] === 'sh' && argv[2]?.includes('problem: ')) return says.get(target.name) ?? '';
      if (argv[0] === 'sh' && argv.at(-1) === LAB_KEY) return 'added\n';
      if (argv[0] === 'python3') says.set(target.name, '');
      return '';
    }, target.name);
    asked.set(target.name, executor);
    const machine = fakeMachine(target.name, executor);
    return {
      ...machine,
      writeFiles: async (files) => {
        if (files.some(({ path }) => path === '/etc/lab/lent-to')) says.set(target.name, 'owner: bgp-lab\n');
        return machine.writeFiles(files);
      },
    };
  };
  return sshDriver(local, { registry: new Registry(join(folder, 'k8s-bgp-lab', 'ssh')), connect });
}

const take = async () => {
  const ssh = driver();
  await ssh.ensureHost(plan, silent);
  await ssh.ensureMachines(plan, { cloudInit: new Map(), clientKey: LAB_KEY }, silent);
  return ssh;
};

async function failure(promise: Promise<unknown>): Promise<LabError> {
  const error: unknown = await promise.catch((thrown: unknown) => thrown);
  if (error instanceof LabError) return error;
  throw new Error(`no LabError: ${messageOf(error)}`);
}

describe('machines that exist already', () => {
  it("are taken with the user's key, and from then on reached with the lab's", async () => {
    const ssh = await take();
    // In any order: each one's key is read first.
    expect(targets.find(({ name }) => name === plan.machines[0]?.name)).toMatchObject({
      address: '10.0.0.1',
      user: 'admin',
      privateKey: 'the private key\n',
      hostKey: HOST_KEY,
      keepOriginals: true,
    });
    const reach = await ssh.reach(plan, secrets, silent);
    expect(reach).toHaveLength(plan.machines.length);
    expect(reach[0]).toMatchObject({ privateKey: secrets.clientKey.privateKey, hostKey: HOST_KEY });
    expect(await ssh.observe('bgp-lab')).toEqual(
      plan.machines.map(({ name }) => ({ kind: 'machine', name, state: 'running' })),
    );
    expect(await ssh.observe('other-lab')).toEqual([]);
    expect(statSync(join(folder, 'k8s-bgp-lab', 'ssh', 'bgp-lab.json')).mode & 0o777).toBe(0o600);
  });

  it('are put back, and nothing is left', async () => {
    const ssh = await take();
    await ssh.remove('bgp-lab', silent, { purge: true });
    const lines = asked.get('bgp')?.lines() ?? [];
    expect(lines).toContain('python3 - bgp-lab admin --purge');
    expect(await ssh.observe('bgp-lab')).toEqual([]);
    await ssh.remove('bgp-lab', silent);
  });

  it('are asked for before they are changed, and not again', async () => {
    const ssh = await take();
    expect(ssh.asks(plan, [])).toHaveLength(plan.machines.length);
    expect(ssh.asks(plan, [])[1]).toMatch(/^change k8sworker1: admin@10.0.0.2: .*containerd.*iptables rules/);
    expect(ssh.asks(plan, await ssh.observe('bgp-lab'))).toEqual([]);
  });
});

describe('a machine is refused, and nothing changed,', () => {
  it('where it cannot be one of the lab: all problems of all machines at once', async () => {
    says.set('bgp', 'problem: no python3; install it\n');
    says.set('ubuntu', 'owner: other-lab\n');
    const error = await failure(driver().ensureHost(plan, silent));
    expect(error).toBeInstanceOf(UserError);
    expect(error.details).toEqual(['bgp: no python3; install it', 'ubuntu: it belongs to lab "other-lab"']);
    for (const executor of asked.values()) expect(executor.calls).toHaveLength(1);
  });

  it('where its host key is not known', async () => {
    const usual = known;
    known = (host) => (host === '10.0.0.1' ? '' : usual(host));
    const error = await failure(driver().ensureHost(plan, silent));
    expect(error.message).toBe('The SSH host key of k8smaster1 (10.0.0.1) is not in your known_hosts.');
    expect(error.next).toContain(`ssh -i ${join(folder, 'key')} admin@10.0.0.1 `);
    known = (host) => `@revoked ${host} ${HOST_KEY}\n`;
    const { details } = await failure(driver().ensureHost(plan, silent));
    for (const { name } of plan.machines) {
      expect(details.join('\n')).toMatch(
        new RegExp(`${name} .*not in your known_hosts.\n  next: ssh -i \\S+ admin@`),
      );
    }
  });

  it('where the login fails', async () => {
    says.delete('bgp');
    const error = await failure(driver().ensureHost(plan, silent));
    expect(error.message).toBe('SSH login to bgp failed: All configured authentication methods failed');
    expect(error.next).toContain(`ssh -i ${join(folder, 'key')} admin@10.0.0.`);
  });

  it('where lab.yaml does not say how it is reached, or says the same of two', async () => {
    const [first, ...others] = plan.machines;
    if (first === undefined) throw new Error('no machine');
    const { ssh: _, ...without } = first;
    const missing = { ...plan, machines: [without, ...others] };
    expect((await failure(driver().ensureHost(missing, silent))).details).toEqual([
      'k8smaster1 has no "ssh" in lab.yaml',
    ]);
    const twice = {
      ...plan,
      machines: plan.machines.map((each) => ({ ...each, ssh: plan.machines[0]?.ssh })),
    };
    const error = await failure(driver().ensureHost(twice as LabPlan, silent));
    expect(error.message).toBe('Two machines of the lab are the same machine.');
  });
});

describe('machines behind a jump host', () => {
  const JUMP_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJump';

  beforeEach(() => {
    plan = {
      ...plan,
      machines: plan.machines.map((machine) => ({
        ...machine,
        ...(machine.ssh === undefined ? {} : { ssh: { ...machine.ssh, jump: 'ops@10.9.9.9:2222' } }),
      })),
    };
    const usual = known;
    known = (host) => (host === '[10.9.9.9]:2222' ? `${host} ${JUMP_KEY}\n` : usual(host));
  });

  it("are reached through it, with the user's key there and the lab's on the machine", async () => {
    const ssh = await take();
    const jump = {
      user: 'ops',
      address: '10.9.9.9',
      port: 2222,
      keyFile: join(folder, 'key'),
      hostKey: JUMP_KEY,
    };
    for (const target of targets) expect(target.jump).toEqual(jump);
    const reach = await ssh.reach(plan, secrets, silent);
    expect(reach[0]).toMatchObject({ jump, hostKey: HOST_KEY, privateKey: secrets.clientKey.privateKey });
    expect(ssh.asks(plan, [])[1]).toMatch(/^change k8sworker1: admin@10.0.0.2 through ops@10.9.9.9:2222: /);
    // labdown finds it in its own notes.
    targets.length = 0;
    await ssh.remove('bgp-lab', silent);
    for (const target of targets) expect(target.jump).toEqual(jump);
  });

  it('take a key of its own for it, or the agent', async () => {
    const withKey = (change: object) => ({
      ...plan,
      machines: plan.machines.map((machine) => ({ ...machine, ssh: { ...machine.ssh, ...change } })),
    });
    const own = withKey({ jumpKey: '~/other' }) as LabPlan;
    expect((await driver().reach(own, secrets, silent))[0]?.jump?.keyFile).toBe(join(homedir(), 'other'));
    const agent = withKey({ key: undefined }) as LabPlan;
    expect((await driver().reach(agent, secrets, silent))[0]?.jump).not.toHaveProperty('keyFile');
  });

  it('are refused once where its host key is not known', async () => {
    const usual = known;
    known = (host) => (host.includes('10.9.9.9') ? '' : usual(host));
    const error = await failure(driver().ensureHost(plan, silent));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toBe(
      'The SSH host key of the jump host ops@10.9.9.9:2222 is not in your known_hosts.',
    );
    expect(error.next).toMatch(/^ssh -i \S+ -p 2222 ops@10.9.9.9 {3}\(compare the fingerprint\)/);
    expect(asked.size).toBe(0);
  });

  it('say once what is wrong with it, whatever is done, and not that they are gone', async () => {
    const ssh = await take();
    gate = () => new HarnessError('The jump host cannot be entered: timeout', { next: 'ssh to it' });
    const told = { message: 'The jump host cannot be entered: timeout', next: 'ssh to it', exitCode: 4 };
    const clientKey = LAB_KEY;
    const works = [
      () => ssh.ensureHost(plan, silent),
      () => ssh.ensureMachines(plan, { cloudInit: new Map(), clientKey }, silent),
      () => ssh.observe('bgp-lab'),
      () => ssh.remove('bgp-lab', silent),
    ];
    for (const work of works) expect(await failure(work())).toMatchObject(told);
    gate = undefined;
    expect(await ssh.observe('bgp-lab')).toHaveLength(plan.machines.length);
  });

  it('do not hide those that are reached without it', async () => {
    const ssh = await take();
    gate = (name) => (name === 'bgp' ? undefined : new HarnessError('The jump host cannot be entered'));
    const states = (await ssh.observe('bgp-lab')).map(({ name, state }) => [name, state]);
    expect(Object.fromEntries(states)).toMatchObject({ bgp: 'running', ubuntu: 'unreachable' });
    const error = await failure(ssh.ensureHost(plan, silent));
    expect(error.message).toBe('The jump host cannot be entered');
  });

  it('say how to get in by hand through it', async () => {
    says.delete('bgp');
    const error = await failure(driver().ensureHost(plan, silent));
    expect(error.details[0]).toMatch(/^tried admin@10\.0\.0\.\d port 22 through ops@10\.9\.9\.9:2222$/);
    const key = join(folder, 'key');
    expect(error.next).toContain(
      `ssh -i ${key} -o 'ProxyCommand=ssh -i ${key} -p 2222 -W %h:%p ops@10.9.9.9' admin@10.0.0.`,
    );
  });

  it('are not behind a machine of the lab, which would change', async () => {
    const machines = plan.machines.map((machine, index) => ({
      ...machine,
      ssh: {
        host: `10.0.0.${index + 1}`,
        port: 22,
        user: 'admin',
        ...(index === 0 ? {} : { jump: 'admin@10.0.0.1' }),
      },
    }));
    const error = await failure(driver().ensureHost({ ...plan, machines }, silent));
    expect(error.message).toMatch(/^A jump host cannot be a machine of the lab/);
    expect(error.details).toHaveLength(plan.machines.length - 1);
  });
});

describe('a machine that is gone', () => {
  it('is told by labdown, which goes on with it another time', async () => {
    const ssh = await take();
    says.delete('bgp');
    expect((await ssh.observe('bgp-lab')).find(({ name }) => name === 'bgp')?.state).toBe('unreachable');
    const error = await failure(ssh.remove('bgp-lab', silent));
    expect(error).toBeInstanceOf(LabFailure);
    expect(error.details[0]).toMatch(/^bgp: SSH login to bgp failed/);
    says.set('bgp', 'owner: bgp-lab\n');
    await ssh.remove('bgp-lab', silent);
    expect(await ssh.observe('bgp-lab')).toEqual([]);
  });

  it("that another lab has taken is not that lab's any more", async () => {
    const ssh = await take();
    says.set('bgp', 'owner: other-lab\n');
    await ssh.remove('bgp-lab', silent);
    expect(
      asked
        .get('bgp')
        ?.lines()
        .some((line) => line.startsWith('python3')),
    ).toBe(false);
  });
});
