import { createHash } from 'node:crypto';
import { bareName, type EchoService, type ServicePort } from '../endpoints.ts';
import type { ServiceNames } from './types.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const HASH_LENGTH = 16;

/**
 * The names of a service port's chains in iptables of Kubernetes 1.24 and later (pkg/proxy/iptables/proxier.go,
 * portProtoHash): the first 16 characters of base32(sha256(NAMESPACE/NAME:PORTNAME + protocol)). Seen on 1.20.2 and 1.36.
 */
export function iptablesNames(service: EchoService, port: ServicePort): ServiceNames {
  const owner = servicePortName(service, port);
  const hash = base32(`${owner}${port.protocol}`, HASH_LENGTH);
  return {
    all: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
    owner,
    endpoint: (address) => `KUBE-SEP-${base32(`${owner}${port.protocol}${address}`, HASH_LENGTH)}`,
  };
}

/** The same up to 1.23, where one chain is for what comes from outside and for the node's own endpoints. */
export function iptablesNamesBefore124(service: EchoService, port: ServicePort): ServiceNames {
  const names = iptablesNames(service, port);
  const local = names.local.replace('SVL', 'XLB');
  return { ...names, local, external: local };
}

/** "NAMESPACE/NAME:PORTNAME", as kube-proxy has it in its rules' comments. */
export function servicePortName({ namespace, name }: EchoService, port: ServicePort): string {
  const service = `${namespace}/${bareName(name)}`;
  return port.name === '' ? service : `${service}:${port.name}`;
}

/** The first `length` characters of the RFC 4648 base32 of a text's SHA-256. */
export function base32(text: string, length: number): string {
  let hash = '';
  let bits = 0;
  let value = 0;
  for (const byte of createHash('sha256').update(text).digest()) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5 && hash.length < length) {
      bits -= 5;
      hash += ALPHABET[(value >>> bits) & 31] ?? '';
    }
    value &= (1 << bits) - 1;
  }
  return hash;
}
