import { parseDocument } from 'yaml';
import type { RemoteMachine } from '../exec/ssh.ts';
import { ensureUnits, lookAtNode } from '../machines/deliver.ts';
import { K3S_CONFIG, K3S_DATA, renderK3sAgent, renderK3sServer } from '../render/k3s.ts';
import { LabFailure } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { readAsset } from '../shared/files.ts';
import type { AdminAccess, Distribution } from './distribution.ts';
import { takeApart } from './half-made.ts';
import { installK3s } from './k3s-install.ts';
import { waitForUnit } from './unit-wait.ts';

/** Written when an agent has registered its node, so that a half-made node is told from a whole one. */
const JOINED = `${K3S_DATA}/lab-joined`;
const SERVER_CA = `${K3S_DATA}/server/tls/server-ca.crt`;
const AGENT_CA = `${K3S_DATA}/agent/server-ca.crt`;

/** Kubernetes as k3s makes it: one program that is server, or agent, with everything in it. */
export const k3sDistribution: Distribution = {
  name: 'k3s',
  install: installK3s,
  // An agent starts everything itself.
  async prepareNode() {},

  async ensureControlPlane(machine, context, prepared) {
    const { plan, secrets, emit } = context;
    await prepared;
    const { cgroupDriver } = await lookAtNode(machine);
    await resetForeignServer(machine, secrets.serverToken, emit);
    const files = renderK3sServer(plan, secrets, cgroupDriver);
    return ensureUnits(machine, files, ['k3s.service'], () =>
      waitForUnit(machine, 'k3s.service', context, 'the k3s server to be up'),
    );
  },

  async readAdminAccess(machine) {
    const [kubeconfig, ca, config] = await Promise.all([
      machine.run(['cat', `${K3S_CONFIG}/k3s.yaml`]),
      machine.run(['cat', SERVER_CA]),
      machine.run(['cat', `${K3S_CONFIG}/config.yaml`]),
    ]);
    return adminAccess(machine.name, kubeconfig.stdout, ca.stdout, config.stdout);
  },

  async isJoined(machine, ca) {
    const { exitCode } = await machine.run(['test', '-e', JOINED], { okCodes: [0, 1] });
    return exitCode === 0 && (ca === undefined || (await read(machine, AGENT_CA)) === ca);
  },

  // An agent of this cluster goes on where it was; it never changes the server that it trusts, so another one's is reset.
  async clearWorker(machine, ca, { emit }) {
    const trusted = await read(machine, AGENT_CA);
    if (trusted !== '' && trusted !== ca) await reset(machine, emit);
    return trusted !== ca;
  },

  // The server was told of the agents' token when it was made.
  async prepareJoin() {},

  async join(machine, node, ca, context) {
    const { plan, secrets } = context;
    const { cgroupDriver } = await lookAtNode(machine);
    const files = renderK3sAgent(plan, node, secrets, ca, cgroupDriver);
    // An agent says that it is ready when its node is registered and has its labels (k3s' pkg/agent/run.go).
    await ensureUnits(machine, files, ['k3s-agent.service'], () =>
      waitForUnit(machine, 'k3s-agent.service', context, 'the k3s agent to register the node'),
    );
    await machine.run(['touch', JOINED]);
  },
};

/**
 * The administrator's kubeconfig with the address that agents and this host use, in place of the loopback address that
 * k3s writes. Throws LabFailure where it is not of the CA that the server has: then k3s was made anew under it.
 */
export function adminAccess(machine: string, kubeconfig: string, ca: string, config: string): AdminAccess {
  const document = parseDocument(kubeconfig);
  const cluster = ['clusters', 0, 'cluster'];
  const trusted = String(document.getIn([...cluster, 'certificate-authority-data']) ?? '');
  if (Buffer.from(trusted, 'base64').toString() !== ca)
    throw new LabFailure(`The kubeconfig on ${machine} is not of the k3s server that runs there.`, {
      details: [`${K3S_CONFIG}/k3s.yaml trusts another CA than ${SERVER_CA}`],
      next: `npx lab exec ${machine} -- systemctl restart k3s`,
    });
  const server = new URL(String(document.getIn([...cluster, 'server'])));
  server.hostname = String(parseDocument(config).get('advertise-address'));
  document.setIn([...cluster, 'server'], server.origin);
  return { kubeconfig: document.toString({ lineWidth: 0 }), ca };
}

// A server with other secrets is of another lab, or of one whose secrets are lost: nothing in it can be used.
async function resetForeignServer(machine: RemoteMachine, token: string, emit: Emit): Promise<void> {
  if ((await read(machine, SERVER_CA)) === '') return;
  if ((await read(machine, `${K3S_CONFIG}/server-token`)).trim() !== token) await reset(machine, emit);
}

async function reset(machine: RemoteMachine, emit: Emit): Promise<void> {
  emit({ type: 'note', text: `${machine.name}: undoing a node of another cluster` });
  await takeApart(machine, readAsset('manifests', 'k3s', 'reset.sh'));
}

async function read(machine: RemoteMachine, path: string): Promise<string> {
  return (await machine.run(['cat', path], { okCodes: [0, 1] })).stdout;
}
