import { machinesOf } from '../../plan/types.ts';
import { NGINX_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers } from '../answers.ts';
import { holds, pods, prints, says } from '../expect.ts';
import type { Facts, PodFact } from '../facts.ts';
import { NotThere, type Scenario, type Value } from '../scenario.ts';
import { addressOf, clusterIp, inNamespace, nodeOf, on, podIp, podName, readyPods, value } from '../words.ts';

const WEB = 'app=web';
const { kubectl, inPod, apply } = inNamespace('lab-pod-network', 'pod-network');
const clientNode = nodeOf('client');
const ping = (address: Value<string>) => inPod('client', 'ping', '-c', '1', '-W', '2', address);
const neighbour = webPod('the pod on its node', (pod, facts) => pod.node === clientNode.of(facts));
const distant = webPod('a pod on another node', (pod, facts) => pod.node !== clientNode.of(facts));
const distantNode = part('the address of the node', distant, ({ node }, facts) => addressOf(node).of(facts));

/** S12: addresses, and routes to them. */
export const podNetwork: Scenario = {
  name: 'pod-network',
  title: 'The pod network',
  lesson:
    'A pod network is an address for each pod and a route to it on every node. A tunnel between the nodes would only hide that; here the machines route packets of pods as they are.',
  namespaces: ['lab-pod-network'],
  needs: [{ image: NGINX_IMAGE }, { image: TOOLBOX_IMAGE }, { workers: 2 }],
  steps: [
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [
        holds('a Ready pod on each worker', (facts) => {
          const has = readyPods(WEB)
            .of(facts)
            .map(({ node }) => node);
          const without = machinesOf(facts.plan, 'worker').filter(({ name }) => !has.includes(name));
          const seen = without.map(({ name }) => `none on ${name}`).join(', ') || has.join(', ');
          return { right: without.length === 0, seen };
        }),
        pods('client', { ready: 1 }),
      ],
      why: 'A DaemonSet has a pod on every node that takes pods.',
    },
    {
      id: 'nodes',
      look: kubectl(
        'get',
        'pods',
        '-o',
        'go-template={{range .items}}{{.metadata.name}} {{.spec.nodeName}}{{"\\n"}}{{end}}',
      ),
      expect: prints(
        'each pod with its node',
        (stdout) => stdout.trim().split('\n').sort().join(', '),
        (seen, { pods: all }) => {
          const wanted = all.map(({ name, node }) => `${name} ${node}`).sort();
          return { right: seen === wanted.join(', '), seen };
        },
      ),
      why: 'The scheduler has written into each pod on which node it runs; a template prints just that.',
    },
    {
      id: 'addresses',
      look: kubectl('get', 'pods', '-o', 'wide'),
      expect: holds('each pod has an address of its own, which is none of a machine', ({ plan, pods }) => {
        const taken = new Set([...plan.machines.map(({ address }) => address), '']);
        const right = pods.every(({ ip }) => !taken.has(ip) && taken.add(ip));
        return { right, seen: pods.map(({ name, ip }) => `${name} ${ip || 'without'}`).join(', ') };
      }),
      why: 'All containers of a pod share its one address; that of the node stays with the node.',
    },
    {
      id: 'interface',
      look: inPod('client', 'ip', 'addr', 'show', 'eth0'),
      expect: says(
        'one end of a pair, with the address of the pod',
        /eth0@if\d+[\s\S]*inet ([\d.]+)/,
        podIp('client'),
      ),
      show: /eth0/,
      why: 'The other end of eth0 is on the node: what goes in here comes out there.',
    },
    {
      id: 'other-end',
      look: on(clientNode, 'ip', 'route', 'get', podIp('client')),
      expect: says('a way without a next hop, into the pair', /^(\S+) dev (?:veth|cali)\S+/, podIp('client')),
      why: 'The node has a route to each of its pods, by an interface that leads to this pod only.',
    },
    {
      id: 'localhost',
      look: inPod(podName(WEB), 'wget', '-qO-', 'http://127.0.0.1/'),
      expect: answers({ by: readyPods(WEB), client: value('127.0.0.1', () => '127.0.0.1') }),
      show: /^(pod|client) /,
      why: 'A pod has a loopback interface as well, which its containers share.',
    },
    {
      id: 'same-node',
      look: ping(addressIn(neighbour)),
      expect: says('an answer that one machine has routed: TTL 63', /ttl=(\d+)/, '63'),
      show: /ttl/,
      why: 'Pods of one node have no switch between them: the node routes, and takes one from the TTL of 64.',
    },
    {
      id: 'other-node',
      look: ping(addressIn(distant)),
      expect: says('an answer that two machines have routed: TTL 62', /ttl=(\d+)/, '62'),
      show: /ttl/,
      why: "The answer comes through the other pod's node and through this one.",
    },
    {
      id: 'block',
      look: on(clientNode, 'ip', 'route', 'show', 'to', 'match', addressIn(distant)),
      expect: says('a route by the node of that pod', /^[\d.]+\/\d+ via (\S+)/m, distantNode),
      why: 'BGP tells every node which node has which block of pod addresses; one route for each node will do.',
    },
    {
      id: 'trace',
      look: inPod('client', 'traceroute', '-n', '-q', '1', '-w', '1', addressIn(distant)),
      expect: prints(
        'the own node, the other node, the pod',
        (stdout) => [...stdout.matchAll(/^ *\d+ +(\S+)/gm)].map(([, hop]) => hop),
        (hops, facts) => {
          const own = addressOf(clientNode.of(facts)).of(facts);
          const wanted = [own, distantNode.of(facts), addressIn(distant).of(facts)];
          return { right: hops.join() === wanted.join(), seen: hops.join(', ') };
        },
      ),
      why: 'Two routers and the pod: nothing else is between two pods.',
    },
    {
      id: 'no-tunnel',
      look: on(
        part('the node', distant, ({ node }) => node),
        ...['timeout', '10', 'tcpdump', '-nn', '-t', '-c', '2', '-i', 'any', 'icmp', 'and', 'src'],
        podIp('client'),
        'and',
        'dst',
        addressIn(distant),
      ),
      expect: says(
        "the pods' own addresses on the link between the machines",
        /^(?!veth|cali|tunl|vxlan)\S+ +In +IP (\S+) > \S+ ICMP echo request/m,
        podIp('client'),
      ),
      show: /ICMP/,
      why: 'The client pings all the time. Its packets cross the network of the machines as they are, in no other packet.',
    },
    {
      id: 'ping-cluster-ip',
      look: ping(clusterIp('web')),
      expect: says('no answer', /, (\d+) (?:packets )?received/, '0'),
      show: /received/,
      why: 'A pod has an interface that answers a ping. A ClusterIP has none: it is only in rules, for its ports.',
    },
  ],
};

function webPod(text: string, isIt: (pod: PodFact, facts: Facts) => boolean): Value<PodFact> {
  return value(text, (facts) => {
    const found = readyPods(WEB)
      .of(facts)
      .find((pod) => isIt(pod, facts));
    if (found === undefined) throw new NotThere(`${text} is not there`);
    return found;
  });
}

function part(what: string, pod: Value<PodFact>, of: (pod: PodFact, facts: Facts) => string): Value<string> {
  return value(`${what} of ${pod.text}`, (facts) => of(pod.of(facts), facts));
}

function addressIn(pod: Value<PodFact>): Value<string> {
  return part('the address', pod, ({ ip }) => ip);
}
