import { machinesOf } from '../../plan/types.ts';
import { ECHO_IMAGE } from '../../shared/versions.ts';
import { answers, fails, share } from '../answers.ts';
import { endpoints, holds, nextHops, pods } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import {
  addressOf,
  controlPlane,
  curl,
  find,
  healthCheckNodePort,
  inNamespace,
  loadBalancerIp,
  nc,
  nodeOf,
  nodePort,
  on,
  outsider,
  podName,
  podsOf,
  router,
  value,
  word,
} from '../words.ts';

const { kubectl, apply } = inNamespace('lab-traffic-policy', 'traffic-policy');
const WEB = podsOf('app=web');
const each = { by: WEB, each: true };

const nodeAddresses = value('the addresses of the nodes', ({ plan }) =>
  machinesOf(plan, 'control-plane', 'worker').map(({ address }) => address),
);
const nodesWithPods = value('the nodes with a pod of web', (facts) =>
  WEB.of(facts).map(({ node }) => addressOf(node).of(facts)),
);

/** S5, second part: what externalTrafficPolicy changes. */
export const trafficPolicy: Scenario = {
  name: 'traffic-policy',
  title: 'externalTrafficPolicy: Cluster and Local',
  lesson:
    'Policy Cluster gives each pod the same share and hides the client behind a node. Local keeps the client address and saves a hop, and pays with uneven shares and with nodes that do not answer.',
  namespaces: ['lab-traffic-policy'],
  needs: [{ image: ECHO_IMAGE }, { workers: 2 }, { outsider: true }],
  steps: [
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [
        pods('set=pair', { ready: 2 }),
        pods('set=single', { ready: 1 }),
        endpoints('web', WEB),
        holds('two pods on one node, the third on another one', (facts) => {
          const nodes = WEB.of(facts).map(({ node }) => node);
          return { right: new Set(nodes).size === 2, seen: nodes.sort().join(', ') };
        }),
      ],
      why: 'Affinity puts the pods there: two of one Deployment together, the one of the other elsewhere.',
    },
    {
      id: 'announced',
      look: on(router, 'ip', 'route', 'show', loadBalancerIp('web')),
      expect: nextHops(
        value('every worker', ({ plan }) => machinesOf(plan, 'worker').map(({ address }) => address)),
      ),
      why: 'BGP is the load balancer of this lab: with policy Cluster every worker announces the address, and the router chooses.',
    },
    {
      id: 'even',
      look: on(router, ...nc(loadBalancerIp('web'), '80', 200)),
      expect: [answers({ ...each, times: 200, client: nodeAddresses }), share('set=single', [23, 43], 200)],
      show: /^$/,
      why: 'Each pod gets a third, wherever it runs; but what it sees as its client is a node.',
    },
    {
      id: 'local',
      change: kubectl('patch', 'service', 'web', '-p', '{"spec":{"externalTrafficPolicy":"Local"}}'),
      expect: holds('a health check node port', ({ services }) => {
        const port = find('service', services, 'web').healthCheckNodePort;
        return { right: port > 0, seen: port === 0 ? 'none' : String(port) };
      }),
      why: 'With policy Local a node hands connections from outside to its own pods only, so somebody must ask which nodes have any.',
    },
    {
      id: 'health-check',
      look: on(
        router,
        ...curl(word`http://${addressOf(nodeOf(podName('set=single')))}:${healthCheckNodePort('web')}/`),
      ),
      expect: answers({ status: 200 }),
      why: 'A node with a pod says 200 on that port, and how many it has ...',
    },
    {
      id: 'no-health',
      look: on(router, ...curl(word`http://${addressOf(controlPlane)}:${healthCheckNodePort('web')}/`)),
      expect: answers({ status: 503 }),
      why: '... and a node without one says 503.',
    },
    {
      id: 'withdrawn',
      look: on(router, 'ip', 'route', 'show', loadBalancerIp('web')),
      expect: nextHops(nodesWithPods),
      why: 'Nodes without a pod have withdrawn the address.',
    },
    {
      id: 'uneven',
      look: on(router, ...nc(loadBalancerIp('web'), '80', 200)),
      expect: [
        answers({ ...each, times: 200, client: addressOf(router) }),
        share('set=single', [40, 60], 200),
      ],
      show: /^$/,
      why: 'The pods see the client itself. The router halves the traffic by nodes, so the single pod gets twice the share of the others.',
    },
    {
      id: 'dropped',
      look: on(outsider, ...nc(addressOf(controlPlane), nodePort('web'))),
      expect: fails('timeout'),
      why: 'A node without a pod drops what comes from outside: no answer, and none that says so.',
    },
  ],
};
