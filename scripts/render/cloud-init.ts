import { isSeq, type YAMLSeq } from 'yaml';
import type { LabPlan, MachinePlan, RoutePlan } from '../plan/types.ts';
import type { RenderedFile } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { MachineRole } from '../spec/types.ts';
import { fillIn, literal, readYamlDocument, writeDocument, writeValue } from './template.ts';

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
  return ['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback', ...hostLines(plan), ''].join(
    '\n',
  );
}

/** "192.168.13.30 k8smaster1": every machine of the lab, as /etc/hosts says it. */
export function hostLines(plan: LabPlan): readonly string[] {
  return plan.machines.map(({ address, name }) => `${address} ${name}`);
}

/**
 * user-data of a machine that boots from a plain image: login, packages, whose it is; see cloud-init/vm.yaml. Without
 * secrets.
 */
export function renderVmUserData(
  plan: LabPlan,
  secrets: Secrets,
  packages: readonly string[],
  sshdConfig: RenderedFile,
): string {
  const document = readYamlDocument('cloud-init', 'vm.yaml');
  fillIn(document, ['users', 1, 'ssh_authorized_keys'], [secrets.clientKey.publicKey.trim()]);
  fillIn(document, ['packages'], packages);
  fillIn(document, ['write_files', 0, 'content'], `${plan.lab}\n`);
  fillIn(document, ['write_files', 1, 'content'], literal(sshdConfig.content));
  return `#cloud-config\n${writeDocument(document)}`;
}

/**
 * The kernel settings of a machine's role, in the order in which they must be made, from the same files as those of
 * cloud-init. NIC stands for the name of the lab's NIC.
 */
export function bootSettings({ role }: MachinePlan): readonly (readonly [name: string, value: string])[] {
  const document = readYamlDocument('cloud-init', ROLE_FILES[role]);
  const commands = (document.toJS() as { bootcmd: readonly (string | readonly string[])[] }).bootcmd;
  const sysctl = commands.find((command) => Array.isArray(command) && command[0] === 'sysctl');
  if (!Array.isArray(sysctl)) throw new Error(`${ROLE_FILES[role]} needs a sysctl command`);
  return sysctl.flatMap((word: string) => {
    const [, name, value] = /^(net\.[\w.]+)=(\d+)$/.exec(word) ?? [];
    return name === undefined || value === undefined ? [] : [[name.replace(`.${NIC}.`, '.NIC.'), value]];
  });
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
