import { ECHO_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers, fails } from '../answers.ts';
import { endpoints, pods } from '../expect.ts';
import {
  addressesOf,
  asks,
  fullName,
  hostsHas,
  kubeDns,
  ledTo,
  looksUpIn,
  mounts,
  nodeName,
  noSuchName,
  printsEach,
  resolves,
  srvOf,
} from '../names.ts';
import type { Scenario, Word } from '../scenario.ts';
import { clusterIp, inNamespace, nodeOf, on, podIp, podName, readyPods, value, worker } from '../words.ts';

const WEB = 'app=web';
const ready = readyPods(WEB);
const { kubectl, inPod, apply } = inNamespace('lab-dns', 'dns');
const inClient = (...argv: readonly Word[]) => inPod('client', ...argv);
const dig = (name: Word, type: string) => inClient('dig', name, type);
const connect = (name: Word) => inClient('nc', '-N', '-w', '3', name, '1234');
const peers = fullName('peers', 'lab-dns');

/** S7: what a name is to a pod. */
export const dns: Scenario = {
  name: 'dns',
  title: 'DNS from inside a pod',
  lesson:
    'A short name is a search over suffixes that the client makes; the server knows full names only, and learns of them from the API.',
  namespaces: ['lab-dns', 'lab-dns-other'],
  needs: [{ image: ECHO_IMAGE }, { image: TOOLBOX_IMAGE }],
  steps: [
    {
      id: 'apply',
      change: apply('names.yaml'),
      expect: [
        ...[pods(WEB, { ready: 3 }), pods('client', { ready: 1 }), pods('elsewhere', { ready: 1 })],
        ...[endpoints('web', ready), endpoints('peers', ready)],
      ],
      why: 'A service with a ClusterIP and a headless one select the same pods, so they have the same endpoints.',
    },
    {
      id: 'resolv-conf',
      look: inClient('cat', '/etc/resolv.conf'),
      expect: looksUpIn('lab-dns'),
      why: 'kubelet writes it: names with fewer than five dots are tried with each suffix first.',
    },
    {
      id: 'server',
      look: kubeDns.look,
      expect: kubeDns.isNameServer,
      why: 'The DNS of a cluster is a service like any other, with pods behind it.',
    },
    {
      id: 'mounts',
      look: inClient('cat', '/proc/mounts'),
      show: / \/etc\//,
      expect: mounts('/etc/hosts', '/etc/resolv.conf', '/etc/notes'),
      why: 'These files are no part of the image: they lie on the node and are mounted into the container.',
    },
    {
      id: 'hosts',
      look: inClient('cat', '/etc/hosts'),
      expect: hostsHas('client'),
      why: 'A pod finds its own name there, without asking anybody.',
    },
    {
      id: 'service',
      look: dig(fullName('web', 'lab-dns'), 'A'),
      expect: resolves('A', clusterIp('lab-dns/web')),
      show: /\tA\t/,
      why: 'The full name of a service with a ClusterIP is one address, however many pods there are.',
    },
    {
      id: 'short-name',
      look: connect('web'),
      expect: answers({ by: ready, client: podIp('client') }),
      show: /^(Server|Client):/,
      why: 'The first suffix is the own namespace, so the bare name of a service is enough there.',
    },
    {
      id: 'other-namespace',
      look: connect('there.lab-dns-other'),
      expect: answers({ by: readyPods('app=there') }),
      show: /^(Server|Client):/,
      why: 'NAME.NAMESPACE is found with the second suffix.',
    },
    {
      id: 'not-here',
      look: connect('there'),
      expect: fails('no-name'),
      why: 'No suffix leads from a bare name to another namespace.',
    },
    {
      id: 'bare-pod',
      look: connect(podName(WEB)),
      expect: fails('no-name'),
      why: 'A pod has no name of its own at the top of its namespace.',
    },
    {
      id: 'questions',
      look: inClient(
        ...['sh', '-c'],
        'timeout 5 tcpdump -lni eth0 -c 4 udp dst port 53 & sleep 1; nc -N -w 3 there.lab-dns-other 1234; wait',
      ),
      expect: asks(
        'client',
        value('the name with the first suffix, then with the second', ({ plan }) =>
          ['lab-dns.svc', 'svc'].map((suffix) => `there.lab-dns-other.${suffix}.${plan.kubernetes.domain}`),
        ),
      ),
      show: /\? /,
      why: 'One short name is four questions: the client goes through its suffixes until one is answered.',
    },
    {
      id: 'way',
      look: on(
        nodeOf('client'),
        ...['conntrack', '-L', '-p', 'udp', '--orig-port-dst', '53', '--orig-src', podIp('client')],
      ),
      expect: ledTo('client', kubeDns.endpointsOf('server')),
      why: 'The question to the ClusterIP takes the way of any service: kube-proxy leads it to a pod of the DNS.',
    },
    {
      id: 'headless',
      look: dig(peers, 'A'),
      expect: resolves('A', addressesOf(WEB)),
      show: /\tA\t/,
      why: 'A headless name is the addresses of all Ready pods.',
    },
    {
      id: 'turns',
      look: inClient('sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9; do dig +short "$0" | head -1; done', peers),
      expect: printsEach(addressesOf(WEB)),
      why: 'The records come in turns, so that clients which take the first one are spread over the pods.',
    },
    {
      id: 'srv',
      look: dig(peers, 'SRV'),
      expect: resolves('SRV', srvOf('peers', 'lab-dns', 'address')),
      show: /\tSRV\t/,
      why: 'Pods without a hostname are named by their address; three of them share a weight of 100: 33 each.',
    },
    {
      id: 'empty',
      look: dig(fullName('empty', 'lab-dns'), 'A'),
      expect: noSuchName,
      show: /status:/,
      why: 'A headless service without a Ready pod has no record, as if it did not exist.',
    },
    {
      id: 'node',
      look: dig(worker(0), 'A'),
      expect: nodeName(worker(0)),
      show: /\tA\t/,
      why: 'The DNS knows the nodes by name, as that of k3s does.',
    },
    {
      id: 'scale',
      change: kubectl('scale', 'deployment', 'web', '--replicas=4'),
      expect: [pods(WEB, { ready: 4 }), endpoints('peers', ready)],
      why: 'One more endpoint in the API.',
    },
    {
      id: 'follows',
      look: dig(peers, 'A'),
      expect: resolves('A', addressesOf(WEB)),
      withinMs: 10_000,
      show: /\tA\t/,
      why: 'Nobody reloads the DNS: it watches the API and answers the new address within seconds.',
    },
  ],
};
