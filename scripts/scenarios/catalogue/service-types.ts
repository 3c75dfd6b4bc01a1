import { contains, parseCidr } from '../../shared/ip.ts';
import { ECHO_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpoints, holds, pods } from '../expect.ts';
import type { Facts, ServiceFact } from '../facts.ts';
import type { Expectation, Scenario } from '../scenario.ts';
import {
  addressOf,
  after,
  clusterIp,
  find,
  inNamespace,
  nc,
  on,
  outsider,
  podIp,
  podsOf,
  value,
  word,
  worker,
} from '../words.ts';

const { kubectl, inPod, apply } = inNamespace('lab-service-types', 'service-types');
const WEB = podsOf('app=web');
const NODE_PORT = '31100';
const patch = (spec: object) => kubectl('patch', 'service', 'web', '-p', JSON.stringify({ spec }));
const each = { by: WEB, each: true, times: 20 };
const SERVER = /^Server/;

/** The service, which keeps its ClusterIP whatever it becomes. */
function web(wanted: string, judge: (service: ServiceFact, facts: Facts) => boolean): Expectation {
  return holds(`the same ClusterIP, ${wanted}`, (facts) => {
    const service = find('service', facts.services, 'web');
    const { type, clusterIp: ip, loadBalancerIps, ports } = service;
    const [{ nodePort } = { nodePort: 0 }] = ports;
    const right = ip === after('apply', clusterIp('web')).of(facts) && judge(service, facts);
    const number = nodePort === 0 ? 'no node port' : `node port ${nodePort}`;
    return { right, seen: [type, ip, number, loadBalancerIps[0] ?? 'no external address'].join(', ') };
  });
}
const hasNodePort = ({ ports: [port] }: ServiceFact) => port?.nodePort === Number(NODE_PORT);

/** S5: one service that becomes a NodePort, then a LoadBalancer, and goes back. */
export const serviceTypes: Scenario = {
  name: 'service-types',
  title: 'From ClusterIP to NodePort to LoadBalancer',
  lesson:
    'Each type contains the one before. LoadBalancer is a wish that somebody else must grant; until then the rest works.',
  namespaces: ['lab-service-types'],
  needs: [{ image: ECHO_IMAGE }, { image: TOOLBOX_IMAGE }, { workers: 2 }, { outsider: true }],
  steps: [
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [pods('app=web', { ready: 3 }), endpoints('web', WEB), pods('client', { ready: 1 })],
      why: 'The service has an address inside the cluster and nothing else.',
    },
    {
      id: 'inside',
      look: inPod('client', ...nc('web', '80', 20)),
      expect: answers({ ...each, client: podIp('client') }),
      show: SERVER,
      why: 'Inside the cluster each of the pods answers.',
    },
    {
      id: 'node-port',
      change: patch({ type: 'NodePort', ports: [{ port: 80, nodePort: Number(NODE_PORT) }] }),
      expect: web(`and node port ${NODE_PORT}`, hasNodePort),
      why: 'The type changes in place. A NodePort is a ClusterIP with a port of every node in addition; this one is chosen.',
    },
    {
      id: 'from-outside',
      look: on(outsider, ...nc(addressOf(worker(0)), NODE_PORT, 20)),
      expect: answers({ ...each, client: addressOf(worker(0)) }),
      show: SERVER,
      why: 'With policy Cluster any node leads to any pod. So that the answer comes back through it, the node puts its own address in.',
    },
    {
      id: 'by-hand',
      look: on(
        outsider,
        'sh',
        '-c',
        word`for node in ${addressOf(worker(0))} ${addressOf(worker(1))}; do nc -v -N -w 2 $node ${NODE_PORT}; done`,
      ),
      expect: answers({ by: WEB, times: 2 }),
      why: 'Whoever balances over the nodes by hand, or with a proxy of its own, does what a load balancer does.',
    },
    {
      id: 'loopback',
      look: on(worker(0), ...nc('127.0.0.1', NODE_PORT)),
      expect: inIptablesMode(answers({ by: WEB }), fails('refused', 'timeout')),
      why: 'On the node itself 127.0.0.1 works, too, where kube-proxy makes rules for iptables; in its other modes it does not.',
    },
    {
      id: 'another-port',
      look: on(outsider, ...nc(addressOf(worker(0)), '31101')),
      expect: fails('refused'),
      why: 'A port that belongs to no service is closed: the node itself answers that nobody listens.',
    },
    {
      id: 'pending',
      change: patch({ type: 'LoadBalancer', loadBalancerIP: '192.0.2.1' }),
      expect: web(
        'the same node port, and no external address',
        (service) => hasNodePort(service) && service.loadBalancerIps.length === 0,
      ),
      why: 'It asks for an address that nobody here has to give, so EXTERNAL-IP stays <pending>.',
    },
    {
      id: 'pending-works',
      look: inPod('client', ...nc('web', '80', 20)),
      expect: answers(each),
      show: SERVER,
      why: 'The ClusterIP works all the same, and so does the node port: nothing of it depends on an external address.',
    },
    {
      id: 'granted',
      change: patch({ loadBalancerIP: null }),
      expect: web('and an address of the pool of the lab', ({ loadBalancerIps: [ip = ''] }, { plan }) => {
        const pool = parseCidr(plan.kubernetes.loadBalancerCidr);
        return pool !== undefined && ip !== '' && contains(pool, ip);
      }),
      why: 'It takes any address now. The controller that gives them writes one into status.loadBalancer; a cloud does the same.',
    },
    {
      id: 'no-pods',
      change: kubectl('create', 'service', 'loadbalancer', 'empty', '--tcp=5678:8080'),
      expect: [
        endpoints(
          'empty',
          value('none', () => []),
        ),
        holds('port 5678, a node port that nobody chose, and an external address', ({ services }) => {
          const {
            ports: [port],
            loadBalancerIps,
          } = find('service', services, 'empty');
          const right = port?.port === 5678 && port.nodePort > 0 && loadBalancerIps.length === 1;
          return {
            right,
            seen: `${port?.port}:${port?.nodePort}, ${loadBalancerIps.join(', ') || 'pending'}`,
          };
        }),
      ],
      why: 'Pods are not asked for: a service without any gets addresses and ports all the same.',
    },
    {
      id: 'back',
      change: patch({
        type: 'ClusterIP',
        externalTrafficPolicy: null,
        ports: [{ port: 80, nodePort: null }],
      }),
      expect: web(
        'and nothing else',
        ({ type, ports: [port], loadBalancerIps }) =>
          type === 'ClusterIP' && port?.nodePort === 0 && loadBalancerIps.length === 0,
      ),
      why: 'Going back gives away node port and address, and both are free for others.',
    },
  ],
};

function inIptablesMode(right: Expectation, otherwise: Expectation): Expectation {
  return {
    wanted: `${right.wanted}; in another mode than iptables ${otherwise.wanted}`,
    judge: (seen) => (seen.facts.plan.kubernetes.proxyMode === undefined ? right : otherwise).judge(seen),
  };
}
