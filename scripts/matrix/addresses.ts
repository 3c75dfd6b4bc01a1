import { parseCidr } from '../shared/ip.ts';

const numbers = new Map<string, number>();

/** An IPv4 address as an unsigned 32-bit number. Each is worked out once: a matrix asks for the same few over and over. */
export function numberOf(address: string): number {
  const before = numbers.get(address);
  if (before !== undefined) return before;
  const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  numbers.set(address, value);
  return value;
}

/** The first address of the prefix of this length that holds the address. */
export function networkNumber(address: number, length: number): number {
  return length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
}

/** IPv4 addresses in numeric order, each once. */
export function sorted(addresses: Iterable<string>): readonly string[] {
  return [...new Set(addresses)].sort((a, b) => numberOf(a) - numberOf(b));
}

/** True if one of the prefixes (or plain addresses) contains the address. What is no IPv4 prefix contains nothing. */
export function inAny(prefixes: readonly string[], address: string): boolean {
  const number = numberOf(address);
  return prefixes.some((prefix) => {
    const known = prefixOf(prefix);
    return known !== undefined && networkNumber(number, known.length) === known.network;
  });
}

/** A prefix as numbers. */
export interface Prefix {
  readonly network: number;
  readonly length: number;
}

/** Null for what is no prefix. */
const prefixes = new Map<string, Prefix | null>();

/** Reads a prefix or a plain address, each text once. Undefined for what is no IPv4 prefix. */
export function prefixOf(text: string): Prefix | undefined {
  const before = prefixes.get(text);
  if (before !== undefined) return before ?? undefined;
  const cidr = parseCidr(text.includes('/') ? text : `${text}/32`);
  const prefix =
    cidr === undefined
      ? undefined
      : { network: networkNumber(numberOf(cidr.address), cidr.length), length: cidr.length };
  prefixes.set(text, prefix ?? null);
  return prefix;
}
