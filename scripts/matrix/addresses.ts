import ipaddr from 'ipaddr.js';

/** An IPv4 or IPv6 address as text, as the kernel and the API server write it. */
export type Address = string;

/** The bits of an address: a number for IPv4, a bigint for IPv6, so that those of two families are never the same. */
type Bits = number | bigint;

/** The bits of an address that ends at `end`; undefined for what is no address. */
function bitsOf(text: string, end = text.length): Bits | undefined {
  return ipv4Bits(text, end) ?? (text.includes(':') ? ipv6Bits(text.slice(0, end)) : undefined);
}

function ipv6Bits(text: string): bigint | undefined {
  if (!ipaddr.IPv6.isValid(text)) return undefined;
  return ipaddr.IPv6.parse(text)
    .toByteArray()
    .reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

/** By hand: a lab of a thousand nodes has a million routes. */
function ipv4Bits(text: string, end: number): number | undefined {
  let bits = 0;
  let part = -1;
  let dots = 0;
  for (let index = 0; index < end; index++) {
    const code = text.charCodeAt(index);
    if (code === 46 && part >= 0) {
      bits = bits * 256 + part;
      part = -1;
      dots += 1;
    } else if (code >= 48 && code <= 57) {
      part = Math.max(part, 0) * 10 + code - 48;
      if (part > 255) return undefined;
    } else return undefined;
  }
  return dots === 3 && part >= 0 ? bits * 256 + part : undefined;
}

/** The first bits, the others cleared. */
function masked(bits: Bits, length: number): Bits {
  if (typeof bits === 'number') return length === 0 ? 0 : (bits & (-1 << (32 - length))) >>> 0;
  const rest = BigInt(128 - length);
  return (bits >> rest) << rest;
}

/** A prefix that addresses can be looked for in. */
interface Prefix {
  readonly network: Bits;
  readonly length: number;
}

/** A prefix or a plain address; undefined for what is neither. */
function prefixOf(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const bits = bitsOf(text, slash < 0 ? text.length : slash);
  if (bits === undefined) return undefined;
  const most = typeof bits === 'number' ? 32 : 128;
  const length = slash < 0 ? most : Number(text.slice(slash + 1));
  if (!Number.isInteger(length) || length < 0 || length > most) return undefined;
  return { network: masked(bits, length), length };
}

function holds({ network, length }: Prefix, bits: Bits): boolean {
  return typeof bits === typeof network && masked(bits, length) === network;
}

/** True for an address of the loopback interface. */
export function isLoopback(address: Address): boolean {
  return address.startsWith('127.') || address === '::1';
}

/** The order of addresses: IPv4 before IPv6, then by number. */
export function compareAddresses(a: Address, b: Address): number {
  return compareBits(bitsOf(a), bitsOf(b));
}

function compareBits(a: Bits = -1, b: Bits = -1): number {
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Addresses in order, each once. */
export function sorted(addresses: Iterable<Address>): readonly Address[] {
  const each = [...new Set(addresses)];
  if (each.length < 2) return each;
  return each
    .map((address) => ({ address, bits: bitsOf(address) }))
    .sort((a, b) => compareBits(a.bits, b.bits))
    .map(({ address }) => address);
}

/** A question that is asked many times: whether one of the prefixes (or plain addresses) holds an address. */
export function holderOf(prefixes: readonly string[]): (address: Address) => boolean {
  const known = prefixes.flatMap((prefix) => prefixOf(prefix) ?? []);
  return (address) => {
    const bits = known.length === 0 ? undefined : bitsOf(address);
    return bits !== undefined && known.some((prefix) => holds(prefix, bits));
  };
}

/** True if one of the prefixes (or plain addresses) holds the address. What is no prefix holds nothing. */
export function inAny(prefixes: readonly string[], address: Address): boolean {
  return holderOf(prefixes)(address);
}

/** The length of a prefix: 24 for 10.0.0.0/24, and that of the whole address for a plain one. */
export function lengthOf(prefix: string): number {
  return prefixOf(prefix)?.length ?? -1;
}

/** True if each of the prefixes lies within one of those that cover. */
export function coversAll(covering: readonly string[], prefixes: readonly string[]): boolean {
  return prefixes.every((prefix) => {
    const [network = ''] = prefix.split('/');
    return inAny(
      covering.filter((each) => lengthOf(each) <= lengthOf(prefix)),
      network,
    );
  });
}

/** Items by prefix, to be found by longest match. */
export interface PrefixTable<T> {
  /** The item of the longest prefix that holds the address; with `beyondDefault` none of length 0. */
  find(address: Address, beyondDefault?: boolean): T | undefined;
}

/** Of items with the same prefix the first that is `better` than all others is kept. What has no prefix is left out. */
export function prefixTable<T>(
  items: readonly T[],
  prefix: (item: T) => string,
  better: (item: T, than: T) => boolean,
): PrefixTable<T> {
  const tables = new Map<number, Map<Bits, T>>();
  for (const item of items) {
    const known = prefixOf(prefix(item));
    if (known === undefined) continue;
    let table = tables.get(known.length);
    if (table === undefined) {
      table = new Map();
      tables.set(known.length, table);
    }
    const before = table.get(known.network);
    if (before === undefined || better(item, before)) table.set(known.network, item);
  }
  const longestFirst = [...tables].sort(([a], [b]) => b - a);
  return {
    find: (address, beyondDefault = false) => {
      const bits = bitsOf(address);
      if (bits === undefined) return undefined;
      const most = typeof bits === 'number' ? 32 : 128;
      for (const [length, table] of longestFirst) {
        if (length > most || (beyondDefault && length === 0)) continue;
        const item = table.get(masked(bits, length));
        if (item !== undefined) return item;
      }
      return undefined;
    },
  };
}
