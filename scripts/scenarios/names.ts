import { counts } from './answers.ts';
import type { Facts } from './facts.ts';
import type { Expectation, Value } from './scenario.ts';
import { addressOf, find, kubectl, readyPods, resolved, value } from './words.ts';

/** Reads what dig prints, knot's or bind's: NOERROR, NXDOMAIN ... where a server answered, and the records. */
function parseDig(stdout: string) {
  const records = [...stdout.matchAll(/^[^;\s]\S*\s+\d+\s+IN\s+([A-Z]+)\s+(.+)$/gm)].map(
    ([, type = '', data = '']) => ({ type, data: data.trim().replace(/\.$/, '') }),
  );
  return { status: /status: ([A-Z]+)/.exec(stdout)?.[1], records };
}

/** The name has exactly these records of a type, in any order. */
export function resolves(
  type: 'A' | 'SRV' | 'CNAME',
  wanted: Value<string | readonly string[]>,
): Expectation {
  return {
    wanted: `${type} records: ${wanted.text}`,
    judge: ({ stdout, facts }) => {
      const { status, records } = parseDig(stdout);
      const all = records.filter((record) => record.type === type).map(({ data }) => data);
      const must = [wanted.of(facts)].flat();
      const problems = [
        ...must.filter((data) => !all.includes(data)).map((data) => `${data} is missing`),
        ...all.filter((data) => !must.includes(data)).map((data) => `${data} must not be there`),
      ];
      return {
        right: status === 'NOERROR' && must.length > 0 && problems.length === 0,
        seen: [...answered(status), ...(problems.length > 0 ? problems : all)].join('; '),
      };
    },
  };
}

/** The name does not exist. */
export const noSuchName: Expectation = {
  wanted: 'NXDOMAIN: there is no such name',
  judge: ({ stdout }) => {
    const { status, records } = parseDig(stdout);
    const seen = [...answered(status), ...records.map(({ data }) => data)];
    return { right: status === 'NXDOMAIN', seen: seen.join('; ') };
  },
};

function answered(status: string | undefined): readonly string[] {
  return status === 'NOERROR' ? [] : [status ?? 'no DNS server answered'];
}

/** A service's name in full. */
export function fullName(service: string, namespace: string): Value<string> {
  return value(
    `${service}.${namespace}.svc.<domain>`,
    ({ plan }) => `${service}.${namespace}.svc.${plan.kubernetes.domain}`,
  );
}

/** Where the Ready pods with a label answer. */
export function addressesOf(selector: string): Value<readonly string[]> {
  const ready = readyPods(selector);
  return value(`the address of each pod with ${selector}`, (facts) => ready.of(facts).map(({ ip }) => ip));
}

/** The SRV records of a headless service: one for each ready pod, by name or by its address, which share a weight of 100. */
export function srvOf(service: string, namespace: string, by: 'name' | 'address'): Value<readonly string[]> {
  return value(`one for each pod behind ${service}, of equal weight`, (facts) => {
    const ready = find('service', facts.services, service).endpoints.filter((each) => each.ready);
    const weight = Math.floor(100 / ready.length);
    const full = fullName(service, namespace).of(facts);
    return ready.map(({ pod, address, port }) => {
      const host = by === 'name' ? pod : address.replaceAll('.', '-');
      return `0 ${weight} ${port} ${host}.${full}`;
    });
  });
}

/** The environment variables that tell a pod of a service with one port without a name. */
function linksTo(service: string, address: string, port: number): Readonly<Record<string, string>> {
  const prefix = service.toUpperCase().replaceAll('-', '_');
  const url = `tcp://${address}:${port}`;
  const first = `${prefix}_PORT_${port}_TCP`;
  return {
    [`${prefix}_SERVICE_HOST`]: address,
    [`${prefix}_SERVICE_PORT`]: String(port),
    [`${prefix}_PORT`]: url,
    [first]: url,
    [`${first}_PROTO`]: 'tcp',
    [`${first}_PORT`]: String(port),
    [`${first}_ADDR`]: address,
  };
}

/** What `env` prints has the variables of a service, at this address; without one it has none of them. */
export function serviceVariables(service: string, address?: Value<string>): Expectation {
  return {
    wanted:
      address === undefined
        ? `no variable of ${service}`
        : `the seven variables of ${service}, with ${address.text}`,
    judge: ({ stdout, facts }) => {
      const own = variablesOf(service, stdout);
      const links =
        address === undefined ? {} : linksTo(service, resolved(address, facts), portOf(service, facts));
      const wrong = [...new Set([...Object.keys(own), ...Object.keys(links)])].filter(
        (name) => own[name] !== links[name],
      );
      const seen = wrong.map((name) => `${name} is ${own[name] ?? 'not there'}`).slice(0, 3);
      const all = Object.entries(own).map(([name, text]) => `${name}=${text}`);
      return { right: wrong.length === 0, seen: seen.join('; ') || all.slice(0, 2).join(' ') || 'none' };
    },
  };
}

function portOf(service: string, { services }: Facts): number {
  return find('service', services, service).ports[0]?.port ?? 0;
}

function variablesOf(service: string, stdout: string): Readonly<Record<string, string>> {
  const prefix = service.toUpperCase().replaceAll('-', '_');
  const own = new RegExp(`^(${prefix}_(?:SERVICE|PORT)\\w*)=(.*)$`, 'gm');
  return Object.fromEntries([...stdout.matchAll(own)].map(([, name, text]) => [name, text]));
}

/** The questions for addresses among what `tcpdump -n` captured, and whom they went to. */
function parseQuestions(stdout: string) {
  const line = /IP (\d+(?:\.\d+){3})\.\d+ > (\d+(?:\.\d+){3})\.53: .*?\b(A{1,4})\? (\S+)\. /g;
  return [...stdout.matchAll(line)].map(([, from = '', to = '', type = '', name = '']) => ({
    type,
    name,
    from,
    to,
  }));
}

/** A pod asked for A and AAAA of these names, in this order and of no others, at the ClusterIP of the cluster's DNS. */
export function asks(pod: string, names: Value<readonly string[]>): Expectation {
  return {
    wanted: `${pod} asks the ClusterIP of kube-dns for A and AAAA of ${names.text}`,
    judge: ({ stdout, facts }) => {
      const questions = parseQuestions(stdout);
      const asked = [...new Set(questions.map(({ name }) => name))];
      const wanted = names.of(facts);
      const address = find('pod', facts.pods, pod).ip;
      const both = (name: string) =>
        ['A', 'AAAA'].every((type) => questions.some((each) => each.name === name && each.type === type));
      const right =
        asked.join() === wanted.join() &&
        asked.every(both) &&
        questions.every(({ from, to }) => from === address && to === facts.plan.kubernetes.dnsAddress);
      const seen = questions.map(({ type, name, to }) => `${type} ${name} at ${to}`);
      return { right, seen: seen.join('; ') || 'no question' };
    },
  };
}

/** conntrack led each question of a pod to the ClusterIP of the cluster's DNS on to one of these addresses. */
export function ledTo(pod: string, addresses: Value<readonly string[]>): Expectation {
  return {
    wanted: `questions to the ClusterIP of kube-dns are led to ${addresses.text}`,
    judge: ({ stdout, facts }) => {
      const address = find('pod', facts.pods, pod).ip;
      const to = facts.plan.kubernetes.dnsAddress;
      const flow = /src=(\S+) dst=(\S+) sport=\d+ dport=53\b.*? src=(\S+) dst=/g;
      const servers = [...stdout.matchAll(flow)]
        .filter(([, source, destination]) => source === address && destination === to)
        .map(([, , , server = '']) => server);
      const right = servers.length > 0 && servers.every((server) => addresses.of(facts).includes(server));
      return { right, seen: servers.length === 0 ? `no connection to ${to}` : counts(servers) };
    },
  };
}

/** A node's name has the node's own address where the lab's DNS or k3s' is asked; kubeadm's CoreDNS knows none. */
export function nodeName(machine: Value<string>): Expectation {
  const known = resolves('A', addressOf(machine));
  return {
    wanted: `${known.wanted}, except with kubeadm's CoreDNS`,
    judge: (seen) => {
      const { kubernetes, choices } = seen.facts.plan;
      if (kubernetes.dns === 'lab' || choices.distribution.value === 'k3s') return known.judge(seen);
      const { status, records } = parseDig(seen.stdout);
      return { right: records.length === 0, seen: answered(status).join() };
    },
  };
}

/** The resolv.conf that kubelet writes for a pod of a namespace. */
export function looksUpIn(namespace: string): Expectation {
  return {
    wanted: `search list of ${namespace}, the ClusterIP of kube-dns as the only name server, ndots:5`,
    judge: ({ stdout, facts }) => {
      const lines = stdout.split('\n').map((line) => line.trim().split(/\s+/));
      const [search = [], nameservers = [], options = []] = ['search', 'nameserver', 'options'].map((key) =>
        lines.flatMap(([first, ...rest]) => (first === key ? rest : [])),
      );
      const { domain, dnsAddress } = facts.plan.kubernetes;
      const right =
        search.join() === [`${namespace}.svc.${domain}`, `svc.${domain}`, domain].join() &&
        nameservers.join() === dnsAddress &&
        options.includes('ndots:5');
      return {
        right,
        seen: [`search ${search.join(' ')}`, nameservers.join(' '), options.join(' ')].join('; '),
      };
    },
  };
}

/** What `cat /proc/mounts` prints has each of these paths: they are no part of the image. */
export function mounts(...paths: readonly string[]): Expectation {
  return {
    wanted: `${paths.join(', ')} are mounts`,
    judge: ({ stdout }) => {
      const mounted = stdout.split('\n').map((line) => line.split(' ')[1]);
      const missing = paths.filter((path) => !mounted.includes(path));
      return {
        right: missing.length === 0,
        seen: missing.length === 0 ? paths.join(', ') : `${missing.join(', ')}: no mount`,
      };
    },
  };
}

/** What `cat /etc/hosts` prints has the pod's name at its own address. */
export function hostsHas(pod: string): Expectation {
  return {
    wanted: `${pod} at its own address`,
    judge: ({ stdout, facts }) => {
      const lines = stdout.split('\n').map((line) => line.split(/\s+/));
      const own = lines.find(([, ...names]) => names.includes(pod))?.[0];
      return { right: own === find('pod', facts.pods, pod).ip, seen: own ?? `no line with ${pod}` };
    },
  };
}

/** Each of these is a line of what was printed, at least once. */
export function printsEach(wanted: Value<readonly string[]>): Expectation {
  return {
    wanted: `${wanted.text}, each at least once`,
    judge: ({ stdout, facts }) => {
      const first = stdout.split('\n').filter((line) => line !== '');
      const right = wanted.of(facts).every((each) => first.includes(each));
      return { right, seen: counts(first) };
    },
  };
}

const DNS_SERVICE = 'kube-dns';
const DNS_COLUMNS =
  'custom-columns=KIND:.kind,NAME:.metadata.name,CLUSTER-IP:.spec.clusterIP,ADDRESSES:.subsets[*].addresses[*].ip';

/** The service that pods ask for names. */
export const kubeDns = {
  /** Prints its ClusterIP and its endpoints. */
  look: kubectl('-n', 'kube-system', 'get', 'service,endpoints', DNS_SERVICE, '-o', DNS_COLUMNS),
  isNameServer: {
    wanted: 'its ClusterIP is the name server of the pods',
    judge: ({ stdout, facts }) => {
      const [, address = `there is no service ${DNS_SERVICE}`] = /^Service\s+\S+\s+(\S+)/m.exec(stdout) ?? [];
      return { right: address === facts.plan.kubernetes.dnsAddress, seen: address };
    },
  } satisfies Expectation,
  /** The addresses of its endpoints, as that step printed them. */
  endpointsOf: (step: string): Value<readonly string[]> =>
    value('the endpoints of kube-dns', (facts) => {
      const [, list = ''] = /^Endpoints\s+\S+\s+\S+\s+(\S+)/m.exec(facts.after(step).stdout) ?? [];
      return list.split(',');
    }),
};
