import { machinesOf } from '../../plan/types.ts';
import { NGINX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { anotherReady, holds, pods, says } from '../expect.ts';
import { NotThere, type Scenario } from '../scenario.ts';
import {
  addressOf,
  controlPlane,
  curl,
  inNamespace,
  loadBalancerIp,
  nodeOf,
  nodePort,
  on,
  outsider,
  podIp,
  podName,
  podsOf,
  readyPodName,
  readyPods,
  router,
  value,
  word,
} from '../words.ts';

const { kubectl, apply } = inNamespace('lab-host-ports', 'host-ports');
const MAPPED = 'app=mapped';
const BOOKED = 'app=booked';
const NO_FREE_PORT = /didn't have free ports/;

const workers = value('the workers', ({ plan }) => machinesOf(plan, 'worker'));
const here = addressOf(nodeOf(podName(MAPPED)));
const elsewhere = value('another worker', (facts) => {
  const other = workers.of(facts).find(({ address }) => address !== here.of(facts));
  if (other === undefined) throw new NotThere('there is one worker only');
  return other.address;
});
const eachWorker = value(
  'the addresses of the workers',
  (facts) => `{${workers.of(facts).map(({ address }) => address)}}`,
);
const oneMore = value('one more than there are workers', (facts) => String(workers.of(facts).length + 1));
const onePerWorker = holds('one Ready pod on each worker, and one that waits', (facts) => {
  const all = podsOf(BOOKED).of(facts);
  const ready = all.filter((pod) => pod.ready).map(({ node }) => node);
  const waiting = all.filter(({ node, reason }) => node === '' && NO_FREE_PORT.test(reason)).length;
  const wanted = workers.of(facts).map(({ name }) => name);
  return {
    right: String(ready.sort()) === String([...wanted].sort()) && waiting === 1,
    seen: `Ready on ${ready.join(', ') || 'no node'}; ${waiting} without a free port`,
  };
});
/** Port 18080 of the control plane leads into the pod while curl asks. */
const forward = value('the command', ({ plan }) =>
  plan.choices.distribution.value === 'k3s'
    ? 'k3s kubectl'
    : 'kubectl --kubeconfig /etc/kubernetes/admin.conf',
);
const ask = curl('--max-time', '8', '--retry', '8', '--retry-connrefused', 'http://127.0.0.1:18080/');

/** S10, second half: ports of the nodes that lead to pods. */
export const hostPorts: Scenario = {
  name: 'host-ports',
  title: 'Host ports, and the ways into a cluster',
  lesson:
    'A hostPort leads from a port of one node to the pod there. The scheduler books it, so there is at most one such pod for each node, and one too many waits. Clients must know the node; with a service they need not.',
  namespaces: ['lab-host-ports'],
  needs: [{ outsider: true }, { image: NGINX_IMAGE }, { workers: 2 }],
  steps: [
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [pods(MAPPED, { ready: 1 }), pods(BOOKED, { ready: 1 })],
      why: 'hostPort 7777 with containerPort 80: the pod has a network of its own, and its node translates one port to it.',
    },
    {
      id: 'ask-the-node',
      look: on(outsider, ...curl(word`http://${here}:7777/`)),
      expect: answers({
        by: readyPods(MAPPED),
        client: addressOf(outsider),
        servers: podIp(podName(MAPPED)),
      }),
      why: 'Only the destination is translated: the server sees its own address, and the client itself.',
    },
    {
      id: 'its-rule',
      look: on(nodeOf(podName(MAPPED)), 'iptables-save', '-t', 'nat'),
      expect: says(
        'a rule that translates 7777 to port 80 of the pod',
        /^-A CNI-DN-.* --dport 7777 -j DNAT --to-destination (\S+)$/m,
        word`${podIp(podName(MAPPED))}:80`,
      ),
      show: /dport 7777 -j DNAT|dports 7777/,
      why: 'The CNI plugin portmap made it when the pod started. kube-proxy has no part in this.',
    },
    {
      id: 'another-node',
      look: on(outsider, 'nc', '-v', '-z', '-w', '3', elsewhere, '7777'),
      expect: fails('refused'),
      why: 'Unlike a node port, a host port is there on the node of the pod only.',
    },
    {
      id: 'one-too-many',
      change: kubectl('scale', 'deployment', 'booked', word`--replicas=${oneMore}`),
      expect: onePerWorker,
      why: 'The scheduler books host ports. Each worker gets one pod, and the one too many stays Pending.',
    },
    {
      id: 'what-the-scheduler-says',
      look: kubectl('get', 'events', '--field-selector', 'reason=FailedScheduling'),
      expect: says('FailedScheduling, with why', /(didn't have free ports)/, "didn't have free ports"),
      show: NO_FREE_PORT,
      why: 'A pod that no node has taken has no log. Its events say what the scheduler missed on each node.',
    },
    {
      id: 'free-the-port',
      change: kubectl('delete', 'pod', readyPodName(BOOKED), '--force', '--grace-period=0', '--wait=false'),
      expect: [onePerWorker, anotherReady(BOOKED, 'what-the-scheduler-says')],
      why: 'The booking goes with the pod, and a pod that waited takes the node.',
    },
    {
      id: 'ask-each-worker',
      look: on(outsider, ...curl(word`http://${eachWorker}:8080/`)),
      expect: answers({ by: readyPods(BOOKED), each: true, client: addressOf(outsider) }),
      show: /^pod /,
      why: 'Port 8080 of each worker leads to the pod there.',
    },
    {
      id: 'port-forward',
      look: on(
        controlPlane,
        'sh',
        '-c',
        word`${forward} -n lab-host-ports port-forward ${podName(MAPPED)} 18080:80 >/dev/null & "$@"; kill $!`,
        'sh',
        ...ask,
      ),
      expect: answers({ by: readyPods(MAPPED), client: word`127.0.0.1` }),
      why: 'kubectl port-forward opens a port where kubectl runs. API server and kubelet carry the connection into the pod, which sees 127.0.0.1.',
    },
    {
      id: 'proxy',
      look: kubectl(
        'get',
        '--raw',
        word`/api/v1/namespaces/lab-host-ports/pods/${podName(MAPPED)}:80/proxy/`,
      ),
      expect: answers({ by: readyPods(MAPPED), client: addressOf(controlPlane) }),
      why: 'This is the path that kubectl proxy opens for a browser. Here the API server itself asks the pod.',
    },
    {
      id: 'ways-in',
      look: on(
        router,
        ...curl(
          word`http://${here}:7777/`,
          word`http://${elsewhere}:${nodePort('mapped')}/`,
          word`http://${loadBalancerIp('mapped')}/`,
        ),
      ),
      expect: answers({ by: readyPods(MAPPED), times: 3, status: 200 }),
      show: /^(pod|client) /,
      why: 'hostPort on its node, NodePort on any node, LoadBalancer on none: three of five ways in. See scenarios host-network and ingress for the others.',
    },
  ],
};
