import { createHash } from 'node:crypto';
import { bareName, type EchoService, type ServicePort } from '../endpoints.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const HASH_LENGTH = 16;

/** What kube-proxy makes a chain of its own for, per service port. */
export type ServiceChain = 'SVC' | 'SVL' | 'XLB' | 'EXT' | 'FW';

/**
 * The names of a service port's iptables chains (pkg/proxy/iptables/proxier.go, portProtoHash): the first 16 characters
 * of base32(sha256(NAMESPACE/NAME:PORTNAME + protocol)). Seen on Kubernetes 1.20.2.
 */
export function serviceChain(kind: ServiceChain, service: EchoService, port: ServicePort): string {
  return `KUBE-${kind}-${serviceHash(service, port)}`;
}

/** What the names of a service port's chains end in. */
export function serviceHash(service: EchoService, port: ServicePort): string {
  return hash(`${servicePortName(service, port)}${port.protocol}`);
}

/** The name of the chain that sends a service port's connections to one endpoint. Seen on Kubernetes 1.20.2. */
export function endpointChain(service: EchoService, port: ServicePort, address: string): string {
  return `KUBE-SEP-${hash(`${servicePortName(service, port)}${port.protocol}${address}`)}`;
}

/** "NAMESPACE/NAME:PORTNAME", as kube-proxy has it in its rules' comments. */
export function servicePortName({ namespace, name }: EchoService, port: ServicePort): string {
  const service = `${namespace}/${bareName(name)}`;
  return port.name === '' ? service : `${service}:${port.name}`;
}

function hash(text: string): string {
  return base32(createHash('sha256').update(text).digest(), HASH_LENGTH);
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
