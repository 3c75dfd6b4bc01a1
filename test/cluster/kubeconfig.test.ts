import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { kubeconfigVia } from '../../scripts/cluster/kubeconfig.ts';

const CONFIG = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: QQ==
    server: https://192.168.13.30:6443
  name: bgp-lab
`;

describe('a kubeconfig', () => {
  it('stays as it is where the address is the one of the certificate', () => {
    expect(kubeconfigVia(CONFIG, '192.168.13.30')).toBe(CONFIG);
  });

  it('leads to another address, and the certificate is checked against the first', () => {
    expect(parse(kubeconfigVia(CONFIG, '10.97.0.5'))).toMatchObject({
      clusters: [
        {
          name: 'bgp-lab',
          cluster: {
            'certificate-authority-data': 'QQ==',
            server: 'https://10.97.0.5:6443',
            'tls-server-name': '192.168.13.30',
          },
        },
      ],
    });
  });
});
