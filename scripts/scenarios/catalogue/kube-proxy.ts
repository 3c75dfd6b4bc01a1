import { NGINX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpoints, pods, prints, succeeds } from '../expect.ts';
import { backendRules, countedAnswers, hairpinRules, leadsTo, nodePortRules, portalRules } from '../rules.ts';
import type { Scenario } from '../scenario.ts';
import {
  addressOf,
  clusterIp,
  curl,
  inNamespace,
  nodeOf,
  nodePort,
  on,
  outsider,
  podName,
  readyPods,
  value,
  word,
  worker,
} from '../words.ts';

const WEB = 'app=web';
const { kubectl, inPod, apply } = inNamespace('lab-kube-proxy', 'kube-proxy');
const ready = readyPods(WEB);
const natRules = on(worker(0), 'iptables-save', '-c', '-t', 'nat');
const ofWeb = /-A KUBE-S(VC|ERVICES).*lab-kube-proxy\/web|lab-kube-proxy\/web.* DNAT /;

/** S2: a ClusterIP is a few rules on every node. */
export const kubeProxy: Scenario = {
  name: 'kube-proxy',
  title: 'Anatomy of kube-proxy',
  lesson:
    'No program answers at a ClusterIP: on every node a few nat rules replace it by the address of a pod. Equal shares come from unequal probabilities that are tried in order.',
  namespaces: ['lab-kube-proxy'],
  reads: ['default'],
  needs: [{ image: NGINX_IMAGE }, { proxyMode: 'iptables' }],
  steps: [
    {
      id: 'mode',
      look: on(worker(0), 'curl', '-sS', 'http://127.0.0.1:10249/proxyMode'),
      expect: prints(
        'mode iptables',
        (stdout) => stdout.trim(),
        (mode) => ({ right: mode === 'iptables', seen: mode }),
      ),
      why: 'kube-proxy tells its mode itself; nftables and ipvs make other rules, with the same effect.',
    },
    {
      id: 'api-server',
      look: natRules,
      expect: leadsTo(
        'default/kubernetes',
        value('the API server', ({ plan }) => plan.kubernetes.apiServer),
      ),
      show: /default\/kubernetes:https.* -j (KUBE-S|DNAT)/,
      why: 'Pods reach the API server as a service too; behind it is the address of the control plane.',
    },
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [pods(WEB, { ready: 3 }), endpoints('web', ready)],
      why: 'Three pods behind one ClusterIP.',
    },
    {
      id: 'rules',
      look: natRules,
      expect: [portalRules('web'), backendRules('web', ready), hairpinRules('web')],
      show: ofWeb,
      why: 'The first rule takes a third, the second half of what is left, the last one all the rest: a third each.',
    },
    {
      id: 'same-on-every-node',
      look: on(worker(1), 'iptables-save', '-c', '-t', 'nat'),
      expect: [portalRules('web'), backendRules('web', ready)],
      show: /-A KUBE-SVC.*lab-kube-proxy\/web/,
      why: 'Every kube-proxy watches the API and writes the rules of all services, whichever pods run on its node.',
    },
    {
      id: 'ask',
      change: on(worker(0), ...curl(word`http://${clusterIp('web')}/?[1-60]`)),
      expect: answers({ by: ready, each: true, times: 60, status: 200, client: addressOf(worker(0)) }),
      show: /^pod /,
      why: 'The node asks as itself, so that each pod sees the address of the node.',
    },
    {
      id: 'counters',
      look: on(
        worker(0),
        'sh',
        '-c',
        'iptables-save -c -t nat; "$@"; iptables-save -c -t nat',
        'sh',
        ...curl(word`http://${clusterIp('web')}/?[1-20]`),
      ),
      expect: countedAnswers('web'),
      show: /lab-kube-proxy\/web.* DNAT /,
      why: 'Only the first packet of a connection meets the nat rules; conntrack treats the others as that one.',
    },
    {
      id: 'scale-down',
      change: kubectl('scale', 'deployment', 'web', '--replicas=1'),
      expect: [pods(WEB, { ready: 1 }), endpoints('web', ready)],
      why: 'With one pod left there is nothing to choose.',
    },
    {
      id: 'one-rule',
      look: natRules,
      expect: backendRules('web', ready),
      show: ofWeb,
      why: 'One rule without a probability is left.',
    },
    {
      id: 'hairpin',
      look: inPod(
        podName(WEB),
        'sh',
        '-c',
        'printf "GET / HTTP/1.0\\n\\n" | nc -w 3 "$0" 80',
        clusterIp('web'),
      ),
      expect: answers({ by: ready, client: addressOf(nodeOf(podName(WEB))) }),
      why: 'A pod that is led to itself sees its node as client: it would answer its own address without passing the rules again.',
    },
    {
      id: 'node-port',
      change: kubectl('patch', 'service', 'web', '-p', '{"spec":{"type":"NodePort"}}'),
      expect: succeeds,
      why: 'The service keeps its ClusterIP and gets a port on every node.',
    },
    {
      id: 'node-port-rules',
      look: natRules,
      expect: nodePortRules('web'),
      show: /KUBE-NODEPORTS .*lab-kube-proxy\/web|KUBE-EXT/,
      why: 'Marked connections get the address of the node, so that the answer comes back the same way.',
    },
    {
      id: 'ask-node-port',
      look: on(outsider, ...curl(word`http://${addressOf(worker(0))}:${nodePort('web')}/`)),
      expect: answers({ by: ready, status: 200 }),
      why: 'Any node leads to the pod, wherever that runs.',
    },
    {
      id: 'no-pod',
      change: kubectl('scale', 'deployment', 'web', '--replicas=0'),
      expect: endpoints('web', ready),
      why: 'A service without a ready pod is still there.',
    },
    {
      id: 'refused',
      look: on(worker(0), 'nc', '-zv', '-w', '3', clusterIp('web'), '80'),
      expect: fails('refused'),
      why: 'Then a rule of the filter table refuses the connection at once, and nobody has to wait.',
    },
  ],
};
