import { machinesOf } from '../../plan/types.ts';
import { INGRESS_IMAGE, NGINX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpoints, holds, nextHops, pods, succeeds } from '../expect.ts';
import { nodeAddresses } from '../ingress.ts';
import { backendRules, countedNothingSince } from '../rules.ts';
import type { Scenario } from '../scenario.ts';
import {
  addressOf,
  curl,
  find,
  inNamespace,
  loadBalancerIp,
  nodeOf,
  nodePort,
  on,
  outsider,
  podIp,
  podName,
  podsOf,
  readyPods,
  router,
  value,
  word,
  worker,
} from '../words.ts';

const WEB = 'app=web';
const ENTRY = 'app=entry';
const EDGE = 'app=edge';
const LABEL = 'lab-ingress-place';
const PART = `app.kubernetes.io/part-of=${LABEL}`;
const { kubectl, apply } = inNamespace('lab-ingress-place', 'ingress-place');
const web = { by: readyPods(WEB), each: true, status: 200 };
const entry = podName(ENTRY);
const natRules = on(nodeOf(entry), 'iptables-save', '-c', '-t', 'nat');
const edges = value('the proxies on the nodes', (facts) =>
  podsOf(EDGE)
    .of(facts)
    .map(({ ip }) => ip),
);
/** A worker that does not run the one proxy. */
const elsewhere = value('a worker without the proxy', (facts) => {
  const [other] = machinesOf(facts.plan, 'worker').filter(({ name }) => name !== nodeOf(entry).of(facts));
  return other?.name ?? '';
});
const viaNodePort = curl(word`http://${addressOf(elsewhere)}:${nodePort('entry')}/?[1-10]`);
const viaAddress = on(router, ...curl(word`http://${loadBalancerIp('edge')}/?[1-20]`));
const route = on(router, 'ip', 'route', 'show', loadBalancerIp('edge'));

/** S11: how a request comes to the proxy, and how many rewrite it on its way. */
export const ingressPlace: Scenario = {
  name: 'ingress-place',
  title: 'Where the Ingress sits',
  lesson:
    'Count the hops and who rewrites addresses. From the proxy on a request goes straight to a pod, past kube-proxy; before the proxy it depends on where that sits.',
  namespaces: ['lab-ingress-place'],
  needs: [
    { image: INGRESS_IMAGE },
    { image: NGINX_IMAGE },
    { outsider: true },
    { workers: 3 },
    { proxyMode: 'iptables' },
  ],
  undo: [
    kubectl('delete', 'ingressclasses,clusterroles,clusterrolebindings', '-l', PART),
    kubectl('label', 'nodes', '--all', `${LABEL}-`),
  ],
  steps: [
    {
      id: 'web',
      change: apply('web.yaml'),
      expect: [pods(WEB, { ready: 2 }), endpoints('web', readyPods(WEB))],
      why: 'Two pods behind a service, and an Ingress that leads every host there.',
    },
    {
      id: 'entry',
      change: apply('entry.yaml'),
      expect: pods(ENTRY, { ready: 1 }),
      why: 'First place: one proxy somewhere in the cluster, behind a node port.',
    },
    {
      id: 'counters',
      look: natRules,
      expect: backendRules('web', readyPods(WEB)),
      show: /lab-ingress-place\/web.* DNAT /,
      why: 'What kube-proxy has counted for the service web on the node of the proxy.',
    },
    {
      id: 'node-port',
      look: on(outsider, ...viaNodePort),
      expect: answers({ ...web, times: 10, client: podIp(entry), forwarded: addressOf(elsewhere) }),
      show: /^(pod|client|forwarded) /,
      why: 'The node that was asked leads on to the proxy under its own address: one hop more, and the client is lost. The pods see the proxy.',
    },
    {
      id: 'past-kube-proxy',
      look: natRules,
      expect: countedNothingSince('counters', 'web'),
      show: /lab-ingress-place\/web.* DNAT /,
      why: 'The proxy connects to the endpoints itself, so no rule for the ClusterIP of web was used.',
    },
    {
      id: 'label',
      change: kubectl('label', 'nodes', worker(0), worker(1), worker(2), `${LABEL}=edge`, '--overwrite'),
      expect: succeeds,
      why: 'Second place: the nodes that carry this label.',
    },
    {
      id: 'edge',
      change: apply('edge.yaml'),
      expect: pods(EDGE, { ready: 3, spread: true }),
      why: 'A DaemonSet runs one proxy on each of them, on port 80 of the node.',
    },
    {
      id: 'host-port',
      look: on(outsider, ...curl(...[0, 1, 2].map((n) => word`http://${addressOf(worker(n))}/`))),
      expect: answers({
        by: readyPods(WEB),
        status: 200,
        times: 3,
        client: edges,
        forwarded: addressOf(outsider),
      }),
      show: /^(client|forwarded) /,
      why: 'Each node leads its port 80 to its own proxy, which sees the client itself: no hop more, and no kube-proxy.',
    },
    {
      id: 'address',
      look: kubectl('get', 'service', 'edge'),
      expect: holds('the service has an address', ({ services }) => {
        const [ip] = find('service', services, 'edge').loadBalancerIps;
        return { right: ip !== undefined, seen: ip ?? 'pending' };
      }),
      why: 'Third place: behind one address, which is given to the service.',
    },
    {
      id: 'routes',
      look: route,
      expect: nextHops(nodeAddresses(readyPods(EDGE))),
      why: 'With policy Local only the nodes with a proxy announce it, and the router shares the connections among them.',
    },
    {
      id: 'one-address',
      look: viaAddress,
      expect: answers({ ...web, times: 20, client: edges, forwarded: addressOf(router) }),
      show: /^(client|forwarded) /,
      why: 'One address for all nodes, and the proxy sees the client, because Local needs no other node.',
    },
    {
      id: 'one-node-less',
      change: kubectl('label', 'nodes', worker(2), `${LABEL}-`),
      expect: pods(EDGE, { ready: 2 }),
      why: 'One node loses its proxy.',
    },
    {
      id: 'withdrawn',
      look: route,
      expect: nextHops(nodeAddresses(readyPods(EDGE))),
      why: 'It withdraws its route, so nothing is sent to where nobody answers.',
    },
    {
      id: 'still-there',
      look: viaAddress,
      expect: answers({ ...web, times: 20, client: edges, forwarded: addressOf(router) }),
      show: /^(client|forwarded) /,
      why: 'The address still works; no single node carries it alone.',
    },
    {
      id: 'not-on-that-node',
      look: on(outsider, 'nc', '-zv', '-w', '3', addressOf(worker(2)), '80'),
      expect: fails('refused'),
      why: 'The host port is gone with its proxy: who asks nodes by their own addresses must choose another one.',
    },
  ],
};
