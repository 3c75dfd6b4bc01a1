import { ECHO_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpoints, holds, pods } from '../expect.ts';
import { serviceVariables } from '../names.ts';
import type { Scenario } from '../scenario.ts';
import { after, clusterIp, inNamespace, podIp, podName, readyPods, value } from '../words.ts';

const CLIENT = 'app=client';
const { kubectl, inPod, apply } = inNamespace('lab-discovery', 'discovery');
const oldAddress = after('services', clusterIp('web'));
const oldClient = after('client', podName(CLIENT));
const newClient = value(`a new pod with ${CLIENT}`, (facts) => {
  const old = oldClient.of(facts);
  return podName(CLIENT, podName(CLIENT).of(facts) === old ? 1 : 0).of(facts);
});
const byVariable = ['sh', '-c', 'nc -N -w 3 $WEB_SERVICE_HOST $WEB_SERVICE_PORT'];
const answered = answers({ by: readyPods('app=web') });

/** S3: two ways to find a service, and when each is right. */
export const discovery: Scenario = {
  name: 'discovery',
  title: 'Discovery: environment against DNS',
  lesson:
    'Environment variables are what was known when a pod started; a name is looked up each time. So variables want services before their clients, and names do not.',
  namespaces: ['lab-discovery'],
  needs: [{ image: ECHO_IMAGE }, { image: TOOLBOX_IMAGE }],
  steps: [
    {
      id: 'early',
      change: apply('early.yaml'),
      expect: pods('early', { ready: 1 }),
      why: 'This client starts while there is no service yet.',
    },
    {
      id: 'services',
      change: apply('services.yaml'),
      expect: [endpoints('web', readyPods('app=web')), pods('app=web', { ready: 1 })],
      why: 'One pod, behind a service with a ClusterIP and behind a headless one; an ExternalName has no pods at all.',
    },
    {
      id: 'client',
      change: apply('client.yaml'),
      expect: pods(CLIENT, { ready: 1 }),
      why: 'This client starts after the services.',
    },
    {
      id: 'variables',
      look: inPod(oldClient, 'env'),
      expect: [
        serviceVariables('web', clusterIp('web')),
        serviceVariables('peers'),
        serviceVariables('outside'),
      ],
      show: /^WEB_/,
      why: 'kubelet writes them for each service with a ClusterIP; a headless service and an ExternalName have none to write.',
    },
    {
      id: 'too-early',
      look: inPod('early', 'env'),
      expect: serviceVariables('web'),
      show: /^WEB_/,
      why: 'The order counts: what started before the service never hears of it in this way.',
    },
    {
      id: 'by-variable',
      look: inPod(oldClient, ...byVariable),
      expect: answered,
      show: /^(Server|Client):/,
      why: 'A program needs no DNS for this, only the name of the variable.',
    },
    {
      id: 'by-name',
      look: inPod('early', 'nc', '-N', '-w', '3', 'web', '1234'),
      expect: answered,
      show: /^(Server|Client):/,
      why: 'The name works in every pod, also in the one that started too early for the variables.',
    },
    {
      id: 'delete',
      change: kubectl('delete', 'service', 'web'),
      expect: holds('there is no service web', ({ services }) => {
        const names = services.map(({ name }) => name);
        return { right: !names.includes('web'), seen: names.join(', ') };
      }),
      why: 'The pod goes on; only its stable address is given back.',
    },
    {
      id: 'again',
      change: apply('services.yaml'),
      expect: holds('web has another ClusterIP than before', (facts) => {
        const [before, now] = [oldAddress.of(facts), clusterIp('web').of(facts)];
        return { right: before !== now, seen: `${before} before, ${now} now` };
      }),
      why: 'A new service gets a new address, by chance.',
    },
    {
      id: 'old-variables',
      look: inPod(oldClient, 'env'),
      expect: serviceVariables('web', oldAddress),
      show: /^WEB_/,
      why: 'The environment of a process is written once, when it starts.',
    },
    {
      id: 'by-old-variable',
      look: inPod(oldClient, ...byVariable),
      expect: fails('timeout'),
      why: 'No rule of kube-proxy has the old address any more, and nobody is there.',
    },
    {
      id: 'by-name-again',
      look: inPod(oldClient, 'nc', '-N', '-w', '3', 'web', '1234'),
      expect: answers({ by: readyPods('app=web'), client: podIp(oldClient) }),
      show: /^(Server|Client):/,
      why: 'The name has the new address at once.',
    },
    {
      id: 'scale',
      change: kubectl('scale', 'deployment', 'client', '--replicas=2'),
      expect: pods(CLIENT, { ready: 2 }),
      why: 'The Deployment makes another client from the same template.',
    },
    {
      id: 'new-variables',
      look: inPod(newClient, 'env'),
      expect: serviceVariables('web', clusterIp('web')),
      show: /^WEB_/,
      why: 'The new pod has the new address, the old one still the old: two replicas that do not see the same.',
    },
  ],
};
