import { parseDocument } from 'yaml';

/**
 * A kubeconfig whose server is reached at `address` instead of the address that its certificate is for: from outside the
 * lab network a machine has another one. The certificate is checked against the first as before (tls-server-name).
 */
export function kubeconfigVia(kubeconfig: string, address: string): string {
  const document = parseDocument(kubeconfig);
  const path = ['clusters', 0, 'cluster'];
  const server = new URL(String(document.getIn([...path, 'server'])));
  if (server.hostname === address) return kubeconfig;
  document.setIn([...path, 'tls-server-name'], server.hostname);
  server.hostname = address;
  document.setIn([...path, 'server'], server.origin);
  return document.toString();
}
