import { ECHO_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpoints, holds, pods, refused } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import {
  addressOf,
  clusterIp,
  find,
  inNamespace,
  nc,
  nodePort,
  on,
  outsider,
  podIp,
  podsOf,
  word,
  worker,
} from '../words.ts';

const { kubectl, inPod, apply } = inNamespace('lab-ports', 'ports');
const NAMED = podsOf('app=named');

/** S4: a port of a service, of its pods and of the nodes are three numbers. */
export const ports: Scenario = {
  name: 'ports',
  title: 'Ports: of the service, of the pod, of the node',
  lesson:
    'port, targetPort and nodePort are three numbers at three places: at the ClusterIP, in the pod and on every node. What a pod declares as containerPort is information; only a name of it has an effect.',
  namespaces: ['lab-ports'],
  needs: [{ image: ECHO_IMAGE }, { image: TOOLBOX_IMAGE }, { outsider: true }],
  steps: [
    {
      id: 'pods',
      change: apply('pods.yaml'),
      expect: [pods('app=named', { ready: 2 }), pods('silent', { ready: 1 }), pods('client', { ready: 1 })],
      why: 'Pod one listens on 8001, pod two on 8002, and both call that port "answer". Pod silent listens on 8003 and declares nothing.',
    },
    {
      id: 'services',
      change: apply('services.yaml'),
      expect: [endpoints('number', podsOf('one')), endpoints('named', NAMED)],
      why: 'port is where a service listens, targetPort where its pods do: a number, or the name of a port that the pods declare.',
    },
    {
      id: 'translated',
      look: inPod('client', ...nc('number', '5000')),
      expect: answers({ by: podsOf('one'), ports: [8001], client: podIp('client') }),
      why: 'The client asks for port 5000, and the pod is asked on 8001: kube-proxy rewrites address and port of the first packet.',
    },
    {
      id: 'only-port',
      look: inPod('client', ...nc(clusterIp('number'), '8001')),
      expect: fails('timeout', 'refused', 'no-route'),
      why: 'At the ClusterIP there is only the port of the service; the port of the pod is not known there.',
    },
    {
      id: 'fixed-address',
      look: kubectl('patch', 'service', 'number', '-p', '{"spec":{"clusterIP":"10.96.0.99"}}'),
      expect: refused({ reason: 'Invalid', because: /immutable|may not change/ }),
      why: 'Ports and selector of a service can change, its ClusterIP never does.',
    },
    {
      id: 'by-name',
      look: inPod('client', ...nc('named', '5000', 12)),
      expect: answers({ by: NAMED, each: true, ports: [8001, 8002], times: 12 }),
      show: /^Server/,
      why: 'A targetPort by name is looked up in each pod, so one service can lead to different ports.',
    },
    {
      id: 'two-ports-tcp',
      look: inPod('client', ...nc('both', '80')),
      expect: answers({ by: podsOf('one'), ports: [8001] }),
      why: 'A service may have several ports, each with a name of its own ...',
    },
    {
      id: 'two-ports-udp',
      look: inPod('client', 'sh', '-c', word`echo | nc -u -w 1 ${clusterIp('both')} 80`),
      expect: answers({ by: podsOf('one'), ports: [9001] }),
      why: '... and TCP/80 and UDP/80 are two ports, which here lead to two containers.',
    },
    {
      id: 'undeclared',
      look: inPod('client', ...nc(podIp('silent'), '8003')),
      expect: answers({ by: podsOf('silent'), ports: [8003] }),
      why: 'Not declaring a port does not close it: whatever listens in the pod can be reached.',
    },
    {
      id: 'expose-undeclared',
      change: kubectl('expose', 'pod', 'silent', '--port=80', '--target-port=8003'),
      expect: endpoints('silent', podsOf('silent')),
      why: 'A service needs no declared port either, as long as its targetPort is a number.',
    },
    {
      id: 'ask-undeclared',
      look: inPod('client', ...nc('silent', '80')),
      expect: answers({ by: podsOf('silent'), ports: [8003] }),
      why: 'The service leads to the port that nobody declared.',
    },
    {
      id: 'node-port',
      look: kubectl('get', 'service', 'named'),
      expect: holds('a node port between 30000 and 32767', (facts) => {
        const port = find('service', facts.services, 'named').ports[0]?.nodePort ?? 0;
        return { right: port >= 30_000 && port <= 32_767, seen: String(port) };
      }),
      why: 'nodePort is the third number. Nobody chose it, so the API server took a free one of its range.',
    },
    {
      id: 'ask-node-port',
      look: on(outsider, ...nc(addressOf(worker(0)), nodePort('named'), 12)),
      expect: answers({ by: NAMED, each: true, ports: [8001, 8002], times: 12 }),
      show: /^Server/,
      why: 'From outside the same pods answer on an address of a node: nodePort, port and targetPort are one way in three numbers.',
    },
    {
      id: 'taken',
      look: kubectl(
        'create',
        'service',
        'nodeport',
        'taken',
        '--tcp=80:8001',
        word`--node-port=${nodePort('named')}`,
      ),
      expect: refused({ reason: 'Invalid', field: 'spec.ports[0].nodePort', because: /already allocated/ }),
      why: 'A node port belongs to one service, in all namespaces; the second one is refused and not merely late.',
    },
    {
      id: 'out-of-range',
      look: kubectl('create', 'service', 'nodeport', 'outside', '--tcp=80:8001', '--node-port=8080'),
      expect: refused({
        reason: 'Invalid',
        field: 'spec.ports[0].nodePort',
        because: /range of valid ports is 30000-32767/,
      }),
      why: 'The range is an option of the API server (--service-node-port-range) and keeps clear of what nodes themselves listen on.',
    },
  ],
};
