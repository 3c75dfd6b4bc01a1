import type { Document } from 'yaml';
import { type LabPlan, theMachine } from '../plan/types.ts';
import { CLUSTER_DNS_IMAGE, ECHO_IMAGE } from '../shared/versions.ts';
import { fillIn, readYamlAsset, readYamlDocument, writeDocuments } from './template.ts';

type Path = readonly (string | number)[];

/** The echo workloads of the plan's variant: namespace, services, one server pod per worker, the client pod. */
export function renderEcho(plan: LabPlan): string {
  return [renderEchoServices(plan), renderEchoPods(plan)].join('---\n');
}

/** The namespace and the services of the echo workloads. */
export function renderEchoServices(plan: LabPlan): string {
  return writeDocuments([namespace(plan), ...services(plan)]);
}

/** The pods of the echo workloads. */
export function renderEchoPods(plan: LabPlan): string {
  return writeDocuments([...plan.echo.servers.map((server) => serverPod(plan, server)), clientPod(plan)]);
}

/** Cluster DNS: service account, permissions, Service kube-dns, and the Deployment on the control plane. */
export function renderClusterDns(plan: LabPlan): string {
  const documents = readYamlAsset('manifests', 'cluster-dns', 'cluster-dns.yaml');
  const [apiHost, apiPort] = plan.kubernetes.apiServer.split(':');
  fillIn(ofKind(documents, 'Service'), ['spec', 'clusterIP'], plan.kubernetes.dnsAddress);
  const address = theMachine(plan, 'control-plane').address;
  fillDeployment(documents, plan, [address, plan.kubernetes.domain, apiHost, apiPort]);
  return writeDocuments(documents);
}

/** What gives LoadBalancer services their addresses; '' where Calico does. */
export function renderLoadBalancer(plan: LabPlan): string {
  if (plan.choices.cni.value === 'calico') return '';
  const documents = readYamlAsset('manifests', 'load-balancer', 'load-balancer.yaml');
  const [apiHost, apiPort] = plan.kubernetes.apiServer.split(':');
  const { loadBalancerCidr } = plan.kubernetes;
  fillDeployment(documents, plan, [apiHost, apiPort, loadBalancerCidr, `${plan.echo.externalIp}/32`]);
  return writeDocuments(documents);
}

/** A Deployment on the control plane, from the image of cluster DNS. */
function fillDeployment(
  documents: readonly Document[],
  plan: LabPlan,
  environment: readonly (string | undefined)[],
): void {
  const deployment = ofKind(documents, 'Deployment');
  const pod: Path = ['spec', 'template', 'spec'];
  const container: Path = [...pod, 'containers', 0];
  fillIn(
    deployment,
    [...pod, 'nodeSelector', 'kubernetes.io/hostname'],
    theMachine(plan, 'control-plane').name,
  );
  fillIn(deployment, [...container, 'image'], CLUSTER_DNS_IMAGE);
  environment.forEach((value, index) => {
    fillIn(deployment, [...container, 'env', index, 'value'], value);
  });
}

function namespace(plan: LabPlan): Document {
  const document = readYamlDocument('manifests', 'echo', 'namespace.yaml');
  fillIn(document, ['metadata', 'name'], plan.echo.namespace);
  return document;
}

function services(plan: LabPlan): readonly Document[] {
  const documents = readYamlAsset('manifests', 'echo', `services-${plan.echo.variant}.yaml`);
  for (const document of documents) {
    fillIn(document, ['metadata', 'namespace'], plan.echo.namespace);
    if (document.hasIn(['spec', 'loadBalancerIP'])) fillExternalIp(document, plan);
    const port: Path = ['spec', 'ports', 0];
    if (!document.hasIn(port)) continue;
    const number = portNumber(plan, document.getIn([...port, 'protocol']));
    fillIn(document, [...port, 'port'], number);
    fillIn(document, [...port, 'targetPort'], number);
  }
  return documents;
}

/** Its value is a JSON list of addresses. https://docs.tigera.io/calico/latest/networking/ipam/service-loadbalancer */
const REQUESTED_IPS = 'projectcalico.org/loadBalancerIPs';

// By annotation and not by loadBalancerClass, which cannot be taken away again from a service that has it. Calico leaves a
// service with spec.loadBalancerIP to others.
function fillExternalIp(document: Document, { choices, echo: { externalIp, loadBalancer } }: LabPlan): void {
  fillIn(document, ['spec', 'loadBalancerIP'], externalIp);
  if (loadBalancer === 'ipam' && choices.cni.value !== 'calico') return;
  document.deleteIn(['spec', 'loadBalancerIP']);
  if (loadBalancer === 'externalIPs')
    document.setIn(['spec', 'externalIPs'], document.createNode([externalIp], { flow: true }));
  else
    document.setIn(
      ['metadata', 'annotations'],
      document.createNode({ [REQUESTED_IPS]: JSON.stringify([externalIp]) }),
    );
}

function serverPod(plan: LabPlan, server: LabPlan['echo']['servers'][number]): Document {
  const document = readYamlDocument('manifests', 'echo', 'server-pod.yaml');
  fillIn(document, ['metadata', 'name'], server.pod);
  fillIn(document, ['metadata', 'namespace'], plan.echo.namespace);
  fillIn(document, ['spec', 'hostname'], server.hostname);
  fillIn(document, ['spec', 'nodeSelector', 'kubernetes.io/hostname'], server.node);
  for (const index of [0, 1]) {
    const container: Path = ['spec', 'containers', index];
    const number = portNumber(plan, document.getIn([...container, 'ports', 0, 'protocol']));
    fillIn(document, [...container, 'image'], ECHO_IMAGE);
    fillIn(document, [...container, 'args', 1], String(number));
    fillIn(document, [...container, 'ports', 0, 'containerPort'], number);
    const probe: Path = [...container, 'readinessProbe', 'tcpSocket', 'port'];
    if (document.hasIn(probe)) fillIn(document, probe, number);
  }
  return document;
}

function clientPod(plan: LabPlan): Document {
  const document = readYamlDocument('manifests', 'echo', 'client-pod.yaml');
  fillIn(document, ['metadata', 'name'], plan.echo.clientPod.pod);
  fillIn(document, ['metadata', 'namespace'], plan.echo.namespace);
  fillIn(document, ['spec', 'nodeSelector', 'kubernetes.io/hostname'], plan.echo.clientPod.node);
  fillIn(document, ['spec', 'containers', 0, 'image'], ECHO_IMAGE);
  return document;
}

function portNumber(plan: LabPlan, protocol: unknown): number {
  return protocol === 'UDP' ? plan.echo.udpPort : plan.echo.tcpPort;
}

function ofKind(documents: readonly Document[], kind: string): Document {
  const [document, ...more] = documents.filter((each) => each.get('kind') === kind);
  if (document === undefined || more.length > 0) throw new Error(`expected one ${kind}`);
  return document;
}
