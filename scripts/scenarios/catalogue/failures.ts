import { ECHO_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { endpoints, holds, pods, prints } from '../expect.ts';
import type { Facts, PodFact } from '../facts.ts';
import { type Expectation, NotThere, type Scenario } from '../scenario.ts';
import { after, inNamespace, nodeOf, on, podName, podsOf, readyPods, value } from '../words.ts';

const { kubectl, apply } = inNamespace('lab-failures', 'failures');
const ECHO = 'app=echo';
const TEXT = { held: 'the held connection', udp: 'the datagrams' };
const BARE = 'app=bare';

/** kubelet 1.20 keeps pods that end in the API, and the scheduler would put the bare pod beside them. */
const AT_ONCE = ['--force', '--grace-period=0', '--wait=false'];
/** Ends every process of this namespace on a machine, as a restart of the machine does. */
const END_ALL = `$CTR -n k8s.io containers ls -q 'labels."io.kubernetes.pod.namespace"==lab-failures' | xargs -n 1 $CTR -n k8s.io tasks kill -s SIGKILL`;
const ctr = value('CTR=ctr', ({ plan }) =>
  plan.choices.distribution.value === 'k3s' ? 'CTR=k3s ctr' : 'CTR=ctr',
);
const twoServers = [pods(ECHO, { ready: 2, spread: true }), endpoints('echo', readyPods(ECHO))];

/** S13: what a failure costs those who are connected, and who puts a pod back. */
export const failures: Scenario = {
  name: 'failures',
  title: 'Through failures',
  lesson:
    'Balancing happens per connection, and once: a connection ends with its pod, and the next one goes elsewhere. Who restarts a pod, its kubelet, a Deployment or nobody, decides what a failure costs.',
  namespaces: ['lab-failures'],
  needs: [{ image: ECHO_IMAGE }, { image: TOOLBOX_IMAGE }, { workers: 2 }],
  steps: [
    {
      id: 'apply',
      change: apply('servers.yaml'),
      expect: [...twoServers, pods('shell', { ready: 1 })],
      why: 'Two servers of a Deployment behind a service, and a pod that runs a shell.',
    },
    {
      id: 'connect',
      change: apply('watch.yaml'),
      expect: pods('watch', { ready: 1 }),
      why: 'This pod holds one connection, sends datagrams from one port, and opens a connection for each request.',
    },
    {
      id: 'all-three',
      look: kubectl('logs', 'watch'),
      expect: [landed('held'), landed('udp'), outages()],
      why: 'The held connection and the datagrams stay with the pod that kube-proxy drew for the first packet.',
    },
    {
      id: 'delete-held',
      change: kubectl('delete', 'pod', podOf('held', 'all-three'), ...AT_ONCE),
      expect: twoServers,
      why: 'The Deployment replaces it. The service has the other one meanwhile.',
    },
    {
      id: 'held-lands-elsewhere',
      look: kubectl('logs', 'watch'),
      expect: [landed('held', 'all-three'), outages()],
      why: 'A connection cannot move: it ends with its pod. The client connects again, and the draw is among the pods that are left.',
    },
    {
      id: 'delete-udp',
      change: kubectl('delete', 'pod', podOf('udp', 'held-lands-elsewhere'), ...AT_ONCE),
      expect: twoServers,
      why: 'UDP has no connections, but conntrack remembers which pod the datagrams of a port go to.',
    },
    {
      id: 'udp-lands-elsewhere',
      look: kubectl('logs', 'watch'),
      expect: [landed('udp', 'held-lands-elsewhere'), landed('held'), outages()],
      why: 'kube-proxy removes what conntrack remembers of an endpoint that is gone; else the same port would go on sending to nobody.',
    },
    {
      id: 'bare-pod',
      change: apply('bare.yaml'),
      expect: pods(BARE, { ready: 1 }),
      why: 'A pod that no Deployment made, with restartPolicy Never, on the node of one of the servers.',
    },
    {
      id: 'end-all-on-a-node',
      change: on(nodeOf(podName(BARE)), 'env', ctr, 'sh', '-c', END_ALL),
      expect: [...twoServers, restarted(), pods(BARE, { phases: { Failed: 1 }, ready: 0 })],
      withinMs: 45_000,
      why: 'As if the node had been restarted: all processes of these pods on it end. kubelet starts the pod of the Deployment again, in place; it has a new address.',
    },
    {
      id: 'nobody-restarts-it',
      look: kubectl('get', 'pods', '-o', 'wide'),
      expect: [pods(BARE, { phases: { Failed: 1 }, ready: 0 }), pods(ECHO, { ready: 2 })],
      show: /NAME|echo|bare/,
      why: 'The bare pod stays down: its restartPolicy is Never, and no Deployment counts it.',
    },
    {
      id: 'what-it-cost',
      look: kubectl('logs', 'watch'),
      expect: [landed('held'), landed('udp'), outages()],
      why: 'The clients of a service go on with the other pod; those without a second connection would not.',
    },
    {
      id: 'leave-the-shell',
      change: { ...kubectl('attach', 'shell', '-i'), input: 'exit\n' },
      expect: pods('shell', { ready: 1, restarts: 1 }),
      why: 'The shell was the process of its container. restartPolicy is Always here, so kubelet starts the container again.',
    },
  ],
};

interface Landing {
  readonly ip: string;
  /** How long nobody had answered. */
  readonly ms: number;
}

/** Where the held connection, or the datagrams, were at last. Throws NotThere. */
function landing(what: 'held' | 'udp', log: string): Landing {
  const last = [...log.matchAll(new RegExp(`^${what} (\\S+) (\\d+)$`, 'gm'))].at(-1);
  if (last === undefined) throw new NotThere(`no pod has answered: ${what}`);
  return { ip: last[1] ?? '', ms: Number(last[2]) };
}

function podAt(pods: readonly PodFact[], ip: string): PodFact {
  const pod = pods.find((each) => each.ip === ip);
  if (pod === undefined) throw new NotThere(`no pod has the address ${ip}`);
  return pod;
}

/** The pod that it was with when a step had ended. */
function podOf(what: 'held' | 'udp', step: string) {
  const text = `the pod that ${TEXT[what]} ${what === 'held' ? 'is' : 'are'} with`;
  return value(text, ({ after: seen }) => {
    const { stdout, facts } = seen(step);
    return podAt(facts.pods, landing(what, stdout).ip).name;
  });
}

/** It is with a Ready pod; with another one than when that step had ended. */
function landed(what: 'held' | 'udp', unlike?: string): Expectation {
  const other = unlike === undefined ? undefined : podOf(what, unlike);
  return prints(
    `${TEXT[what]}: with ${other === undefined ? 'a' : 'another'} Ready pod`,
    (stdout) => stdout,
    (log, facts) => {
      const { ip, ms } = landing(what, log);
      const pod = podAt(readyPods(ECHO).of(facts), ip);
      return { right: pod.name !== other?.of(facts), seen: `${pod.name}, ${ms} ms after the last answer` };
    },
  );
}

/** The requests were answered, none after more than 10 s. */
function outages(): Expectation {
  return prints(
    'requests are answered, and never for more than 10 s none',
    (stdout) => [...stdout.matchAll(/^requests (\d+) (\d+) (\d+)$/gm)].at(-1)?.slice(1).map(Number) ?? [],
    ([answered = 0, failed = 0, longest = 0]) => ({
      right: answered > 0 && longest < 10_000,
      seen: `${answered} answered, ${failed} not; none for ${longest} ms at the longest`,
    }),
  );
}

/** One pod of the Deployment was started again under its name, with another address. */
function restarted(): Expectation {
  return holds('a pod of the Deployment: started again under its name, another address', (facts: Facts) => {
    const before = after('udp-lands-elsewhere', podsOf(ECHO)).of(facts);
    const again = podsOf(ECHO)
      .of(facts)
      .filter(
        ({ name, ip, restarts }) => restarts > 0 && before.some((old) => old.name === name && old.ip !== ip),
      );
    return {
      right: again.length === 1,
      seen:
        again.map(({ name, ip, restarts }) => `${name} ${ip}, ${restarts} containers`).join(', ') || 'none',
    };
  });
}
