import { INGRESS_IMAGE, NGINX_IMAGE } from '../../shared/versions.ts';
import { answers } from '../answers.ts';
import { endpoints, pods, succeeds } from '../expect.ts';
import { allowed, ingressAddresses, nodeAddresses, proxyBackends, reloads } from '../ingress.ts';
import type { Scenario } from '../scenario.ts';
import {
  addressOf,
  curl,
  inNamespace,
  nodePort,
  on,
  outsider,
  podIp,
  podName,
  readyPods,
  value,
  word,
  worker,
} from '../words.ts';

const WEB = 'app=web';
const ENGINE = 'app=engine';
const PROXY = 'app=ingress';
const PART = 'app.kubernetes.io/part-of=lab-ingress';
const ACCOUNT = '--as=system:serviceaccount:lab-ingress:ingress';
const { kubectl, apply } = inNamespace('lab-ingress', 'ingress');
const web = { by: readyPods(WEB), each: true, status: 200, host: 'www.example.com' };
const engine = { by: readyPods(ENGINE), each: true, status: 200 };
const all = value('both services', (facts) => [WEB, ENGINE].flatMap((each) => readyPods(each).of(facts)));
const listed = word`curl -sS "http://${podIp(podName(PROXY))}:8404/;csv" | cut -d , -f 1,2,74`;
const entry = addressOf(worker(0));
const tlsEntry = word`::${entry}:${nodePort('ingress', 'https')}`;

function fromOutside(host: string, path: string, service = 'ingress') {
  const url = word`http://${entry}:${nodePort(service, 'http')}${path}`;
  return { look: on(outsider, ...curl('-H', `Host: ${host}`, url)), show: /^(pod|status [^2])/ };
}

/** S9: one entry for many services, by what is asked for. */
export const ingress: Scenario = {
  name: 'ingress',
  title: 'Ingress: one entry, many services',
  lesson:
    'An Ingress is only a rule in the API. A proxy that watches the API carries it out, for each request by its host and path, and sends it straight to a pod.',
  namespaces: ['lab-ingress'],
  needs: [{ image: INGRESS_IMAGE }, { image: NGINX_IMAGE }, { outsider: true }],
  undo: [kubectl('delete', 'ingressclasses,clusterroles,clusterrolebindings', '-l', PART)],
  steps: [
    {
      id: 'services',
      change: apply('web.yaml'),
      expect: [pods(WEB, { ready: 2 }), pods(ENGINE, { ready: 2 })],
      why: 'Two Deployments, each behind a service of its own.',
    },
    {
      id: 'rules',
      change: apply('rules.yaml'),
      expect: succeeds,
      why: 'The API takes the Ingress, although nothing in the cluster acts on it.',
    },
    {
      id: 'controller',
      change: apply('controller.yaml'),
      expect: pods(PROXY, { ready: 1 }),
      why: 'A controller is a Deployment like any other: here haproxy and a program that writes its configuration from the API.',
    },
    {
      id: 'address',
      look: kubectl('get', 'ingress', 'rules', '-o', 'json'),
      expect: ingressAddresses(nodeAddresses(readyPods(PROXY))),
      show: /"ip"/,
      why: 'The controller found the Ingress by its class, and writes down where it is reached.',
    },
    {
      id: 'may-watch',
      look: kubectl('auth', 'can-i', 'watch', 'endpoints', '-A', ACCOUNT),
      expect: allowed(true),
      why: 'A ClusterRole lets it watch services, endpoints and Ingresses of all namespaces.',
    },
    {
      id: 'by-path',
      ...fromOutside('www.example.com', '/web/?[1-10]'),
      expect: answers({ ...web, times: 10 }),
      why: 'The rule for /web/ leads to the service web; requests go to its pods in turn.',
    },
    {
      id: 'by-another-path',
      ...fromOutside('www.example.com', '/engine/x?[1-10]'),
      expect: answers({ ...engine, times: 10, host: 'www.example.com' }),
      why: 'The same host and the same port, but another path: another service.',
    },
    {
      id: 'by-host',
      ...fromOutside('www.yolo.org', '/?[1-10]'),
      expect: answers({ ...engine, times: 10, host: 'www.yolo.org' }),
      why: 'The Host header alone chooses here; the address is the same.',
    },
    {
      id: 'unknown-host',
      ...fromOutside('www.example.net', '/web/'),
      expect: answers({ status: 404 }),
      why: 'The proxy itself answers what no rule is for.',
    },
    {
      id: 'unknown-path',
      ...fromOutside('www.example.com', '/website'),
      expect: answers({ status: 404 }),
      why: 'A Prefix is compared by whole elements of the path: /website is not below /web/.',
    },
    {
      id: 'beside-it',
      ...fromOutside('www.example.net', '/?[1-10]', 'web'),
      expect: answers({ by: readyPods(WEB), each: true, status: 200, times: 10 }),
      why: 'A node port of the service itself goes on working: kube-proxy knows nothing of hosts and paths.',
    },
    {
      id: 'scale',
      change: kubectl('scale', 'deployment', 'web', '--replicas=4'),
      expect: [pods(WEB, { ready: 4 }), endpoints('web', readyPods(WEB))],
      why: 'More endpoints, which the controller watches.',
    },
    {
      id: 'backends',
      look: on(worker(1), 'sh', '-c', listed),
      expect: proxyBackends('lab-ingress:web:http', readyPods(WEB)),
      show: /^lab-ingress:web:http,web/,
      why: 'The proxy lists addresses of pods and not the ClusterIP: it balances itself.',
    },
    {
      id: 'reload',
      look: kubectl('logs', '-l', PROXY, '--tail=-1'),
      expect: reloads(1, all),
      show: /haproxy reload/,
      why: 'A reload hands the listening sockets to a new process, so that no connection is lost.',
    },
    {
      id: 'certificate',
      change: apply('certificate.yaml'),
      expect: pods('app=certificate', { phases: { Succeeded: 1 } }),
      why: 'A pod makes a certificate for www.example.com and puts it into the Secret that the Ingress names.',
    },
    {
      id: 'tls',
      look: on(outsider, ...curl('-k', '--connect-to', tlsEntry, 'https://www.example.com/web/')),
      expect: answers({ by: readyPods(WEB), status: 200, host: 'www.example.com' }),
      why: 'TLS ends at the proxy, which chooses the certificate by the name in the handshake; the pods speak plain HTTP.',
    },
    {
      id: 'more-proxies',
      change: kubectl('scale', 'deployment', 'ingress', '--replicas=2'),
      expect: pods(PROXY, { ready: 2 }),
      why: 'Each proxy learns everything from the API, so a second one needs nothing from the first.',
    },
    {
      id: 'second-controller',
      change: apply('second.yaml'),
      expect: pods('app=second', { ready: 1 }),
      why: 'Another controller for another class.',
    },
    {
      id: 'other-class',
      change: kubectl(
        'patch',
        'ingress',
        'rules',
        '-p',
        '{"spec":{"ingressClassName":"lab-ingress-second"}}',
      ),
      expect: succeeds,
      why: 'The rules stay as they are; only the class names another controller.',
    },
    {
      id: 'taken-over',
      ...fromOutside('www.example.com', '/web/?[1-10]', 'second'),
      expect: answers({ ...web, times: 10 }),
      why: 'The same Ingress works with whoever carries it out.',
    },
  ],
};
