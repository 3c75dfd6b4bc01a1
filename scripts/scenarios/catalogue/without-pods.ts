import { TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpointsAt, holds, pods, prints, succeeds } from '../expect.ts';
import type { Scenario, Typed, Word } from '../scenario.ts';
import {
  addressOf,
  kubectl as anyKubectl,
  clusterIp,
  curl,
  find,
  inNamespace,
  nodeOf,
  on,
  outsider,
  router,
  value,
  word,
  worker,
} from '../words.ts';

const { inPod, apply, kubectl } = inNamespace('lab-without-pods', 'without-pods');
const bothAddresses = value('the addresses of both machines', (facts) =>
  [outsider, router].map((machine) => addressOf(machine).of(facts)),
);
const both = { servers: bothAddresses, each: true, status: 200 };
const FOLDER = '/run/lab-outside';
const LOG = `${FOLDER}/log`;
const SERVER = /^server/;

/** A web server on a machine, without Kubernetes, that says where it is. */
function serve(machine: Word): Typed {
  const page = word`mkdir -p ${FOLDER} && echo server ${addressOf(machine)}:8080 > ${FOLDER}/index.html`;
  const unit = `systemd-run --quiet --collect --unit lab-outside --property StandardError=file:${LOG}`;
  return on(machine, 'sh', '-c', word`${page} && ${unit} python3 -m http.server 8080 --directory ${FOLDER}`);
}

function endpointsOf(...machines: readonly Word[]): Typed {
  const list = value('both addresses', (facts) =>
    machines.map((machine) => `{ ip: ${addressOf(machine).of(facts)} }`).join(', '),
  );
  return {
    ...anyKubectl('apply', '-f', '-'),
    input: word`apiVersion: v1
kind: Endpoints
metadata: { name: outside, namespace: lab-without-pods }
subsets: [{ addresses: [${list}], ports: [{ port: 8080 }] }]`,
  };
}

/** S6: a service is a name and a list of addresses. */
export const withoutPods: Scenario = {
  name: 'without-pods',
  title: 'Services without pods',
  lesson:
    'A service is a name, an address and a list of endpoints. Who fills the list is another question: usually a controller that looks for pods, but it can be anybody, and the endpoints can be anywhere.',
  namespaces: ['lab-without-pods'],
  needs: [{ image: TOOLBOX_IMAGE }, { outsider: true }],
  steps: [
    {
      id: 'apply',
      change: apply('services.yaml'),
      expect: [
        pods('client', { ready: 1 }),
        endpointsAt(
          'outside',
          value('none', () => []),
        ),
      ],
      why: 'The service outside has no selector, so no controller gives it endpoints. It has a ClusterIP like any other.',
    },
    {
      id: 'nobody',
      look: on(worker(0), 'nc', '-zv', '-w', '3', clusterIp('outside'), '80'),
      expect: fails('refused'),
      why: 'A service without endpoints refuses connections: kube-proxy has a rule for that. With Calico a pod gets no answer instead.',
    },
    {
      id: 'first-server',
      change: serve(outsider),
      expect: succeeds,
      why: 'A web server outside the cluster, on a machine that has no route into it ...',
    },
    {
      id: 'second-server',
      change: serve(router),
      expect: succeeds,
      why: '... and another one, on the router.',
    },
    {
      id: 'by-hand',
      change: endpointsOf(outsider, router),
      expect: endpointsAt('outside', bothAddresses),
      why: 'Endpoints of the same name as the service, written by hand. Kubernetes makes an EndpointSlice of it.',
    },
    {
      id: 'ask-from-a-pod',
      look: inPod('client', ...curl('http://outside/?[1-12]')),
      expect: answers({ ...both, times: 12 }),
      show: SERVER,
      why: 'Either machine answers. For kube-proxy an endpoint is an address and a port, and not a pod.',
    },
    {
      id: 'who-asked',
      look: on(outsider, 'cat', LOG),
      expect: prints(
        "every request came from the client's node",
        (stdout) => [...new Set([...stdout.matchAll(/^(\S+) - - .*"GET /gm)].map(([, ip]) => ip ?? ''))],
        (seen, facts) => ({
          right: seen.join() === addressOf(nodeOf('client')).of(facts),
          seen: seen.join(', ') || 'no request',
        }),
      ),
      show: /GET/,
      why: 'What leaves the pod network gets the address of its node, or the machine could not answer: it has no route to pods.',
    },
    {
      id: 'ask-from-a-node',
      look: on(worker(0), ...curl(word`http://${clusterIp('outside')}/?[1-12]`)),
      expect: answers({ ...both, times: 12 }),
      show: SERVER,
      why: 'The ClusterIP works on the nodes as well.',
    },
    {
      id: 'one-less',
      change: endpointsOf(router),
      expect: endpointsAt(
        'outside',
        value('the router alone', (facts) => [addressOf(router).of(facts)]),
      ),
      why: 'Whoever fills the list by hand also has to take out what is gone; nobody checks whether these endpoints answer.',
    },
    {
      id: 'ask-one',
      look: inPod('client', ...curl('http://outside/?[1-12]')),
      expect: answers({
        servers: value('the router', (facts) => [addressOf(router).of(facts)]),
        times: 12,
        status: 200,
      }),
      show: SERVER,
      why: 'Only the router answers now.',
    },
    {
      id: 'external-name',
      look: kubectl('get', 'service', 'elsewhere'),
      expect: holds('type ExternalName, no ClusterIP, no endpoints, and a name', ({ services }) => {
        const { type, clusterIp: ip, externalName, endpoints } = find('service', services, 'elsewhere');
        const right = type === 'ExternalName' && ip === '' && externalName !== '' && endpoints.length === 0;
        return { right, seen: `${type}, ${ip || 'no ClusterIP'}, ${externalName}` };
      }),
      why: 'An ExternalName is only another name: no address, no rules, no balancing.',
    },
    {
      id: 'ask-external-name',
      look: inPod('client', ...curl('http://elsewhere/')),
      expect: answers({ status: 200 }),
      show: SERVER,
      why: 'DNS answers with a CNAME, and the client connects to what that name is.',
    },
  ],
  undo: [outsider, router].map((machine) =>
    on(machine, 'sh', '-c', `systemctl stop --quiet lab-outside; rm -rf ${FOLDER}`),
  ),
};
