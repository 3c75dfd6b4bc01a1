import { NGINX_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers } from '../answers.ts';
import { anotherReady, equals, pods, refused, says } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import {
  addressOf,
  after,
  curl,
  domain,
  inNamespace,
  nodeOf,
  on,
  outsider,
  podIp,
  podName,
  podsOf,
  readyPodName,
  readyPods,
  value,
  word,
} from '../words.ts';

const { kubectl, inPod, apply } = inNamespace('lab-host-network', 'host-network');
const HOST = 'app=host';
const BESIDE = 'app=beside';
const EQUAL = 'app=equal';

const hostAddress = addressOf(nodeOf(podName(HOST)));
const atHost = curl(word`http://${hostAddress}/?[1-5]`);
const fiveAnswers = { client: addressOf(outsider), status: 200, times: 5 };
const notReady = value(
  'the pod that is not Ready',
  (facts) =>
    podsOf(HOST)
      .of(facts)
      .find(({ ready }) => !ready)?.name ?? '',
);

/** S10, first half: pods on the network of their node. */
export const hostNetwork: Scenario = {
  name: 'host-network',
  title: 'Pods on the network of their node',
  lesson:
    'With hostNetwork a pod is a process on its node: same address, same ports. The scheduler books such a port only where it is declared; where it is not, one pod too many crashes instead of waiting.',
  namespaces: ['lab-host-network'],
  needs: [{ outsider: true }, { image: NGINX_IMAGE }, { image: TOOLBOX_IMAGE }],
  steps: [
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [
        pods(HOST, { ready: 1 }),
        equals(podIp(podName(HOST)), hostAddress),
        pods(BESIDE, { ready: 1, node: nodeOf(podName(HOST)) }),
        pods('client', { ready: 1 }),
      ],
      why: 'One pod with hostNetwork, and beside it on the same node one with a network of its own. Both listen on port 80.',
    },
    {
      id: 'ask-the-node',
      look: on(outsider, ...atHost),
      expect: answers({ ...fiveAnswers, by: readyPods(HOST), servers: hostAddress }),
      why: 'No service and no translation: the node answers, and the server sees the client itself.',
    },
    {
      id: 'headless-name',
      look: inPod('client', 'kdig', '+short', word`host.lab-host-network.svc.${domain}`),
      expect: says('the address of the node, alone', /^(\S+)(?=\s*$)/, hostAddress),
      why: 'A headless service names the addresses of its pods, and this one has that of its node.',
    },
    {
      id: 'ask-beside',
      look: inPod('client', ...curl(word`http://${podIp(podName(BESIDE))}/`)),
      expect: answers({ by: readyPods(BESIDE), status: 200 }),
      why: 'A pod with a network of its own has its own port 80: no conflict on the same node.',
    },
    {
      id: 'one-too-many',
      change: kubectl('scale', 'deployment', 'host', '--replicas=2'),
      expect: pods(HOST, {
        ready: 1,
        phases: { Running: 2 },
        reason: /ended with exit code 1 .*started again/,
        node: nodeOf(podName(HOST)),
      }),
      why: 'The scheduler knows nothing of a port that is not declared: the second pod is started where it cannot listen, again and again.',
    },
    {
      id: 'its-log',
      look: kubectl('logs', notReady),
      expect: says(
        'bind() finds the port taken',
        /bind\(\) .*(Address already in use)/,
        'Address already in use',
      ),
      show: /still|:80 failed/,
      why: 'The kernel gives a port to one process only, and the log of the second has its answer.',
    },
    {
      id: 'back-off',
      look: kubectl('get', 'events', '--field-selector', 'reason=BackOff'),
      expect: says(
        'an event of kubelet',
        /(Back-off restarting failed container)/,
        'Back-off restarting failed container',
      ),
      why: 'kubelet waits longer each time before it starts the container again; kubectl shows this as CrashLoopBackOff.',
    },
    {
      id: 'who-has-the-port',
      look: on(outsider, ...atHost),
      expect: answers({ ...fiveAnswers, by: after('apply', readyPods(HOST)) }),
      show: /^pod /,
      why: 'Whoever asks the node reaches the process that was there first.',
    },
    {
      id: 'free-the-port',
      change: kubectl('delete', 'pod', readyPodName(HOST), '--force', '--grace-period=0', '--wait=false'),
      expect: anotherReady(HOST, 'who-has-the-port'),
      withinMs: 45_000,
      why: 'When the first pod is gone the port is free, and the next one that is started gets it.',
    },
    {
      id: 'ask-the-next',
      look: on(outsider, ...atHost),
      expect: answers({ ...fiveAnswers, by: readyPods(HOST), servers: hostAddress }),
      show: /^pod /,
      why: 'The same address and port, another pod.',
    },
    {
      id: 'unequal-ports',
      change: apply('unequal.yaml'),
      expect: refused({
        reason: 'Invalid',
        because: /must match `(host|container)Port` when `hostNetwork` is true/,
      }),
      why: 'On the network of the node there is nothing to translate, so hostPort and containerPort must be the same.',
    },
    {
      id: 'declared-port',
      change: apply('equal.yaml'),
      expect: pods(EQUAL, {
        ready: 1,
        phases: { Running: 1, Pending: 1 },
        reason: /didn't have free ports/,
      }),
      why: 'With its port declared it is booked: of two replicas for one node the second waits instead of crashing.',
    },
    {
      id: 'ask-declared',
      look: on(outsider, ...curl(word`http://${addressOf(nodeOf(readyPodName(EQUAL)))}:8081/?[1-5]`)),
      expect: answers({ ...fiveAnswers, by: readyPods(EQUAL) }),
      show: /^pod /,
      why: 'It answers as the first one did: declaring a port changes what the scheduler knows, and nothing else.',
    },
  ],
};
