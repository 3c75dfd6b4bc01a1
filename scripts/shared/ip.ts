import ipaddr from 'ipaddr.js';

/** An IPv4 prefix with its host bits cleared. */
export interface Cidr {
  readonly address: string;
  readonly length: number;
}

/** Parses "a.b.c.d/n"; undefined where it is no IPv4 prefix. Host bits are kept in `address`. */
export function parseCidr(text: string): Cidr | undefined {
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(text)) return undefined;
  const [address, length] = ipaddr.IPv4.parseCIDR(text);
  return { address: address.toString(), length };
}

/** True for a dotted IPv4 address with four parts. */
export function isIPv4(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text);
}

/** An IPv4 address as an unsigned 32-bit number. */
export function toNumber(address: string): number {
  return ipaddr.IPv4.parse(address)
    .toByteArray()
    .reduce((sum, byte) => sum * 256 + byte, 0);
}

/** The inverse of toNumber. */
export function fromNumber(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** How many addresses a prefix of this length holds. */
export function sizeOf(length: number): number {
  return 2 ** (32 - length);
}

/** The first address of the prefix that `cidr` lies in, as a number. */
export function firstOf(cidr: Cidr): number {
  const size = sizeOf(cidr.length);
  return Math.floor(toNumber(cidr.address) / size) * size;
}

/** The prefix with its host bits cleared, as text. */
export function networkOf(cidr: Cidr): string {
  return `${fromNumber(firstOf(cidr))}/${cidr.length}`;
}

/** True if the prefix contains the address. */
export function contains(cidr: Cidr, address: string): boolean {
  const value = toNumber(address);
  const first = firstOf(cidr);
  return value >= first && value < first + sizeOf(cidr.length);
}

/** True if the two prefixes share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  const firstA = firstOf(a);
  const firstB = firstOf(b);
  return firstA < firstB + sizeOf(b.length) && firstB < firstA + sizeOf(a.length);
}

/** The nth address of a prefix (0 is the network's own). Throws RangeError beyond its end. */
export function nthAddress(cidr: Cidr, n: number): string {
  if (n < 0 || n >= sizeOf(cidr.length)) throw new RangeError(`${networkOf(cidr)} has no address ${n}`);
  return fromNumber(firstOf(cidr) + n);
}

/** The nth sub-prefix of the given length. Throws RangeError where the prefix holds fewer. */
export function nthBlock(cidr: Cidr, length: number, n: number): string {
  const count = 2 ** (length - cidr.length);
  if (n < 0 || n >= count)
    throw new RangeError(`${networkOf(cidr)} holds ${count} blocks of /${length}, not ${n + 1}`);
  return `${fromNumber(firstOf(cidr) + n * sizeOf(length))}/${length}`;
}

/** True if every address of one prefix is in the other. */
export function isWithin(prefix: string, wider: string): boolean {
  const inner = parseCidr(prefix);
  const outer = parseCidr(wider);
  if (inner === undefined || outer === undefined) return false;
  return inner.length >= outer.length && contains(outer, fromNumber(firstOf(inner)));
}
