import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/** A certificate and its key, PEM. */
interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** The two of each kubelet: it proves with the one who it is, and serves with the other. */
export interface KubeletCertificates {
  readonly client: KeyPair;
  readonly serving: KeyPair;
}

// What kubelet asks the control plane to sign at TLS bootstrap, and what it signs for itself.
// https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/
const EXTENSIONS = `[req]
distinguished_name = name
[name]
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth
[serving]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
`;

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/**
 * Makes the certificates of one node's kubelet in a folder, with openssl and the CA in the folder `pki`. Elliptic keys, as
 * kubelet makes for its client certificate: an RSA key, as it makes for serving, takes a third of the processor time of its
 * first start.
 */
export async function makeKubeletCertificates(
  local: Executor,
  folder: string,
  node: string,
  pki: string,
): Promise<KubeletCertificates> {
  const config = join(folder, `${node}.cnf`);
  await writeFile(config, EXTENSIONS);
  const make = async (kind: 'client' | 'serving', subject: string, ...more: string[]): Promise<KeyPair> => {
    const key = join(folder, `${node}-${kind}.key`);
    const certificate = join(folder, `${node}-${kind}.crt`);
    const what = ['-config', config, '-extensions', kind, '-subj', subject, '-days', '365', ...more];
    await local.run(['openssl', 'req', '-x509', ...EC_KEY, ...what, '-keyout', key, '-out', certificate], {
      timeoutMs: TIMEOUTS.command,
    });
    return { certificate: await readFile(certificate, 'utf8'), key: await readFile(key, 'utf8') };
  };
  const signed = ['-CA', join(pki, 'ca.crt'), '-CAkey', join(pki, 'ca.key')];
  const seconds = Math.floor(Date.now() / 1000);
  const [client, serving] = await Promise.all([
    make('client', `/O=system:nodes/CN=system:node:${node}`, ...signed),
    make('serving', `/CN=${node}@${seconds}`, '-addext', `subjectAltName=DNS:${node}`),
  ]);
  return { client, serving };
}
