import { globalAgent } from 'node:http';
import type { LabArtifacts } from '../../../scripts/commands/deps.ts';
import type { IncusApi } from '../../../scripts/machines/incus/api.ts';
import { findDaemon } from '../../../scripts/machines/incus/daemon.ts';
import { incusDriver } from '../../../scripts/machines/incus/driver.ts';
import type { LabPlan } from '../../../scripts/plan/types.ts';
import { silent } from '../../../scripts/shared/events.ts';
import { OWNER_KEY } from '../../../scripts/shared/labels.ts';
import { ensureReady, type Harness, machines, NAMES, recordedHost, smallPlan } from './harness.ts';

/** In the place of a lab of which one thing is full: about a third of an unpacked machine image. */
const SMALL_POOL = '512MiB';

interface Instance {
  readonly name: string;
  readonly status: string;
  readonly config: Readonly<Record<string, string>>;
}

/** Containers of the daemon on this host. */
export function incusHarness(): Harness {
  const plan = smallPlan('incus', 1);
  const { local, ran } = recordedHost();
  const driver = () => incusDriver(local);
  const path = (more: string, query = '') => `/1.0${more}?project=${plan.lab}${query}`;
  const instance = (name: string, more = '') => path(`/instances/${name}${more}`);
  const setState = async (name: string, action: string) =>
    (await api()).put(instance(name, '/state'), { action, force: true, timeout: 30 });
  const seen = async (name: string) => (await api()).get<Instance>(instance(name));
  let made: LabArtifacts;

  const harness: Harness = {
    name: 'incus',
    plan,
    async prepare() {
      made = await ensureReady('prebuilt', silent);
    },
    async cleanUp() {
      for (const name of machines) {
        const found = (await findDaemon()) && (await seen(name));
        if (found !== undefined && found.config[OWNER_KEY] === undefined) await harness.giveNameBack(name);
      }
      await driver().remove(plan.lab, silent);
    },
    driver,
    artifacts: () => made,
    stop: (name) => setState(name, 'stop'),
    start: (name) => setState(name, 'start'),
    restart: (name) => setState(name, 'restart'),
    newAddress: { not: 'labup itself gives each container its address, and there is no DHCP' },
    async vanish(name) {
      if ((await seen(name))?.status === 'Running') await setState(name, 'stop');
      await (await api()).remove(instance(name));
    },
    async prevent() {
      // An administrator's limit: the project may not have one more.
      const project = `/1.0/projects/${plan.lab}`;
      const found = await (await api()).get<{ config: Record<string, string> }>(project);
      const set = async (limit: Record<string, string>) =>
        (await api()).put(project, { ...found, config: { ...found?.config, ...limit } });
      await set({ 'limits.containers': String((await harness.existing()).length) });
      return () => set({});
    },
    async slowBoot(name, ms) {
      // sshd waits; the container itself is up long before.
      const file = '/etc/systemd/system/ssh.service.d/slow.conf';
      const content = `[Service]\nExecStartPre=/bin/sleep ${ms / 1000}\n`;
      const script = `mkdir -p $(dirname ${file}) && printf '${content.replaceAll('\n', '\\n')}' > ${file}`;
      await (await api()).post(instance(name, '/exec'), {
        command: ['sh', '-c', script],
        'wait-for-websocket': false,
        environment: {},
        interactive: false,
      });
      await setState(name, 'stop');
      return async () => {};
    },
    fullDisk: {
      machine: NAMES.worker,
      says: /space/i,
      during: (work) => onSmallPool(plan, work),
    },
    denials: [
      {
        what: 'the socket of the daemon may not be opened',
        says: /may not be (opened|used)|permission/i,
        during: asNobody,
      },
    ],
    forgetNotes: { not: 'it keeps none: everything carries an owner label in the daemon' },
    async takeName(name) {
      await harness.vanish(name);
      await (await api()).post(path('/instances'), {
        name,
        type: 'container',
        source: { type: 'none' },
        profiles: [],
        config: { 'user.whose': 'somebody' },
        devices: { root: { type: 'disk', path: '/', pool: plan.lab } },
      });
    },
    isForeignUntouched: async (name) => (await seen(name))?.config['user.whose'] === 'somebody',
    giveNameBack: async (name) => (await api()).remove(instance(name)),
    async existing() {
      const all = (await findDaemon())?.api.get<readonly Instance[]>(path('/instances', '&recursion=1'));
      return ((await all?.catch(() => [])) ?? []).map(({ name }) => name).sort();
    },
    leaks: async () => JSON.stringify(ran),
  };
  return harness;
}

async function api(): Promise<IncusApi> {
  const daemon = await findDaemon();
  if (daemon === undefined) throw new Error('the container daemon does not answer');
  return daemon.api;
}

/** A lab of its own whose storage pool is there already, labelled as the lab's, and too small. */
async function onSmallPool(like: LabPlan, work: (plan: LabPlan) => Promise<void>): Promise<void> {
  const lab = `${like.lab}-full`;
  const only = like.machines.filter(({ name }) => name === NAMES.worker);
  const network = { ...like.network, bridge: 'ctfull0', subnet: '10.66.9.0/24', hostAddress: '10.66.9.1' };
  await (await api()).post('/1.0/storage-pools', {
    name: lab,
    driver: 'btrfs',
    config: { [OWNER_KEY]: lab, size: SMALL_POOL },
  });
  try {
    await work({ ...like, lab, network, machines: only });
  } finally {
    await incusDriver(recordedHost().local).remove(lab, silent);
  }
}

/** As a user who may not open the socket: whether a file may be opened is asked of the effective user. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  // Node keeps connections that were opened before.
  globalAgent.destroy();
  process.seteuid?.('nobody');
  try {
    await work();
  } finally {
    process.seteuid?.(0);
  }
}
