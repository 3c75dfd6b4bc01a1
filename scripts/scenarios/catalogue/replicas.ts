import { NGINX_IMAGE } from '../../shared/versions.ts';
import { answers } from '../answers.ts';
import { endpoints, holds, onlyStatus, pods } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import {
  after,
  clusterIp,
  curl,
  inNamespace,
  on,
  podIp,
  podName,
  podsOf,
  readyPods,
  router,
  word,
  worker,
} from '../words.ts';

const WEB = 'app=web';
const { kubectl, inPod, apply } = inNamespace('lab-replicas', 'replicas');
const everyPod = { by: readyPods(WEB), each: true, status: 200 };
const twentyByAddress = curl(word`http://${clusterIp('web')}/?[1-20]`);

/** S1: who stands behind the name of a service, and who keeps that right. */
export const replicas: Scenario = {
  name: 'replicas',
  title: 'Replicas and endpoints',
  lesson:
    'Clients use a stable name. Labels, the endpoints controller and kube-proxy keep the pods behind it right. Pods of a Deployment are replaced, never repaired.',
  namespaces: ['lab-replicas'],
  needs: [{ image: NGINX_IMAGE }],
  steps: [
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [pods(WEB, { ready: 3 }), endpoints('web', readyPods(WEB)), pods('client', { ready: 1 })],
      why: 'The Deployment makes a ReplicaSet, which makes three pods; the service selects them by their label.',
    },
    {
      id: 'owner',
      look: kubectl('get', 'pods', '-l', WEB, '--show-labels'),
      expect: holds('each pod: made by one ReplicaSet, named after it, with its hash as a label', (facts) => {
        const web = podsOf(WEB).of(facts);
        const right = ({ name, owner, labels }: (typeof web)[number]) =>
          owner === `ReplicaSet/web-${labels['pod-template-hash']}` &&
          name.startsWith(owner.slice('ReplicaSet/'.length));
        return {
          right: web.every(right),
          seen: web.map(({ name, owner }) => `${name} of ${owner}`).join(', '),
        };
      }),
      why: 'The label pod-template-hash tells the pods of one version of the template from those of another.',
    },
    {
      id: 'ask-by-name',
      look: inPod('client', ...curl('http://web/?[1-20]')),
      expect: answers({ ...everyPod, times: 20, client: podIp('client') }),
      show: /^pod /,
      why: 'Each connection to the name goes to one of the ready pods, by chance; the pod sees the client itself.',
    },
    {
      id: 'ask-from-a-node',
      look: on(worker(0), ...twentyByAddress),
      expect: answers({ ...everyPod, times: 20 }),
      show: /^pod /,
      why: 'kube-proxy makes the ClusterIP work on every node, for its own processes as well.',
    },
    {
      id: 'ask-from-the-router',
      look: on(router, ...twentyByAddress),
      expect: answers({ ...everyPod, times: 20 }),
      show: /^pod /,
      why: 'BGP announces the service network in this lab, so a machine outside the cluster reaches the ClusterIP too.',
    },
    {
      id: 'loop',
      change: apply('loop.yaml'),
      expect: pods('loop', { ready: 1 }),
      why: 'This pod asks the service about every 50 ms from now on and writes down each status.',
    },
    {
      id: 'scale-up',
      change: kubectl('scale', 'deployment', 'web', '--replicas=5'),
      expect: [pods(WEB, { ready: 5 }), endpoints('web', readyPods(WEB))],
      why: 'More replicas are more pods with the same label, and each becomes an endpoint when it is Ready.',
    },
    {
      id: 'ask-five',
      look: inPod('client', ...curl('http://web/?[1-40]')),
      expect: answers({ ...everyPod, times: 40 }),
      show: /^pod /,
      why: 'The rules of kube-proxy follow the endpoints on every node.',
    },
    {
      id: 'delete-one',
      change: kubectl('delete', 'pod', podName(WEB), '--wait=false'),
      expect: [
        pods(WEB, { ready: 5 }),
        endpoints('web', readyPods(WEB)),
        holds('one pod is new: another name and another address', (facts) => {
          const before = after('scale-up', podsOf(WEB)).of(facts);
          const isOld = (name: string, ip: string) =>
            before.some((old) => old.name === name || old.ip === ip);
          const fresh = podsOf(WEB)
            .of(facts)
            .filter(({ name, ip }) => !isOld(name, ip));
          return {
            right: fresh.length === 1,
            seen: fresh.map(({ name, ip }) => `${name} ${ip}`).join(', ') || 'none is new',
          };
        }),
      ],
      why: 'The ReplicaSet counts its pods and makes a new one; nobody repairs the old one.',
    },
    {
      id: 'scale-down',
      change: kubectl('scale', 'deployment', 'web', '--replicas=2'),
      expect: [pods(WEB, { ready: 2 }), endpoints('web', readyPods(WEB))],
      why: 'A pod that is told to end leaves the endpoints at once, before it is gone.',
    },
    {
      id: 'rollout',
      change: kubectl('set', 'env', 'deployment/web', 'VERSION=2'),
      expect: [pods(WEB, { ready: 2 }), ownersChanged('another ReplicaSet than before', false)],
      why: 'A new template is a new ReplicaSet; the Deployment moves the replicas over, one by one.',
    },
    {
      id: 'undo-rollout',
      change: kubectl('rollout', 'undo', 'deployment/web'),
      expect: [pods(WEB, { ready: 2 }), ownersChanged('the first ReplicaSet again', true)],
      why: 'The old ReplicaSet was kept with no replicas, so going back is scaling it up again.',
    },
    {
      id: 'no-request-failed',
      look: kubectl('logs', 'loop'),
      expect: onlyStatus(200, 100),
      show: /^$/,
      why: 'All this went on under a steady load: a pod is an endpoint only while it can answer.',
    },
  ],
};

function ownersChanged(which: string, back: boolean) {
  return holds(`both pods are of ${which}`, (facts) => {
    const ownersOf = podsOf(WEB);
    const first = after('scale-down', ownersOf)
      .of(facts)
      .map(({ owner }) => owner);
    const now = ownersOf.of(facts).map(({ owner }) => owner);
    return {
      right: now.every((owner) => first.includes(owner) === back),
      seen: [...new Set(now)].join(', '),
    };
  });
}
