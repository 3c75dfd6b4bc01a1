import { describe, expect, it } from 'vitest';
import { parseEndpoints, serverPods } from '../../scripts/matrix/endpoints.ts';
import { HarnessError } from '../../scripts/shared/errors.ts';
import { endpointsOf, kubectlJson, POD_IPS } from './fixtures.ts';

describe('parseEndpoints', () => {
  it('reads services with ports, external addresses, policy and ready backends', () => {
    const { services } = endpointsOf();
    expect(services.map(({ name }) => name)).toEqual([
      'echo-ci-tcp',
      'echo-lb-tcp',
      'echo-np-tcp',
      'echo-server-udp',
      'headless',
    ]);
    expect(services[1]).toEqual({
      name: 'echo-lb-tcp',
      type: 'LoadBalancer',
      clusterIp: '10.100.215.183',
      ports: [{ port: 1234, protocol: 'tcp', nodePort: 32153 }],
      externalIps: ['2.2.2.2'],
      policy: 'Local',
      healthCheckNodePort: 31999,
      backends: [...POD_IPS],
    });
    expect(services[4]).toMatchObject({ name: 'headless', ports: [], policy: 'Cluster' });
    expect(services[4]).not.toHaveProperty('clusterIp');
  });

  it('leaves unready pods out of the backends', () => {
    const endpoints = endpointsOf({ ready: ['echo-server2', 'echo-client1'] });
    expect(serverPods(endpoints).map(({ name }) => name)).toEqual(['echo-server2']);
    expect(endpoints.pods.map(({ ready }) => ready)).toEqual([false, true, false, true]);
  });

  it('counts a pod that is being deleted as not ready', () => {
    const text = kubectlJson().replace(
      '"metadata":{"name":"echo-client1"}',
      '"metadata":{"name":"echo-client1","deletionTimestamp":"2026-01-01T00:00:00Z"}',
    );
    expect(parseEndpoints(text, text, text).pods.at(-1)?.ready).toBe(false);
  });

  it('takes the addresses that a load balancer controller wrote', () => {
    const endpoints = endpointsOf({
      edit: (service) => ({ ...service, status: { loadBalancer: { ingress: [{ ip: '2.2.2.2' }, {}] } } }),
    });
    expect(endpoints.services[1]?.externalIps).toEqual(['2.2.2.2']);
    expect(endpoints.services[2]?.externalIps).toEqual(['2.2.2.2']);
    expect(endpoints.services[0]?.externalIps).toEqual([]);
  });

  it.each([
    ['no JSON', 'error: You must be logged in to the server'],
    ['no list', '{"kind":"Status","status":"Failure"}'],
    ['a service without a spec', '{"items":[{"kind":"Service","metadata":{"name":"x"}}]}'],
  ])('refuses %s as a harness error', (_, text) => {
    expect(() => parseEndpoints(text, '{"items":[]}', '{"items":[]}')).toThrow(HarnessError);
  });

  it('accepts an empty namespace', () => {
    expect(parseEndpoints('{"items":[]}', '{"items":[]}', '{"items":[]}')).toEqual({
      services: [],
      pods: [],
    });
  });
});
