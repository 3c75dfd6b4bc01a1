import { isSeq, type YAMLSeq } from 'yaml';
import type { LabPlan, MachinePlan, RoutePlan } from '../plan/types.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { MachineRole } from '../spec/types.ts';
import { fillIn, literal, readYamlDocument, writeDocument, writeValue } from './yaml.ts';

const ROLE_FILES: Readonly<Record<MachineRole, string>> = {
  'control-plane': 'node.yaml',
  worker: 'node.yaml',
  router: 'router.yaml',
  client: 'client.yaml',
};

/** The NIC of every machine. */
const NIC = 'eth0';

/**
 * cloud-init user-data of one machine: login, host key, names, sysctls and routes; see cloud-init/common.yaml.
 * Holds the machine's private host key and no other secret.
 */
export function renderUserData(plan: LabPlan, machine: MachinePlan, secrets: Secrets): string {
  const hostKey = secrets.hostKeys[machine.name];
  if (hostKey === undefined) throw new Error(`no SSH host key for ${machine.name}`);
  const document = readYamlDocument('cloud-init', 'common.yaml');
  fillIn(document, ['users', 0, 'ssh_authorized_keys'], [secrets.clientKey.publicKey.trim()]);
  fillIn(document, ['ssh_keys'], {
    ed25519_private: literal(`${hostKey.privateKey.trim()}\n`),
    ed25519_public: hostKey.publicKey.trim(),
  });
  fillIn(document, ['hostname'], machine.name);
  fillIn(document, ['write_files', 0, 'content'], literal(renderHosts(plan)));
  document.set('bootcmd', bootCommands(machine));
  return `#cloud-config\n${writeDocument(document)}`;
}

/** cloud-init network-config (version 2) of one machine: a static address, no default route. */
export function renderNetworkConfig(plan: LabPlan, machine: MachinePlan): string {
  const document = readYamlDocument('cloud-init', 'network-config.yaml');
  fillIn(document, ['ethernets', NIC, 'addresses'], [`${machine.address}/${plan.network.prefixLength}`]);
  return writeDocument(document);
}

/** cloud-init meta-data of one machine, for drivers that hand over a seed of their own. */
export function renderMetaData(plan: LabPlan, machine: MachinePlan): string {
  return writeValue({ 'instance-id': `${plan.lab}-${machine.name}`, 'local-hostname': machine.name });
}

/**
 * /etc/hosts: every machine of the lab by name. No 127.0.1.1 for the machine itself: its name must lead to the address
 * that the others know.
 */
export function renderHosts(plan: LabPlan): string {
  const machines = plan.machines.map(({ address, name }) => `${address} ${name}`);
  return ['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback', ...machines, ''].join('\n');
}

function bootCommands(machine: MachinePlan): YAMLSeq {
  const document = readYamlDocument('cloud-init', ROLE_FILES[machine.role]);
  const commands = document.get('bootcmd', true);
  if (!isSeq(commands)) throw new Error(`${ROLE_FILES[machine.role]} needs a list bootcmd`);
  for (const route of machine.routes) {
    commands.add(document.createNode(['ip', 'route', 'replace', ...routeWords(route)], { flow: true }));
  }
  return commands;
}

// "replace" and not "add": bootcmd may run more than once per boot. "onlink": it may run before eth0 has its address,
// when the kernel would refuse the gateway as unreachable.
function routeWords({ to, via }: RoutePlan): readonly string[] {
  return via === undefined ? [to, 'dev', NIC, 'scope', 'link'] : [to, 'via', via, 'dev', NIC, 'onlink'];
}
