import { counts } from './answers.ts';
import type { Facts, PodFact } from './facts.ts';
import type { Expectation, Judgement, Seen, Value } from './scenario.ts';
import { after, find, podsOf, readyPods, resolved } from './words.ts';

/** What pods must be like; what is not named may be anything. */
export interface WantedPods {
  /** How many of them must be Ready, and none else may be there. */
  readonly ready?: number;
  /** How many must be in each phase: Running, Pending, Succeeded, Failed. */
  readonly phases?: Readonly<Record<string, number>>;
  /** What keeps one of them from being Ready. */
  readonly reason?: RegExp;
  /** Each on a node of its own. */
  readonly spread?: boolean;
  /** Their names: in this order. */
  readonly names?: readonly string[];
  /** How often the containers of each were started again, at least. */
  readonly restarts?: number;
  readonly node?: Value<string>;
}

/** The pods with a label are as they must be. */
export function pods(selector: string, wanted: WantedPods): Expectation {
  const which = podsOf(selector);
  return {
    wanted: podsText(which.text, wanted),
    judge: ({ facts }) => judgePods(which.of(facts), wanted, facts),
  };
}

function podsText(
  which: string,
  { ready, phases, reason, spread, names, restarts, node }: WantedPods,
): string {
  return [
    `${which}:`,
    [
      ...(ready === undefined ? [] : [`${ready} Ready`]),
      ...Object.entries(phases ?? {}).map(([phase, count]) => `${count} ${phase}`),
      ...(names === undefined ? [] : [names.join(', ')]),
      ...(spread === true ? ['each on a node of its own'] : []),
      ...(node === undefined ? [] : [`on ${node.text}`]),
      ...(restarts === undefined ? [] : [`started again at least ${restarts} times`]),
      ...(reason === undefined ? [] : [`not Ready because ${reason.source}`]),
    ].join(', '),
  ].join(' ');
}

function judgePods(found: readonly PodFact[], wanted: WantedPods, facts: Facts): Judgement {
  const phases = Object.entries(wanted.phases ?? {});
  const names = found.map(({ name }) => name).sort();
  const inPhase = (phase: string) => found.filter((pod) => pod.phase === phase).length;
  const right =
    (wanted.ready === undefined ||
      (found.filter(({ ready }) => ready).length === wanted.ready &&
        (wanted.phases !== undefined || found.length === wanted.ready))) &&
    phases.every(([phase, count]) => inPhase(phase) === count) &&
    (wanted.names === undefined || wanted.names.join() === names.join()) &&
    (wanted.spread !== true || new Set(found.map(({ node }) => node)).size === found.length) &&
    (wanted.restarts === undefined || found.every(({ restarts }) => restarts >= (wanted.restarts ?? 0))) &&
    (wanted.node === undefined || found.every(({ node }) => node === wanted.node?.of(facts))) &&
    (wanted.reason === undefined ||
      found.some(({ ready, reason }) => !ready && wanted.reason?.test(reason) === true));
  const words = ({ name, ready, node, reason, restarts }: PodFact) =>
    [
      name,
      ...(ready ? [] : [reason]),
      ...(node === '' ? [] : [`on ${node}`]),
      ...(restarts > 0 ? [`started again ${restarts} times`] : []),
    ].join(' ');
  const unready = found.filter(({ ready }) => !ready);
  const count = `${found.length - unready.length} of ${found.length} Ready`;
  const seen = (right || unready.length === 0 ? found : unready).map(words).join('; ');
  return { right, seen: found.length === 0 ? 'there is none' : right ? seen : `${count}: ${seen}` };
}

/** A pod with a label is Ready that was not when an earlier step had ended. */
export function anotherReady(selector: string, step: string): Expectation {
  const ready = readyPods(selector);
  return holds(`another pod with ${selector} is Ready than after step ${step}`, (facts) => {
    const before = after(step, ready).of(facts);
    const fresh = ready.of(facts).filter(({ name }) => !before.some((old) => old.name === name));
    return { right: fresh.length > 0, seen: fresh.map(({ name }) => name).join(', ') || 'there is none' };
  });
}

/** One value is the other. */
export function equals(one: Value<string>, other: Value<string>): Expectation {
  return holds(`${one.text} is ${other.text}`, (facts) => {
    const seen = one.of(facts);
    return { right: seen === other.of(facts), seen };
  });
}

/** The EndpointSlices of a service name exactly these pods as ready. */
export function endpoints(service: string, which: Value<readonly PodFact[]>): Expectation {
  return holds(`the endpoints of ${service} are ${which.text}`, (facts) => {
    const has = readyAddresses(service, facts);
    const wanted = ipsOf(which, facts);
    const name = (ip: string) => facts.pods.find((pod) => pod.ip === ip && !pod.hostNetwork)?.name;
    const strange = has
      .filter((ip) => !wanted.includes(ip))
      .map((ip) => `${ip} (${name(ip) ?? 'no pod of these'}) is one and must not be`);
    const missing = wanted
      .filter((ip) => !has.includes(ip))
      .map((ip) => `${ip || 'a pod without an address'} (${name(ip) ?? '?'}) is missing`);
    const problems = [...strange, ...missing];
    return { right: problems.length === 0, seen: problems.join('; ') || has.join(', ') || 'none' };
  });
}

function readyAddresses(service: string, { services }: Facts): readonly string[] {
  const ready = find('service', services, service).endpoints.filter((each) => each.ready);
  return [...new Set(ready.map(({ address }) => address))].sort();
}

/** The addresses of pods, sorted. */
export function ipsOf(which: Value<readonly PodFact[]>, facts: Facts): readonly string[] {
  return which
    .of(facts)
    .map(({ ip }) => ip)
    .sort();
}

/** The EndpointSlices of a service name exactly these addresses as ready, of whatever they are. */
export function endpointsAt(service: string, which: Value<readonly string[]>): Expectation {
  return holds(`the endpoints of ${service} are ${which.text}`, (facts) => {
    const has = readyAddresses(service, facts);
    return { right: has.join() === [...which.of(facts)].sort().join(), seen: has.join(', ') || 'none' };
  });
}

/** `ip route show` printed these next hops; none where there is no route. */
export function nextHops(which: Value<readonly string[]>): Expectation {
  return prints(
    `next hops: ${which.text}`,
    (stdout) => [...new Set([...stdout.matchAll(/\bvia (\S+)/g)].map(([, hop]) => hop ?? ''))].sort(),
    (hops, facts) => ({
      right: hops.join() === [...new Set(which.of(facts))].sort().join(),
      seen: hops.join(', ') || 'no route',
    }),
  );
}

/** How the API refuses something. */
export interface WantedRefusal {
  /** Invalid, Forbidden, AlreadyExists, NotFound ... */
  readonly reason: 'Invalid' | 'Forbidden' | 'AlreadyExists' | 'NotFound';
  /** The field that it names, as in spec.ports[0].nodePort. */
  readonly field?: string;
  /** Its own words for why. */
  readonly because?: RegExp;
}

/** How kubectl prints the reasons of the API. */
const REASONS: readonly (readonly [RegExp, WantedRefusal['reason']])[] = [
  [/is invalid: /, 'Invalid'],
  [/\(AlreadyExists\)/, 'AlreadyExists'],
  [/\(Forbidden\)|is forbidden: /, 'Forbidden'],
  [/\(NotFound\)/, 'NotFound'],
];

/** The API refuses it, for this reason. */
export function refused({ reason, field, because }: WantedRefusal): Expectation {
  return {
    wanted: [
      `the API refuses it: ${reason}`,
      ...(field === undefined ? [] : [`field ${field}`]),
      ...(because === undefined ? [] : [because.source]),
    ].join(', '),
    judge: ({ exitCode, stderr }) => {
      const was = REASONS.find(([pattern]) => pattern.test(stderr))?.[1];
      const right =
        exitCode !== 0 &&
        was === reason &&
        (field === undefined || stderr.includes(`${field}:`)) &&
        (because === undefined || because.test(stderr));
      return { right, seen: exitCode === 0 ? 'the API took it' : stderr.trim() };
    },
  };
}

/** The command ended well. */
export const succeeds: Expectation = {
  wanted: 'it ends well',
  judge: ({ exitCode, stderr }) => ({
    right: exitCode === 0,
    seen: exitCode === 0 ? 'it ended well' : `exit code ${exitCode}: ${stderr.trim().split('\n').at(-1)}`,
  }),
};

/** What the command printed, read by `parse`, is what `wanted` says; for what no other expectation is for. */
export function prints<T>(
  wanted: string,
  parse: (stdout: string) => T,
  judge: (parsed: T, facts: Facts) => Judgement,
): Expectation {
  return { wanted, judge: ({ stdout, facts }: Seen) => judge(parse(stdout), facts) };
}

/** The first group of a pattern in what the command printed. */
export function says(wanted: string, pattern: RegExp, is: string | Value<string>): Expectation {
  return prints(
    wanted,
    (stdout) => [pattern.exec(stdout), stdout.trim().split('\n').at(-1)] as const,
    ([found, end], facts) => {
      const wantedText = resolved(is, facts);
      if (found === null) return { right: false, seen: end || 'nothing was printed' };
      const seen = found[0].split('\n').at(-1)?.trim() ?? '';
      return found[1] === wantedText
        ? { right: true, seen }
        : { right: false, seen: `${seen}: ${found[1]}, not ${wantedText}` };
    },
  );
}

/** Something that follows from what the API says. */
export function holds(wanted: string, judge: (facts: Facts) => Judgement): Expectation {
  return { wanted, judge: ({ facts }) => judge(facts) };
}

/** Every status in a log of curl's, "status 200" a line, is this one, and there are at least so many. */
export function onlyStatus(status: number, atLeast: number): Expectation {
  return prints(
    `at least ${atLeast} requests, each with status ${status}`,
    (stdout) => [...stdout.matchAll(/^status (\d+)$/gm)].map(([, code]) => code ?? ''),
    (codes) => ({
      right: codes.length >= atLeast && codes.every((code) => Number(code) === status),
      seen:
        codes.length === 0
          ? 'no request'
          : counts(codes.map((code) => (code === '000' ? 'no answer' : `status ${code}`))),
    }),
  );
}
