import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LabArtifacts } from '../../../scripts/commands/deps.ts';
import { newKeyPair } from '../../../scripts/exec/keys.ts';
import { sshDriver } from '../../../scripts/machines/ssh/driver.ts';
import { Registry } from '../../../scripts/machines/ssh/login.ts';
import type { LabPlan } from '../../../scripts/plan/types.ts';
import { silent } from '../../../scripts/shared/events.ts';
import type { SshSpec } from '../../../scripts/spec/types.ts';
import {
  type Denial,
  ensureReady,
  type Harness,
  machines,
  NAMES,
  recordedHost,
  smallPlan,
} from './harness.ts';
import { PreparedMachines } from './prepared.ts';

const OTHER_LAB = 'somebodys-lab';

/** Machines that are there already; root logs in to some, a user with sudo to others. */
export function sshHarness(): Harness {
  const prepared = new PreparedMachines('contract-ssh', 4);
  const { double } = prepared;
  const { local, ran } = recordedHost();
  const registry = new Registry(mkdtempSync(join(tmpdir(), 'contract-registry-')));
  const spec = (name: string) => prepared.spec(name, name === NAMES.worker ? 'admin' : 'root');
  let knownHosts = prepared.knownHosts;
  /** What lab.yaml says of the worker beside what is right. */
  let mistake: Partial<SshSpec> = {};
  let made: LabArtifacts;

  const wrong = (what: string, says: RegExp, change: Partial<SshSpec>): Denial => ({
    what,
    says,
    async during(work) {
      mistake = change;
      await work().finally(() => {
        mistake = {};
      });
    },
  });
  const unknown = (what: string, says: RegExp, change: (line: string) => string): Denial => ({
    what,
    says,
    async during(work) {
      knownHosts = prepared.knownHostsWith(change);
      await work().finally(() => {
        knownHosts = prepared.knownHosts;
      });
    },
  });
  const [otherKey = ''] = newKeyPair('another').publicKey.match(/ssh-ed25519 \S+/) ?? [];

  return {
    name: 'ssh',
    get plan(): LabPlan {
      return smallPlan('ssh', 5, (name) => ({ ...spec(name), ...(name === NAMES.worker ? mistake : {}) }));
    },
    async prepare() {
      made = await ensureReady('plain', silent);
      const [first = '', ...others] = machines;
      await prepared.add(first);
      await Promise.all(others.map((name) => prepared.add(name)));
    },
    cleanUp: () => double.remove(),
    driver: () => sshDriver(local, { registry, knownHosts }),
    artifacts: () => made,
    stop: async (name) => void (await double.call(['stop', name])),
    start: async (name) => void (await double.call(['start', name])),
    restart: async (name) => void (await double.call(['restart', name])),
    newAddress: { not: 'its address is what lab.yaml says' },
    vanish: (name) => prepared.drop(name),
    replace: (name) => prepared.add(name),
    async prevent(name) {
      const folder = '/etc/ssh/sshd_config.d';
      await prepared.root(name, `mount -t tmpfs -o ro none ${folder}`);
      return async () => void (await prepared.root(name, `umount ${folder}`));
    },
    slowBoot: { not: 'labup starts none of its machines, and names those that do not answer' },
    fullDisk: {
      machine: NAMES.worker,
      says: /No space left on device/,
      async during(work) {
        await prepared.drop(NAMES.worker);
        await prepared.add(NAMES.worker);
        // Room for its own folder and nothing else.
        await prepared.root(
          NAMES.worker,
          'mkdir -p /var/lib/lab && mount -t tmpfs -o size=4k,nr_inodes=1 none /var/lib/lab',
        );
        await work(smallPlan('ssh', 5, spec)).finally(() =>
          prepared.root(NAMES.worker, 'umount /var/lib/lab'),
        );
      },
    },
    denials: [
      wrong('the user may not become root', /sudo: .*password/, { user: 'guest' }),
      wrong('the key is not let in', /SSH login to .* failed/, { key: prepared.otherKey }),
      wrong('the key cannot be read', /cannot be read/, { key: '/nonexistent/key' }),
      unknown('no host key is known', /not in your known_hosts/, () => ''),
      unknown(
        'a host key is another one',
        /another SSH host key/,
        (line) => `${line.split(' ')[0]} ${otherKey}`,
      ),
    ],
    forgetNotes: { not: 'only its notes say which machines a lab has; labup writes them again' },
    async takeName(name) {
      await prepared.root(name, `echo ${OTHER_LAB} > /etc/lab/lent-to`);
    },
    isForeignUntouched: async (name) =>
      (await prepared.root(name, 'cat /etc/lab/lent-to; ls /var/lib/lab')).startsWith(
        `${OTHER_LAB}\noriginals`,
      ),
    giveNameBack: (name) => prepared.drop(name),
    existing: () => double.names(),
    leaks: async () => JSON.stringify(ran),
  };
}
