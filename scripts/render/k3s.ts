import { createHash, createHmac } from 'node:crypto';
import type { SoftwareFacts, SoftwareFile } from '../plan/software.ts';
import { type LabPlan, type MachinePlan, theMachine } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import { type RenderedFile, readAsset } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import { kubernetesMinor } from '../shared/versions.ts';
import { type CgroupDriver, RESOLV_CONF, renderResolvConf } from './runtime.ts';
import { renderCgroupFiles } from './software.ts';
import { fillIn, readYamlDocument, writeDocument } from './template.ts';

/** The folder of k3s' configuration and that of its data. */
export const K3S_CONFIG = '/etc/rancher/k3s';
export const K3S_DATA = '/var/lib/rancher/k3s';

/** k3s imports what is in here when it starts, pins it against removal, and watches it afterwards. */
export const K3S_IMAGES = `${K3S_DATA}/agent/images`;

/** A name in there that k3s knows the compression by, and that no two archives share. Throws UserError on another ending. */
export function k3sArchive({ path, sha256 }: SoftwareFile): string {
  const ending = /\.(tar|tar\.gz|tgz|tar\.zst|tzst)$/.exec(path)?.[0];
  if (ending === undefined)
    throw new UserError(`k3s would not import ${path}.`, {
      details: ['it takes archives whose names end in .tar, .tar.gz, .tgz, .tar.zst or .tzst'],
      next: 'give the file such a name in the bundle',
    });
  return `lab-${sha256.slice(0, 16)}${ending}`;
}

/** What the server and every agent prove themselves with is in here. */
const SERVER_TOKEN = `${K3S_CONFIG}/server-token`;
const AGENT_TOKEN = `${K3S_CONFIG}/agent-token`;

/** Packaged components that a lab has no use for, see manifests/k3s/server.yaml. */
const DISABLED = ['traefik', 'servicelb', 'metrics-server', 'local-storage'];

/** Everything that a k3s server is started with; holds secrets. */
export function renderK3sServer(
  plan: LabPlan,
  secrets: Secrets,
  cgroupDriver: CgroupDriver,
): readonly RenderedFile[] {
  const { kubernetes } = plan;
  const { name, address } = theMachine(plan, 'control-plane');
  const config = readYamlDocument('manifests', 'k3s', 'server.yaml');
  fillIn(config, ['node-name'], name);
  fillIn(config, ['node-ip'], address);
  fillIn(config, ['advertise-address'], address);
  fillIn(config, ['tls-san'], [name, address]);
  fillIn(config, ['cluster-cidr'], kubernetes.podCidr);
  fillIn(config, ['service-cidr'], kubernetes.serviceCidr);
  fillIn(config, ['cluster-dns'], kubernetes.dnsAddress);
  fillIn(config, ['cluster-domain'], kubernetes.domain);
  fillIn(config, ['disable'], kubernetes.dns === 'coredns' ? DISABLED : [...DISABLED, 'coredns']);
  fillIn(config, ['resolv-conf'], RESOLV_CONF);
  fillIn(config, ['kube-proxy-arg'], proxyArguments(plan));
  return [
    { path: `${K3S_CONFIG}/config.yaml`, content: writeDocument(config), mode: 0o600 },
    ...renderK3sServerSecrets(secrets),
    ...nodeFiles(plan, name, secrets, 'k3s', cgroupDriver),
  ];
}

/** The token of servers, and the one of agents, of which a server is told so that it lets them in. */
export function renderK3sServerSecrets({ serverToken, agentToken }: Secrets): readonly RenderedFile[] {
  return [
    { path: SERVER_TOKEN, content: `${serverToken}\n`, mode: 0o600 },
    { path: AGENT_TOKEN, content: `${agentToken}\n`, mode: 0o600 },
  ];
}

/** Everything that a k3s agent is started with; holds its token. `ca` is the cluster's CA certificate, PEM. */
export function renderK3sAgent(
  plan: LabPlan,
  { name, address }: MachinePlan,
  secrets: Secrets,
  ca: string,
  cgroupDriver: CgroupDriver,
): readonly RenderedFile[] {
  const config = readYamlDocument('manifests', 'k3s', 'agent.yaml');
  fillIn(config, ['node-name'], name);
  fillIn(config, ['node-ip'], address);
  fillIn(config, ['server'], `https://${plan.kubernetes.apiServer}`);
  fillIn(config, ['resolv-conf'], RESOLV_CONF);
  fillIn(config, ['kube-proxy-arg'], proxyArguments(plan));
  return [
    { path: `${K3S_CONFIG}/config.yaml`, content: writeDocument(config), mode: 0o600 },
    { path: AGENT_TOKEN, content: `${agentToken(ca, secrets.agentToken)}\n`, mode: 0o600 },
    ...nodeFiles(plan, name, secrets, 'k3s-agent', cgroupDriver),
  ];
}

/** kube-proxy is a part of every server and agent. */
function proxyArguments({ kubernetes }: LabPlan): readonly string[] {
  return [`proxy-mode=${kubernetes.proxyMode ?? 'iptables'}`];
}

/**
 * A join token in its secure form, "K10<hash>::node:<token>": the agent asks the server for its CA and goes on only if
 * the hash is right. It is the SHA-256 over the bytes of the CA's file, as long as that holds one certificate.
 * https://docs.k3s.io/cli/token#secure, k3s' pkg/clientaccess/token.go. Throws where the file holds another number.
 */
export function agentToken(ca: string, token: string): string {
  const certificates = ca.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
  if (certificates !== 1) throw new Error(`the CA of a k3s lab is one certificate, not ${certificates}`);
  return `K10${createHash('sha256').update(ca).digest('hex')}::node:${token}`;
}

// k3s keeps a hash of the password that a node had first and turns away another one. Made from the lab's own secret it is
// the same again on a machine that is made anew; without it, k3s would draw a new one there.
function nodePassword(name: string, { serverToken }: Secrets): string {
  return createHmac('sha256', serverToken).update(`node ${name}`).digest('hex').slice(0, 32);
}

function nodeFiles(
  plan: LabPlan,
  name: string,
  secrets: Secrets,
  unit: 'k3s' | 'k3s-agent',
  cgroupDriver: CgroupDriver,
): readonly RenderedFile[] {
  const asset = (...parts: string[]) => readAsset('manifests', 'k3s', ...parts);
  const units = '/etc/systemd/system';
  return [
    { path: '/etc/rancher/node/password', content: `${nodePassword(name, secrets)}\n`, mode: 0o600 },
    { path: `${K3S_DATA}/agent/etc/kubelet.conf.d/10-lab.conf`, content: asset('kubelet.yaml') },
    {
      path: `${K3S_DATA}/agent/etc/containerd/config-v3.toml.d/10-lab.toml`,
      content: asset('containerd.toml'),
    },
    renderResolvConf(plan),
    { path: `${units}/${unit}.service`, content: asset('units', `${unit}.service`) },
    ...(cgroupDriver === 'cgroupfs'
      ? [{ path: `${units}/${unit}.service.d/10-cgroup-v1.conf`, content: asset('units', 'cgroup-v1.conf') }]
      : []),
    ...renderCgroupFiles(),
  ];
}

/** The first whose containerd reads the lab's own settings (config-v3.toml.d). */
const OLDEST_MINOR = 34;

/** Refuses, with a UserError, the software of a k3s lab that could not be configured. */
export function requireK3s({ cni, versions }: Pick<SoftwareFacts, 'cni' | 'versions'>): void {
  if (kubernetesMinor(versions.kubernetes) < OLDEST_MINOR)
    throw new UserError(`The lab cannot be made with k3s ${versions.kubernetes}.`, {
      details: [`it knows how to configure k3s 1.${OLDEST_MINOR} and later`],
      next: 'take a newer version, or another source of software: labup --artifacts auto',
    });
  if (cni === 'bird')
    throw new UserError('The lab cannot be made with k3s and the bird CNI.', {
      details: ['what announces external addresses there logs in with the certificates of a kubeadm node'],
      next: 'take Calico with k3s, or kubeadm with bird: labup --distribution kubeadm',
    });
}
