import { type Cidr, networkOf, overlaps, parseCidr } from '../shared/ip.ts';
import { show } from './problems.ts';

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
