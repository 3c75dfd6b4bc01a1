import { createHash } from 'node:crypto';
import type { EchoService, ServicePort } from '../endpoints.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const HASH_LENGTH = 16;

/**
 * The names of a service port's iptables chains (pkg/proxy/iptables/proxier.go, portProtoHash): the first 16 characters
 * of base32(sha256(NAMESPACE/NAME:PORTNAME + protocol)). Seen on Kubernetes 1.20.2.
 */
export function serviceChain(
  kind: 'SVC' | 'SVL' | 'XLB' | 'EXT' | 'FW',
  service: EchoService,
  port: ServicePort,
) {
  return `KUBE-${kind}-${hash(`${servicePortName(service, port)}${port.protocol}`)}`;
}

/** The name of the chain that sends a service port's connections to one endpoint. Seen on Kubernetes 1.20.2. */
export function endpointChain(service: EchoService, port: ServicePort, address: string): string {
  return `KUBE-SEP-${hash(`${servicePortName(service, port)}${port.protocol}${address}`)}`;
}

/** "NAMESPACE/NAME:PORTNAME", as kube-proxy has it in its rules' comments. */
export function servicePortName({ namespace, name }: EchoService, port: ServicePort): string {
  return port.name === '' ? `${namespace}/${name}` : `${namespace}/${name}:${port.name}`;
}

const known = new Map<string, string>();

function hash(text: string): string {
  const before = known.get(text);
  if (before !== undefined) return before;
  const name = base32(createHash('sha256').update(text).digest(), HASH_LENGTH);
  known.set(text, name);
  return name;
}

/** The first `length` characters of RFC 4648 base32. */
function base32(bytes: Buffer, length: number): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5 && text.length < length) {
      bits -= 5;
      text += ALPHABET[(value >>> bits) & 31] ?? '';
    }
    value &= (1 << bits) - 1;
  }
  return text;
}
