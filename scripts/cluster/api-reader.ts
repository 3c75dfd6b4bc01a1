import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:https';
import { checkServerIdentity } from 'node:tls';
import { parse } from 'yaml';
import { z } from 'zod';
import type { ApiReader } from './api-question.ts';
import type { KubectlAccess } from './kubectl.ts';

/** The parts of a kubeconfig of kubeadm and k3s: one cluster, one user with a certificate. */
const kubeconfigFile = z.object({
  clusters: z.tuple([
    z.object({
      cluster: z.object({
        server: z.url(),
        'certificate-authority-data': z.base64(),
        'tls-server-name': z.string().optional(),
      }),
    }),
  ]),
  users: z.tuple([
    z.object({ user: z.object({ 'client-certificate-data': z.base64(), 'client-key-data': z.base64() }) }),
  ]),
});

/** Asks the API server that a kubeconfig is for, over connections that are kept. Throws where the file is another one. */
export async function apiReader({ kubeconfig, via }: KubectlAccess): Promise<ApiReader> {
  const { clusters, users } = kubeconfigFile.parse(parse(await readFile(kubeconfig, 'utf8')));
  const [{ cluster }] = clusters;
  const [{ user }] = users;
  const server = new URL(via === undefined ? cluster.server : `https://127.0.0.1:${via.port}`);
  const certifiedName = via?.serverName ?? cluster['tls-server-name'] ?? server.hostname;
  const pem = (data: string) => Buffer.from(data, 'base64');
  const agent = new Agent({
    keepAlive: true,
    // A new connection takes both ends as much processor time as several questions.
    maxSockets: 4,
    ca: pem(cluster['certificate-authority-data']),
    cert: pem(user['client-certificate-data']),
    key: pem(user['client-key-data']),
    checkServerIdentity: (_, certificate) => checkServerIdentity(certifiedName, certificate),
  });
  return (path, timeoutMs, signal, accept = 'application/json') =>
    new Promise((resolve, reject) => {
      const request = get(new URL(path, server), { agent, signal, headers: { accept } }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
      });
      request.setTimeout(timeoutMs, () => request.destroy(new Error(`silent for ${timeoutMs / 1000} s`)));
      request.on('error', reject);
    });
}
