import { machinesOf, theMachine } from '../plan/types.ts';
import { KUBECTL } from '../selftest/fault.ts';
import { assetPath } from '../shared/files.ts';
import type { Facts, PodFact, ServiceFact } from './facts.ts';
import { NotThere, type Typed, type Value, type Word } from './scenario.ts';

/** The named object; `NAMESPACE/NAME`, or the name alone where only one is called so. Throws NotThere. */
export function find<T extends { readonly namespace: string; readonly name: string }>(
  kind: string,
  items: readonly T[],
  name: string,
): T {
  const found = items.filter((item) => name === item.name || name === `${item.namespace}/${item.name}`);
  const [first] = found;
  if (first === undefined) throw new NotThere(`there is no ${kind} ${name}`);
  if (found.length > 1) throw new Error(`${name} names ${found.length} objects: say NAMESPACE/NAME`);
  return first;
}

/** The pods that carry a label, as in app=web, or one that is named; those that are being deleted are left out. */
export function podsOf(selector: string): Value<readonly PodFact[]> {
  const [key = '', value] = selector.split('=');
  return {
    text: value === undefined ? `pod ${selector}` : `the pods with ${selector}`,
    of: ({ pods }) =>
      value === undefined
        ? [find('pod', pods, selector)]
        : pods.filter(({ labels, ending }) => labels[key] === value && !ending),
  };
}

/** Those of the pods that are Ready. */
export function readyPods(selector: string): Value<readonly PodFact[]> {
  const pods = podsOf(selector);
  return {
    text: `the Ready pods with ${selector}`,
    of: (facts) => pods.of(facts).filter(({ ready }) => ready),
  };
}

function known(text: string, value: string | number): string {
  if (value === '' || value === 0 || value === 'None') throw new NotThere(`${text} is not there`);
  return String(value);
}

function ofService(
  text: string,
  name: string,
  pick: (service: ServiceFact) => string | number,
): Value<string> {
  return { text, of: ({ services }) => known(text, pick(find('service', services, name))) };
}

/** Where a pod answers. */
export function podIp(name: Word): Value<string> {
  const text = `the address of pod ${wordText(name)}`;
  return { text, of: (facts) => known(text, find('pod', facts.pods, resolved(name, facts)).ip) };
}

/** The name of the n-th pod with a label, in the order of their names. */
export function podName(selector: string, n = 0): Value<string> {
  const text = `a pod with ${selector}`;
  const pods = podsOf(selector);
  return {
    text,
    of: (facts) =>
      known(
        text,
        pods
          .of(facts)
          .map(({ name }) => name)
          .sort()[n] ?? '',
      ),
  };
}

/** The name of a Ready pod with a label. */
export function readyPodName(selector: string): Value<string> {
  const text = `a Ready pod with ${selector}`;
  return { text, of: (facts) => known(text, readyPods(selector).of(facts)[0]?.name ?? '') };
}

/** The node that a pod runs on. */
export function nodeOf(name: Word): Value<string> {
  const text = `the node of ${wordText(name)}`;
  return { text, of: (facts) => known(text, find('pod', facts.pods, resolved(name, facts)).node) };
}

/** Throws NotThere for a headless service. */
export function clusterIp(service: string): Value<string> {
  return ofService(`the ClusterIP of ${service}`, service, (each) => each.clusterIp);
}

/** Of the first port, or of the one that is named. */
export function nodePort(service: string, port?: string): Value<string> {
  return ofService(
    `the node port of ${service}`,
    service,
    ({ ports }) => ports.find(({ name }) => port === undefined || name === port)?.nodePort ?? 0,
  );
}

/** The address that status.loadBalancer has. */
export function loadBalancerIp(service: string): Value<string> {
  return ofService(
    `the load balancer address of ${service}`,
    service,
    (each) => each.loadBalancerIps[0] ?? '',
  );
}

/** Of a LoadBalancer service with policy Local. */
export function healthCheckNodePort(service: string): Value<string> {
  return ofService(`the health check node port of ${service}`, service, (each) => each.healthCheckNodePort);
}

/** A machine's address in the lab. */
export function addressOf(machine: Word): Value<string> {
  const text = `the address of ${wordText(machine)}`;
  return {
    text,
    of: (facts) => {
      const name = resolved(machine, facts);
      return known(text, facts.plan.machines.find((each) => each.name === name)?.address ?? '');
    },
  };
}

/** Something else that follows from the facts. */
export function value<T>(text: string, of: (facts: Facts) => T): Value<T> {
  return { text, of };
}

/** The same value as it was when an earlier step had ended. */
export function after<T>(step: string, { text, of }: Value<T>): Value<T> {
  return {
    text: `${text} after step ${step}`,
    of: (facts) => of({ ...facts.after(step).facts, after: facts.after }),
  };
}

/** A word made of others: word`http://${clusterIp('web')}:80/`. */
export function word(strings: TemplateStringsArray, ...words: readonly Word[]): Value<string> {
  const join = (show: (word: Word) => string) =>
    strings.reduce((before, string, index) => `${before}${show(words[index - 1] ?? '')}${string}`);
  return { text: join(shownWord), of: (facts) => join((each) => resolved(each, facts)) };
}

function wordText(each: Word): string {
  return typeof each === 'string' ? each : each.text;
}

/** A word for a reader who has no lab: what is not known yet is in angle brackets. */
export function shownWord(each: Word): string {
  return typeof each === 'string' ? each : each.text.includes('<') ? each.text : `<${each.text}>`;
}

/** A word on this lab. Throws NotThere. */
export function resolved(each: Word, facts: Facts): string {
  return typeof each === 'string' ? each : each.of(facts);
}

/** A command on a machine. */
export function on(machine: Word, ...argv: readonly Word[]): Typed {
  return { on: machine, argv };
}

/** The machine that routes for the lab, and speaks BGP with the nodes. */
export const router: Value<string> = value('the router', ({ plan }) => theMachine(plan, 'router').name);

/** The first client without routes into the cluster: it reaches nodes only. */
export const outsider: Value<string> = value('the client without routes', ({ plan }) =>
  known(
    'a client without routes',
    machinesOf(plan, 'client').find(({ routes }) => routes.length === 0)?.name ?? '',
  ),
);

/** The node that runs the API server. */
export const controlPlane: Value<string> = value(
  'the control plane',
  ({ plan }) => theMachine(plan, 'control-plane').name,
);

/** What full names of services end in. */
export const domain: Value<string> = value("the cluster's domain", ({ plan }) => plan.kubernetes.domain);

/** The n-th worker, from 0. */
export function worker(n: number): Value<string> {
  const text = `worker ${n + 1}`;
  return value(text, ({ plan }) => known(text, machinesOf(plan, 'worker')[n]?.name ?? ''));
}

/** A command of kubectl as it is. */
export function kubectl(...argv: readonly Word[]): Typed {
  return { on: KUBECTL, argv };
}

/** The commands of a scenario whose manifests lie in manifests/scenarios/FOLDER, in its namespace. */
export function inNamespace(namespace: string, folder: string) {
  return {
    /** kubectl -n NAMESPACE ... */
    kubectl: (...argv: readonly Word[]): Typed => kubectl('-n', namespace, ...argv),
    /** A command in a pod of one container. */
    inPod: (pod: Word, ...argv: readonly Word[]): Typed =>
      kubectl('-n', namespace, 'exec', pod, '--', ...argv),
    /** Applies a manifest of the scenario. */
    apply: (file: string): Typed => kubectl('apply', '-f', assetPath('manifests/scenarios', folder, file)),
  };
}

/** curl that opens a connection for each request, gives up after 3 s and tells the status of each answer. */
export function curl(...argv: readonly Word[]): readonly Word[] {
  return [
    'curl',
    '-sS',
    '--max-time',
    '3',
    '-H',
    'Connection: close',
    '-w',
    '\\nstatus %{http_code}\\n',
    ...argv,
  ];
}

/** nc to an echo server, as often as it is said; it says nothing, and gives up after 2 s. */
export function nc(address: Word, port: Word, times = 1): readonly Word[] {
  const once = word`nc -v -N -w 2 ${address} ${port}`;
  return times === 1
    ? ['nc', '-v', '-N', '-w', '2', address, port]
    : ['sh', '-c', word`for i in $(seq ${String(times)}); do ${once}; done`];
}
