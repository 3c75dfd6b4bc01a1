import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { newKeyPair } from '../../scripts/exec/keys.ts';
import { HostKeyError, type RemoteMachine, type SshTarget } from '../../scripts/exec/ssh.ts';
import {
  type Connect,
  connectMachines,
  reachMachines,
  requireMachine,
  waitForCloudInit,
} from '../../scripts/machines/connect.ts';
import { Interrupted, LabFailure } from '../../scripts/shared/errors.ts';
import { type LabEvent, silent } from '../../scripts/shared/events.ts';
import { TIMEOUTS } from '../../scripts/shared/timeouts.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { startSshServer } from '../fakes/ssh-server.ts';

const targets: readonly SshTarget[] = ['bgp', 'routed', 'ubuntu'].map((name, index) => ({
  name,
  address: `192.168.13.${index + 39}`,
  user: 'root',
  privateKey: 'none',
  hostKey: 'none',
}));

const anyTarget: SshTarget = { name: 'x', address: '192.0.2.1', user: 'root', privateKey: '', hostKey: '' };

/** The signal of a whole command, as the bin makes it. */
function withoutLimit(): AbortSignal {
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  return signal;
}

function connector(
  open: (target: SshTarget, count: number) => RemoteMachine | Error,
): Connect & { closed: string[] } {
  const counts = new Map<string, number>();
  const closed: string[] = [];
  const connect = async (target: SshTarget) => {
    const count = (counts.get(target.name) ?? 0) + 1;
    counts.set(target.name, count);
    const opened = open(target, count);
    if (opened instanceof Error) throw opened;
    return { ...opened, close: () => void closed.push(target.name) };
  };
  return Object.assign(connect, { closed });
}

describe('reachMachines', () => {
  /** Machines of which each runs when the test says so; `tried` are those that were connected to. */
  function booting() {
    const gates = new Map<string, { open: () => void; fail: (error: Error) => void }>();
    const tried: string[] = [];
    const running = (name: string) =>
      new Promise<void>((resolve, reject) => gates.set(name, { open: resolve, fail: reject }));
    const connect = connector(({ name }) => {
      tried.push(name);
      return fakeMachine(
        name,
        recordingExecutor(() => `from ${name}`),
      );
    });
    const machines = reachMachines(targets, running, false, silent, undefined, connect);
    return { machines, gates, tried, connect, of: (name: string) => requireMachine(machines, name) };
  }

  it('connects to each as soon as that one runs, and asks it then', async () => {
    const { gates, tried, of } = booting();
    const [fromBgp, fromRouted] = [of('bgp').run(['true']), of('routed').run(['true'])];
    gates.get('routed')?.open();
    expect((await fromRouted).stdout).toBe('from routed');
    expect(tried).toEqual(['routed']);
    gates.get('bgp')?.open();
    expect((await fromBgp).stdout).toBe('from bgp');
  });

  it('tells whoever asks a machine that could not be made, and nobody else', async () => {
    const { gates, of } = booting();
    gates.get('bgp')?.fail(new LabFailure('Not made: bgp.'));
    gates.get('ubuntu')?.open();
    await expect(of('bgp').run(['true'])).rejects.toThrow('Not made: bgp.');
    expect((await of('ubuntu').run(['true'])).stdout).toBe('from ubuntu');
  });

  it('closes those that are connected, and ends the wait for the others', async () => {
    const { machines, gates, connect } = booting();
    gates.get('bgp')?.open();
    await machines.get('bgp')?.reached;
    for (const machine of machines.values()) machine.close();
    gates.get('routed')?.open();
    await expect(machines.get('routed')?.reached).rejects.toBeInstanceOf(Interrupted);
    expect(connect.closed).toEqual(['bgp']);
  });
});

describe('connectMachines', () => {
  it('connects to all, in their order, and waits for one that still boots', async () => {
    const events: LabEvent[] = [];
    const connect = connector(({ name }, count) =>
      name === 'bgp' && count < 3 ? new Error('connect ECONNREFUSED') : fakeMachine(name),
    );
    const machines = await connectMachines(targets, (event) => events.push(event), undefined, connect);
    expect([...machines.keys()]).toEqual(['bgp', 'routed', 'ubuntu']);
    expect(requireMachine(machines, 'bgp').name).toBe('bgp');
    expect(() => requireMachine(machines, 'nobody')).toThrow('There is no connection to nobody.');
    expect(events).toEqual([{ type: 'note', text: 'waiting for bgp to accept SSH: connect ECONNREFUSED' }]);
    expect(connect.closed).toEqual([]);
  });

  it('can wait for twenty at once without a warning of Node', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const many = Array.from({ length: 20 }, (_, index) => ({ ...anyTarget, name: `worker${index}` }));
    const connect = connector(({ name }, count) =>
      count < 2 ? new Error('still booting') : fakeMachine(name),
    );
    for (const signal of [undefined, withoutLimit()]) {
      expect((await connectMachines(many, silent, signal, connect)).size).toBe(20);
    }
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  it('fails at once for a wrong host key, names the machine and closes the others', async () => {
    const started = performance.now();
    const connect = connector((target) =>
      target.name === 'routed' ? new HostKeyError(target) : fakeMachine(target.name),
    );
    const error = await connectMachines(targets, silent, undefined, connect).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(HostKeyError);
    expect(String(error)).toContain('routed');
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(connect.closed.sort()).toEqual(['bgp', 'ubuntu']);
  });

  it('does so over real SSH', async () => {
    const server = await startSshServer();
    const started = performance.now();
    const impostor = { ...server.target, hostKey: newKeyPair('other').publicKey };
    await expect(connectMachines([impostor], silent)).rejects.toBeInstanceOf(HostKeyError);
    expect(performance.now() - started).toBeLessThan(5_000);
    await server.close();
  });

  it('stops waiting for the others, and closes one that comes late', async () => {
    let arrive: (machine: RemoteMachine) => void = () => {};
    const late = new Promise<RemoteMachine>((resolve) => {
      arrive = resolve;
    });
    let looks = 0;
    const connect = connector((target) => {
      if (target.name === 'routed') return new HostKeyError(target);
      looks += 1;
      return new Error('still booting');
    });
    const slow: Connect = (target, timeout) => (target.name === 'ubuntu' ? late : connect(target, timeout));
    await expect(connectMachines(targets, silent, undefined, slow)).rejects.toBeInstanceOf(HostKeyError);
    let closed = false;
    const close = () => {
      closed = true;
    };
    arrive({ ...fakeMachine('ubuntu'), close });
    await expect.poll(() => closed).toBe(true);
    expect(looks).toBe(1);
  });

  it('ends with Ctrl-C, and so do commands on the machines', async () => {
    const controller = new AbortController();
    const connect = connector(({ name }) => fakeMachine(name, recordingExecutor()));
    const machines = await connectMachines(targets, silent, controller.signal, connect);
    controller.abort();
    await expect(requireMachine(machines, 'bgp').run(['true'])).rejects.toBeInstanceOf(Interrupted);
    const never = connector(() => new Error('still booting'));
    await expect(connectMachines(targets, silent, controller.signal, never)).rejects.toBeInstanceOf(
      Interrupted,
    );
  });

  it('fails for a machine that never answers, with its name and what was seen', async () => {
    const connect = connector(() => new Error('connect EHOSTUNREACH'));
    const patience = TIMEOUTS as { machineSsh: number };
    const before = patience.machineSsh;
    patience.machineSsh = 10;
    const error = await connectMachines(targets.slice(0, 1), silent, undefined, connect)
      .catch((thrown: unknown) => thrown)
      .finally(() => {
        patience.machineSsh = before;
      });
    expect(error).toMatchObject({ exitCode: 1 });
    expect(String(error)).toContain('waiting for bgp to accept SSH (last seen: connect EHOSTUNREACH).');
  });
});

describe('waitForCloudInit', () => {
  const machinesWith = (...answers: string[]) => {
    const executor = recordingExecutor(() => answers.shift() ?? '');
    return new Map([['bgp', fakeMachine('bgp', executor)]]);
  };

  it('waits until there is a whole result without errors', async () => {
    const events: LabEvent[] = [];
    const good = '{"v1": {"datasource": "NoCloud", "errors": []}}';
    const machines = machinesWith('', '{"v1": {"err', good);
    await waitForCloudInit(machines, (event) => events.push(event));
    expect(events[0]).toEqual({ type: 'note', text: 'waiting for cloud-init on bgp: not finished' });
  });

  it('fails with its errors', async () => {
    const machines = machinesWith('{"v1": {"errors": ["(\'write_files\', OSError())"]}}');
    const error = await waitForCloudInit(machines, silent).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LabFailure);
    expect(error).toMatchObject({
      message: 'cloud-init failed on bgp.',
      details: ["('write_files', OSError())"],
      next: 'npx lab exec bgp -- cat /var/log/cloud-init-output.log',
    });
  });
});
