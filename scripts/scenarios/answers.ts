import type { PodFact } from './facts.ts';
import { type Expectation, type Judgement, NotThere, type Seen, type Value } from './scenario.ts';
import { podsOf } from './words.ts';

/** What one answer of a web or echo server says of itself. What it does not say is absent. */
export interface Answer {
  /** The name of the pod, as nginx of the scenarios tells it. */
  readonly pod?: string;
  readonly server?: string;
  readonly port?: number;
  readonly client?: string;
  readonly forwarded?: string;
  readonly host?: string;
  readonly path?: string;
  /** HTTP status. */
  readonly status?: number;
}

/** "key value" of nginx with the scenarios' configuration, "Key: value" of the echo server, and curl's status. */
const FIELD = /^(pod|server|client|forwarded|host|path|status)(?::? |$)(.*)$/i;

/** A header of HTTP is called Server as well, and holds no address. */
const ADDRESS = /^\S+:\d+$/;

/** The answers that a command printed, in their order. An answer ends with its status, or where the next one begins. */
export function parseAnswers(stdout: string): readonly Answer[] {
  const answers: Record<string, string | number>[] = [];
  let ended = true;
  for (const line of stdout.split('\n')) {
    const [, name = '', said = ''] = FIELD.exec(line.trim()) ?? [];
    const key = name.toLowerCase();
    if (key === '' || (['server', 'client'].includes(key) && !ADDRESS.test(said.trim()))) continue;
    if (ended || answers.at(-1)?.[key] !== undefined) answers.push({});
    const answer = answers.at(-1) as Record<string, string | number>;
    if (key === 'status') answer[key] = Number(said);
    else if (said.trim() !== '')
      answer[key] = key === 'server' || key === 'client' ? address(said) : said.trim();
    if (key === 'server') answer.port = Number(said.trim().split(':').at(-1));
    ended = key === 'status';
  }
  // 000 is what curl says where there was no answer.
  return answers.filter(({ status }) => status !== 0);
}

function address(said: string): string {
  return said.trim().replace(/:\d+$/, '');
}

export const OUTCOMES = ['refused', 'timeout', 'no-route', 'no-name', 'closed', 'failed', 'ok'] as const;
export type SeenOutcome = (typeof OUTCOMES)[number];

/** How curl, nc and ping say that it did not work. */
const SAID: readonly (readonly [RegExp, SeenOutcome])[] = [
  [
    /could not resolve|name or service not known|bad address|temporary failure in name|no address associated/i,
    'no-name',
  ],
  [/connection refused/i, 'refused'],
  [/network is unreachable|no route to host|host is unreachable/i, 'no-route'],
  [/timed out|timeout/i, 'timeout'],
  [/reset by peer|empty reply|recv failure/i, 'closed'],
];

/** What became of a connection, by what the command said of it. */
export function outcomeOf({
  exitCode,
  stdout,
  stderr,
}: Pick<Seen, 'exitCode' | 'stdout' | 'stderr'>): SeenOutcome {
  const said = SAID.find(([pattern]) => pattern.test(stderr));
  if (said !== undefined) return said[1];
  if (exitCode === 0) return 'ok';
  // nc with -w says nothing where the time is over; in a pod, kubectl adds a line.
  const silent = /^(command terminated with exit code 1)?$/.test(stderr.trim());
  return exitCode === 1 && stdout === '' && silent ? 'timeout' : 'failed';
}

// The words of the program itself where they fit no outcome: curl 7.88 says only that it could not connect.
function reasonOf(seen: Pick<Seen, 'exitCode' | 'stdout' | 'stderr'>): string {
  const outcome = outcomeOf(seen);
  if (outcome !== 'failed' && outcome !== 'ok') return outcome;
  return seen.stderr.trim().split('\n').at(-1) || `exit code ${seen.exitCode}`;
}

/** What answers must be like; what is not named may be anything. */
export interface WantedAnswers {
  /** Which pods may answer. */
  readonly by?: Value<readonly PodFact[]>;
  /** Each of them must have answered at least once. */
  readonly each?: boolean;
  /** Whom the server sees: an address, or several of which each will do. */
  readonly client?: Value<string | readonly string[]>;
  readonly status?: number;
  /** How many answers there must be; default: 1. */
  readonly times?: number;
  readonly host?: string;
  readonly path?: string;
  /** The first of X-Forwarded-For. */
  readonly forwarded?: Value<string>;
  /** The servers' own addresses, where they are no pods'; with `each`, every one of them. */
  readonly servers?: Value<string | readonly string[]>;
  /** The ports that the servers listen on; with `each`, every one of them. */
  readonly ports?: readonly number[];
}

/** Answers came, as many as were asked for, by whom and to whom they must. */
export function answers(wanted: WantedAnswers): Expectation {
  return { wanted: answersText(wanted), judge: (seen) => judgeAnswers(wanted, seen) };
}

function answersText({
  by,
  each,
  client,
  status,
  times = 1,
  host,
  path,
  forwarded,
  servers,
  ports,
}: WantedAnswers): string {
  return [
    times === 1 ? 'an answer' : `${times} answers`,
    ...(status === undefined ? [] : [`with status ${status}`]),
    ...(by === undefined ? [] : [`from ${each === true ? 'each of ' : ''}${by.text}`]),
    ...(servers === undefined ? [] : [`from ${each === true ? 'each of ' : ''}${servers.text}`]),
    ...(ports === undefined ? [] : [`from port ${ports.join(' and ')}`]),
    ...(client === undefined ? [] : [`which saw ${client.text}`]),
    ...(forwarded === undefined ? [] : [`forwarded for ${forwarded.text}`]),
    ...(host === undefined ? [] : [`for host ${host}`]),
    ...(path === undefined ? [] : [`for path ${path}`]),
  ].join(' ');
}

function judgeAnswers(wanted: WantedAnswers, seen: Seen): Judgement {
  const { times = 1 } = wanted;
  const { facts } = seen;
  const got = parseAnswers(seen.stdout);
  if (got.length === 0) return { right: false, seen: `no answer: ${reasonOf(seen)}` };
  const pods = wanted.by?.of(facts) ?? [];
  const podOf = (answer: Answer) =>
    facts.pods.find(({ name, ip, ending }) =>
      answer.pod === undefined ? ip === answer.server && !ending : name === answer.pod,
    )?.name ??
    answer.pod ??
    answer.server;
  const clients = wanted.client === undefined ? undefined : [wanted.client.of(facts)].flat();
  const problems = [
    ...(got.length < times ? [`${times - got.length} of ${times} were not answered: ${reasonOf(seen)}`] : []),
    ...(['status', 'host', 'path'] as const).flatMap((key) =>
      different<string | number>(
        key,
        got.map((answer) => answer[key]),
        wanted[key],
      ),
    ),
    ...others(
      'server',
      got.map(({ server }) => server),
      wanted.servers === undefined ? undefined : [wanted.servers.of(facts)].flat(),
      wanted.each,
    ),
    ...others(
      'port',
      got.map(({ port }) => port),
      wanted.ports,
      wanted.each,
    ),
    ...different(
      'forwarded for',
      got.map(({ forwarded }) => forwarded?.split(',')[0]),
      wanted.forwarded?.of(facts),
    ),
    ...got.flatMap((answer) =>
      wanted.by === undefined || pods.some(({ name }) => name === podOf(answer))
        ? []
        : [`${podOf(answer) ?? 'a server without a name'} answered, which is none of ${wanted.by.text}`],
    ),
    ...got.flatMap(({ client }) =>
      clients === undefined || clients.includes(client ?? '')
        ? []
        : [`the server saw ${client}, not ${clients.join(' or ')}`],
    ),
    ...(wanted.each === true
      ? pods
          .filter(({ name }) => !got.some((answer) => podOf(answer) === name))
          .map(({ name }) => `${name} did not answer`)
      : []),
  ];
  const portOf = ({ port }: Answer) => (wanted.ports === undefined ? '' : ` port ${port}`);
  const counted = counts(
    got.map((answer) => `${podOf(answer) ?? `status ${answer.status}`}${portOf(answer)}`),
  );
  const saw = counts(got.flatMap(({ client }) => client ?? []));
  const all = [counted, ...(saw === '' ? [] : [`they saw ${saw}`])].join('; ');
  return {
    right: problems.length === 0,
    seen: problems.length === 0 ? all : [...new Set(problems)].slice(0, 4).join('; '),
  };
}

function different<T>(
  what: string,
  got: readonly (T | undefined)[],
  wanted: T | undefined,
): readonly string[] {
  if (wanted === undefined) return [];
  return got
    .filter((each) => each !== wanted)
    .map((each) => `${what} ${each ?? 'is missing'}, not ${wanted}`);
}

/** Who answered and must not, and with `each` who must and did not. */
function others<T>(
  what: string,
  got: readonly (T | undefined)[],
  wanted: readonly T[] | undefined,
  each = false,
): readonly string[] {
  if (wanted === undefined) return [];
  return [
    ...got
      .filter((one) => one === undefined || !wanted.includes(one))
      .map((one) => `${what} ${one ?? 'without a name'} answered, and not ${wanted.join(' or ')}`),
    ...(each ? wanted.filter((one) => !got.includes(one)).map((one) => `${what} ${one} did not answer`) : []),
  ];
}

/** "web-1 (7), web-2 (3)"; without the number where there is one only. */
export function counts(items: readonly string[]): string {
  return [...new Set(items)]
    .sort()
    .map((item) => {
      const count = items.filter((each) => each === item).length;
      return items.length === 1 ? item : `${item} (${count})`;
    })
    .join(', ');
}

/** The connection did not work, in one of these ways. */
export function fails(...outcomes: readonly Exclude<SeenOutcome, 'ok' | 'failed'>[]): Expectation {
  return {
    wanted: `no answer: ${outcomes.join(' or ')}`,
    judge: (seen) => {
      const was = parseAnswers(seen.stdout).length > 0 ? 'an answer came' : outcomeOf(seen);
      return { right: outcomes.some((outcome) => outcome === was), seen: was };
    },
  };
}

/** Of this many answers, the share that pods with a label gave is between two percentages. */
export function share(
  selector: string,
  [least, most]: readonly [number, number],
  times: number,
): Expectation {
  const which = podsOf(selector);
  return {
    wanted: `of ${times} answers, ${least} to ${most} % from ${which.text}`,
    judge: ({ stdout, facts }) => {
      const got = parseAnswers(stdout);
      const own = which.of(facts).map(({ ip }) => ip);
      const theirs = got.filter(({ server }) => own.includes(server ?? '')).length;
      const percent = (100 * theirs) / times;
      const right = got.length === times && percent >= least && percent <= most;
      return {
        right,
        seen: `${got.length} answers, ${theirs} of them (${Math.round(percent)} %) from these`,
      };
    },
  };
}

/** What became of a judgement whose facts are not there. */
export function judged({ judge }: Expectation, seen: Seen): Judgement {
  try {
    return judge(seen);
  } catch (error) {
    if (!(error instanceof NotThere)) throw error;
    return { right: false, seen: error.message };
  }
}
