import { UserError } from '../shared/errors.ts';
import { type Cidr, networkOf, overlaps, parseCidr } from '../shared/ip.ts';

/** One thing that is wrong in a spec file, at a place that an editor can jump to. */
export interface Problem {
  /** The file as the user named it. */
  readonly file: string;
  /** 1-based; 0 where the file as a whole is meant (missing, unreadable, too large). */
  readonly line: number;
  /** 1-based, in UTF-16 units as editors count; 0 together with line 0. */
  readonly column: number;
  /** Where in the document, e.g. "machines[1].address"; empty for the document itself. */
  readonly path: string;
  /** The reason. */
  readonly message: string;
  /** The fix. */
  readonly hint: string;
}

/** A key or list index on the way from the document's root to a value. */
export type PathPart = string | number;

/** A complaint before its place in the file is known. */
export interface Complaint {
  readonly path: readonly PathPart[];
  /** Whether the key or the value is at fault; default "value". */
  readonly at?: 'key' | 'value';
  readonly message: string;
  readonly hint: string;
}

/** A spec that cannot be used, with every problem found. Exit 2. */
export class SpecError extends UserError {
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], next?: string) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    super(`${file} has ${count}.`, {
      details: problems.map(formatProblem),
      next: next ?? `Correct ${file}, then run the command again: nothing was changed.`,
    });
    this.problems = problems;
  }
}

/** One problem as one line: `lab.yaml:12:5  machines[1].address: reason  (fix: what to do)`. */
export function formatProblem(problem: Problem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`;
  const subject = problem.path === '' ? '' : `${problem.path}: `;
  return `${place}  ${subject}${problem.message}  (fix: ${problem.hint})`;
}

/** Problems in the order of the file: by line, then column; stable for equal places. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** A path as users write it, e.g. "machines[1].address". Odd keys are quoted, so control characters stay visible. */
export function formatPath(path: readonly PathPart[]): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[A-Za-z_][\w-]*$/.test(part)) return `[${show(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

const SHOWN_LENGTH = 60;

/** A value for a message: quoted where it is text, control characters escaped, long ones cut. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  if (typeof value !== 'string') return String(value);
  const cut = value.length > SHOWN_LENGTH ? `${value.slice(0, SHOWN_LENGTH)}...` : value;
  return JSON.stringify(cut).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Why one value is not acceptable, and what to write instead. */
export interface FormatProblem {
  readonly message: string;
  readonly hint: string;
}

/** RFC 1123 label that also starts with a letter, as instance names of Incus, LXD and Multipass must. */
export const NAME_PATTERN = '^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$';
/** Linux interface names hold at most 15 characters (IFNAMSIZ - 1). */
export const BRIDGE_PATTERN = '^[A-Za-z0-9_][-A-Za-z0-9_.]{1,14}$';
export const CIDR_PATTERN = '^\\d{1,3}(\\.\\d{1,3}){3}/\\d{1,2}$';
export const ADDRESS_PATTERN = '^\\d{1,3}(\\.\\d{1,3}){3}$';

/** RFC 5396: the high and the low 16 bits. */
export const ASDOT_PATTERN = '^\\d{1,5}\\.\\d{1,5}$';
export const ASN_MIN = 1;
export const ASN_MAX = 4294967294;

/** Numbers that no speaker may use: https://www.iana.org/assignments/as-numbers (RFC 7607, 6793, 7300). */
const RESERVED_ASNS: ReadonlyMap<number, string> = new Map([
  [0, 'RFC 7607'],
  [23456, 'AS_TRANS, RFC 6793'],
  [65535, 'RFC 7300'],
  [4294967295, 'RFC 7300'],
]);

/** Prefixes that can be neither a lab network nor an address in one (RFC 6890, RFC 5771). */
const UNUSABLE: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', '"this network"'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
];

/** A machine's or lab's name: a DNS label that is also an instance name. */
export function nameProblem(name: string): FormatProblem | undefined {
  if (new RegExp(NAME_PATTERN).test(name)) return undefined;
  const length = name.length > 63 ? `; it has ${name.length} characters, 63 at most` : '';
  return {
    message: `${show(name)} is no DNS label: lower-case letters, digits and "-", first a letter, last no "-"${length}`,
    hint: `use for example "${asName(name)}"`,
  };
}

/** Kubernetes' own namespaces, those of its network and those of scenarios, which are removed when they end. */
const NAMESPACE_RESERVED = /^(default$|(kube|calico|tigera|lab)-)/;

/** The namespace of the echo workloads. */
export function namespaceProblem(name: string): FormatProblem | undefined {
  if (!NAMESPACE_RESERVED.test(name)) return nameProblem(name);
  return {
    message: `${show(name)} is a namespace that Kubernetes, its network or a scenario uses`,
    hint: 'use a namespace that is for the echo workloads alone, for example "echo-server"',
  };
}

function asName(text: string): string {
  if (!/[a-z0-9]/i.test(text)) return 'lab1';
  const cleaned = text.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const started = /^[a-z]/.test(cleaned) ? cleaned : `m${cleaned.replace(/^-+/, '')}`;
  return started.slice(0, 63).replace(/-+$/, '');
}

/** The name of the lab's bridge: a Linux interface name that Incus accepts too. */
export function bridgeProblem(name: string): FormatProblem | undefined {
  const hint = 'use 2 to 15 letters, digits, "-", "_" or ".", for example "labbr0"';
  if (name.length > 15) {
    return {
      message: `${show(name)} has ${name.length} characters; Linux allows 15 in an interface name`,
      hint,
    };
  }
  if (!new RegExp(BRIDGE_PATTERN).test(name) || name.includes('..')) {
    return { message: `${show(name)} is no interface name`, hint };
  }
  // net.ipv4.conf.all and .default are no interfaces, and lo always exists.
  if (['all', 'default', 'lo'].includes(name)) {
    return { message: `${show(name)} has another meaning to the kernel`, hint };
  }
  return undefined;
}

/** One usable IPv4 address. */
export function addressProblem(text: string): FormatProblem | undefined {
  const cidr = /^[0-9.]+$/.test(text) ? strictCidr(`${text}/32`) : undefined;
  if (cidr === undefined) {
    return {
      message: `${show(text)} is no IPv4 address`,
      hint: 'write four numbers of 0 to 255, like 192.168.13.35',
    };
  }
  return unusableProblem(cidr, text, 'choose a unicast address');
}

/** An IPv4 prefix with its host bits clear and a length in [shortest, longest]. */
export function cidrProblem(text: string, shortest: number, longest: number): FormatProblem | undefined {
  const cidr = strictCidr(text);
  if (cidr === undefined) {
    return { message: `${show(text)} is no IPv4 prefix`, hint: 'write address/length, like 192.168.13.0/24' };
  }
  if (cidr.length === 0)
    return { message: `${text} is every address`, hint: 'write the prefixes one by one' };
  if (cidr.length < shortest || cidr.length > longest) {
    const size = cidr.length < shortest ? 'large' : 'small';
    return {
      message: `${text} is too ${size}: the length must be /${shortest} to /${longest}`,
      hint: `write ${networkOf({ ...cidr, length: cidr.length < shortest ? shortest : longest })} or the like`,
    };
  }
  if (networkOf(cidr) !== text) {
    return { message: `${text} has host bits set`, hint: `write ${networkOf(cidr)}` };
  }
  return unusableProblem(cidr, text, 'choose a unicast prefix');
}

function unusableProblem(cidr: Cidr, text: string, hint: string): FormatProblem | undefined {
  for (const [prefix, meaning] of UNUSABLE) {
    const range = parseCidr(prefix);
    if (range !== undefined && overlaps(range, cidr)) {
      return { message: `${text} lies in ${prefix} (${meaning})`, hint };
    }
  }
  return undefined;
}

/** ipaddr.js takes "/08" for "/8"; a spec has one spelling per prefix. */
function strictCidr(text: string): Cidr | undefined {
  return /\/(0|[1-9]\d?)$/.test(text) ? parseCidr(text) : undefined;
}

/** The number that asdot notation stands for; undefined where the text is none. */
export function asdotNumber(text: string): number | undefined {
  if (!new RegExp(ASDOT_PATTERN).test(text)) return undefined;
  const [high = 0, low = 0] = text.split('.').map(Number);
  return high > 0xffff || low > 0xffff ? undefined : high * 0x1_0000 + low;
}

/** An AS number that a BGP speaker may use, of 16 or 32 bits. */
export function asnProblem(asn: number): FormatProblem | undefined {
  const hint = 'private numbers are 64512 to 65534 and 4200000000 to 4294967294';
  const reserved = RESERVED_ASNS.get(asn);
  if (reserved !== undefined) return { message: `AS ${asn} is reserved (${reserved})`, hint };
  if (!Number.isInteger(asn) || asn < ASN_MIN || asn > ASN_MAX) {
    return {
      message: `${asn} is no AS number: ${ASN_MIN} to ${ASN_MAX}, or 0.1 to 65535.65534 in asdot notation`,
      hint,
    };
  }
  return undefined;
}
