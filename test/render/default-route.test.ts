import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assetPath } from '../../scripts/shared/files.ts';
import { missingPrograms } from '../fakes/certificates.ts';

const PLUGIN = assetPath('bird', 'cni', 'lab-default-route');
const PREVIOUS = {
  cniVersion: '0.4.0',
  interfaces: [{ name: 'veth1' }, { name: 'eth0', sandbox: '/run/netns/pod' }],
  ips: [{ version: '4', interface: 1, address: '10.255.0.65/26', gateway: '192.168.13.35' }],
  dns: {},
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lab-cni-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the plugin with an nsenter that tells its arguments on stderr and ends with that code. */
function plugin(command: string, input: unknown, nsenterCode = 0) {
  const nsenter = join(folder, 'nsenter');
  writeFileSync(
    nsenter,
    `#!/bin/sh\necho "$@" > ${folder}/argv\necho RTNETLINK answers: no\nexit ${nsenterCode}\n`,
  );
  chmodSync(nsenter, 0o755);
  const env = { PATH: `${folder}:${process.env.PATH}`, CNI_COMMAND: command, CNI_NETNS: '/run/netns/pod' };
  const options = {
    env: { ...env, CNI_IFNAME: 'eth0' },
    input: JSON.stringify(input),
    encoding: 'utf8',
  } as const;
  const { status, stdout, stderr } = spawnSync('python3', [PLUGIN], options);
  return { status, stderr, answer: stdout === '' ? undefined : JSON.parse(stdout) };
}

describe.skipIf(missingPrograms('python3').length > 0)('lab-default-route (needs python3)', () => {
  it('adds the route in the pod and tells it in the result', () => {
    const { status, answer } = plugin('ADD', { cniVersion: '0.4.0', prevResult: PREVIOUS });
    expect(status).toBe(0);
    expect(answer).toEqual({ ...PREVIOUS, routes: [{ dst: '0.0.0.0/0', gw: '192.168.13.35' }] });
    const argv = spawnSync('cat', [join(folder, 'argv')], { encoding: 'utf8' }).stdout;
    expect(argv).toBe('--net=/run/netns/pod ip route replace default via 192.168.13.35 dev eth0\n');
  });

  it('fails as the CNI specification wants it when the route cannot be added', () => {
    const { status, answer } = plugin('ADD', { cniVersion: '0.3.1', prevResult: PREVIOUS }, 2);
    expect(status).toBe(1);
    expect(answer).toMatchObject({
      cniVersion: '0.3.1',
      code: 100,
      msg: expect.stringContaining('RTNETLINK answers: no'),
    });
  });

  it('fails without a previous result: it only works after ptp', () => {
    const { status, answer } = plugin('ADD', { cniVersion: '0.4.0' });
    expect(status).toBe(1);
    expect(answer.msg).toContain('prevResult');
  });

  it('answers VERSION, and has nothing to undo at DEL', () => {
    expect(plugin('VERSION', {}).answer.supportedVersions).toEqual(['0.3.1', '0.4.0']);
    expect(plugin('DEL', { prevResult: PREVIOUS })).toEqual({ status: 0, stderr: '', answer: undefined });
  });
});
