import { type LabPlan, machinesOf } from '../../plan/types.ts';
import { kubernetesMinor, NGINX_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers } from '../answers.ts';
import { holds, pods, prints, says, succeeds } from '../expect.ts';
import type { Expectation, Scenario } from '../scenario.ts';
import { controlPlane, curl, inNamespace, kubectl, on, podsOf, value, word } from '../words.ts';

const WEB = 'app=web';
const { inPod, apply } = inNamespace('lab-nodes', 'nodes');
const lastWorker = value('the last worker', ({ plan }) => machinesOf(plan, 'worker').at(-1)?.name ?? '');
const onLast = value('the pod on the last worker', (facts) =>
  podsOf(WEB)
    .of(facts)
    .filter((pod) => pod.node === lastWorker.of(facts)),
);
const addressOnLast = value('its address', (facts) => onLast.of(facts)[0]?.ip ?? '');
const taint = value('the taint', ({ plan: { kubernetes } }) =>
  kubernetesMinor(kubernetes.version) < 24
    ? 'node-role.kubernetes.io/master'
    : 'node-role.kubernetes.io/control-plane',
);
const k3sValue = value('', ({ plan }) => (plan.choices.distribution.value === 'k3s' ? '=true' : ''));
const cni = value(
  '/etc/cni/net.d/NAME.conflist',
  ({ plan }) => `/etc/cni/net.d/10-${plan.choices.cni.value === 'bird' ? 'lab' : 'calico'}.conflist`,
);
const SYSTEM = ['etcd-', 'kube-apiserver-', 'kube-controller-manager-', 'kube-scheduler-', 'dns'];
const node = kubectl('get', 'node', lastWorker);

/** S12, second part: taints, and what a node is without a pod network. */
export const nodes: Scenario = {
  name: 'nodes',
  title: 'Nodes that take pods',
  lesson:
    'A node takes new pods if its taints allow them and if it has a pod network. Pods that run keep what they have.',
  namespaces: ['lab-nodes'],
  needs: [{ image: NGINX_IMAGE }, { image: TOOLBOX_IMAGE }],
  steps: [
    {
      id: 'system-pods',
      look: kubectl('get', 'pods', '-n', 'kube-system', '-o', 'wide'),
      expect: prints(
        'kube-proxy on every node, the control plane once, and the DNS; k3s has all but the DNS in its own process',
        (stdout) => stdout.split('\n').slice(1),
        (lines, { plan }) => {
          const { distribution } = plan.choices;
          const wanted =
            distribution.value === 'k3s'
              ? ['dns']
              : [
                  ...SYSTEM,
                  ...machinesOf(plan, 'control-plane', 'worker').map(({ name }) => `kube-proxy-.* ${name} `),
                ];
          const missing = wanted.filter(
            (each) => !lines.some((line) => new RegExp(each).test(line) && / Running /.test(line)),
          );
          return {
            right: missing.length === 0,
            seen: missing.length === 0 ? `${lines.length - 1} pods` : `${missing.join(', ')} is missing`,
          };
        },
      ),
      why: 'The API server keeps all in etcd, the scheduler chooses nodes, the controllers make pods, kube-proxy makes the rules of services on each node.',
    },
    {
      id: 'apply',
      change: apply('web.yaml'),
      expect: [onePodOn(workers), pods('client', { ready: 1 })],
      why: 'A DaemonSet has a pod on every node that takes pods; the taint of the control plane keeps them away from it.',
    },
    {
      id: 'untaint',
      change: kubectl('taint', 'nodes', controlPlane, word`${taint}-`),
      expect: onePodOn((plan) => machinesOf(plan, 'control-plane', 'worker').map(({ name }) => name)),
      why: 'Without its taint the control plane is a node like any other.',
    },
    {
      id: 'take-cni',
      change: on(lastWorker, 'mv', cni, word`${cni}.away`),
      expect: succeeds,
      why: 'The container runtime reads from this file how a pod gets its interface, address and routes.',
    },
    {
      id: 'not-ready',
      look: node,
      expect: says('NotReady', / (Ready|NotReady)/, 'NotReady'),
      why: 'A node that could not give a new pod a network takes none: the scheduler leaves it out.',
    },
    {
      id: 'still-there',
      look: inPod('client', ...curl(word`http://${addressOnLast}/`)),
      expect: answers({ by: onLast }),
      show: /^(pod|client) /,
      why: 'The pods that run there keep what they have: interface, address and routes are in the kernel.',
    },
    {
      id: 'put-back',
      change: on(lastWorker, 'mv', word`${cni}.away`, cni),
      expect: succeeds,
      why: 'That is all that the node was lacking.',
    },
    {
      id: 'ready',
      look: node,
      expect: says('Ready', / (Ready|NotReady)/, 'Ready'),
      why: 'The runtime looks at the folder all the time, and kubelet asks the runtime.',
    },
    {
      id: 'pods-ready',
      look: kubectl('get', 'pods', '-A', '--field-selector', word`spec.nodeName=${lastWorker}`),
      expect: prints(
        'each pod of that node is Ready again',
        (stdout) => [...stdout.matchAll(/^\S+ +(\S+) +(\d+)\/(\d+)/gm)],
        (all) => {
          const unready = all.filter(([, , ready, count]) => ready !== count).map(([, name]) => name);
          return {
            right: all.length > 0 && unready.length === 0,
            seen: unready.join(', ') || `all ${all.length}`,
          };
        },
      ),
      why: 'While a node is NotReady, its pods count as not Ready and are no endpoints; that is over.',
    },
  ],
  undo: [
    on(lastWorker, 'sh', '-c', word`[ ! -e ${cni}.away ] || mv ${cni}.away ${cni}`),
    kubectl('taint', 'nodes', controlPlane, word`${taint}${k3sValue}:NoSchedule`, '--overwrite'),
  ],
};

function workers(plan: LabPlan): readonly string[] {
  return machinesOf(plan, 'worker').map(({ name }) => name);
}

function onePodOn(nodes: (plan: LabPlan) => readonly string[]): Expectation {
  return holds('a Ready pod on each of these nodes and none elsewhere', (facts) => {
    const all = podsOf(WEB).of(facts);
    const wanted = [...nodes(facts.plan)].sort().join(', ');
    const has = all.map((pod) => (pod.ready ? pod.node : `${pod.node}: ${pod.reason}`)).sort();
    return { right: has.join(', ') === wanted, seen: has.join(', ') || 'none' };
  });
}
