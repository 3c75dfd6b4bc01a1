import { stringify } from 'yaml';
import type { Emit } from '../shared/events.ts';
import type { Secrets } from '../shared/secrets.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';
import type { Kubectl } from './kubectl.ts';

const TTL_MS = 60 * 60_000;

interface ConfigMap {
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * Makes the lab's join token valid for an hour and waits until the control plane has signed cluster-info with it.
 * `kubeadm join` looks for the signature only every five seconds; waiting here costs a quarter of one.
 * https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
 */
export async function ensureJoinToken(
  kubectl: Kubectl,
  secrets: Secrets,
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  const [id = '', secret = ''] = secrets.joinToken.split('.');
  const token = {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'bootstrap.kubernetes.io/token',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    stringData: {
      'token-id': id,
      'token-secret': secret,
      expiration: new Date(Date.now() + TTL_MS).toISOString(),
      'usage-bootstrap-authentication': 'true',
      'usage-bootstrap-signing': 'true',
      'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token',
    },
  };
  await kubectl.run(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input: stringify(token) });
  await waitFor({
    what: 'the control plane to sign cluster-info',
    timeoutMs: TIMEOUTS.apiServer,
    look: async () => {
      const { data } = await kubectl.json<ConfigMap>([
        'get',
        'configmap',
        'cluster-info',
        '-n',
        'kube-public',
      ]);
      return data?.[`jws-kubeconfig-${id}`] === undefined
        ? { done: false, why: 'no signature yet' }
        : { done: true, value: undefined };
    },
    next: 'npx lab kubectl get pods -n kube-system',
    signal,
    emit,
  });
}
