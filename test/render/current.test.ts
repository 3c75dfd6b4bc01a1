/** What is written for current Kubernetes, fed to what can read it here. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { z } from 'zod';
import { readAsset } from '../../scripts/shared/files.ts';
import { GOLDENS, goldenFiles } from './golden.ts';
import * as schemas from './kubeadm-schema.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lab-current-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const golden = (name: string) => readFileSync(join(GOLDENS, name), 'utf8');

function run(program: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 15_000, input });
  return `exit ${status}\n${stdout}${stderr}`;
}

function needs(context: TestContext, argv: readonly [string, ...string[]]): void {
  context.skip(spawnSync(argv[0], argv.slice(1)).status !== 0, `this machine cannot run ${argv.join(' ')}`);
}

const SCHEMAS: ReadonlyMap<string, z.ZodType> = new Map(Object.entries(schemas));

const valid = (text: string): readonly string[] =>
  parseAllDocuments(text).map((document) => {
    const value = document.toJS() as { kind: string };
    const schema = SCHEMAS.get(value.kind);
    if (schema === undefined) throw new Error(`no schema for ${value.kind}`);
    schema.parse(value);
    return value.kind;
  });

describe('kubeadm v1beta4', () => {
  it('has only fields that there are', () => {
    expect(valid(golden('kubeadm-v1beta4/init.yaml'))).toEqual([
      'InitConfiguration',
      'ClusterConfiguration',
      'KubeletConfiguration',
      'KubeProxyConfiguration',
    ]);
    expect(valid(golden('kubeadm-v1beta4/join-k8sworker1.yaml'))).toEqual(['JoinConfiguration']);
  });

  it('would be refused as v1beta2 has it, so that silence means something', () => {
    const old = golden('kubeadm/init.yaml').replaceAll('v1beta2', 'v1beta4');
    expect(() => valid(old)).toThrow(/kubeletExtraArgs/);
  });
});

describe('k3s', () => {
  it.each(goldenFiles('.conf').filter((name) => name.includes('kubelet.conf.d')))(
    'kubelet takes %s',
    (name) => {
      expect(valid(golden(name))).toEqual(['KubeletConfiguration']);
    },
  );

  // "k3s server --help" and "k3s agent --help" of 1.36: pkg/cli/cmds/server.go, agent.go.
  it.each([
    [
      'k8smaster1',
      /^(cluster|service)-cidr$|^cluster-(dns|domain)$|^(node|advertise|tls|agent|token|write|flannel|disable|egress|resolv|kube-controller|kube-proxy-arg$)/,
    ],
    ['k8sworker1', /^(server|token-file|node-name|node-ip|resolv-conf|kube-proxy-arg)$/],
  ])('%s gets flags of its own kind and no secret among them', (name, flags) => {
    const text = golden(`k3s/${name}/etc/rancher/k3s/config.yaml`);
    const keys = Object.keys(parse(text));
    expect(keys.filter((key) => !flags.test(key))).toEqual([]);
    expect(keys.filter((key) => /^(agent-)?token$/.test(key))).toEqual([]);
    expect(text).not.toMatch(/not-a-secret|null$/m);
  });

  it.for(['k3s', 'kubeadm'])(
    'reset of %s is a script that sh can read, and shellcheck has nothing to say',
    (name, context) => {
      const script = readAsset('manifests', name, 'reset.sh');
      expect(run('sh', ['-n'], script)).toBe('exit 0\n');
      needs(context, ['shellcheck', '--version']);
      expect(run('shellcheck', ['-'], script)).toBe('exit 0\n');
    },
  );
});

describe('systemd', () => {
  const units = goldenFiles('.service').filter((name) => /k3s|containerd-2/.test(name));

  it.for(units)('takes %s', (name, context) => {
    needs(context, ['systemd-analyze', '--version']);
    // The programs are not here; whether they are there is not asked.
    const unit = golden(name).replace(/^(ExecStart(?:Pre)?=-?)\S+/gm, '$1/bin/true');
    const path = join(folder, name.split('/').at(-1) ?? '');
    writeFileSync(path, unit);
    expect(run('systemd-analyze', ['verify', '--man=no', path])).not.toMatch(
      /Unknown|Failed to parse|Invalid/i,
    );
    writeFileSync(path, unit.replace('KillMode=process', 'KillMod=process'));
    expect(run('systemd-analyze', ['verify', '--man=no', path])).toMatch(/Unknown/);
  });
});

describe('containerd 2', () => {
  const TOML = 'import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))';
  const read = (text: string) => JSON.parse(run('python3', ['-c', TOML], text).replace(/^exit 0\n/, ''));

  it('reads what it is given as TOML, and finds its settings there', (context) => {
    needs(context, ['python3', '-c', 'import tomllib']);
    const { version, plugins } = read(golden('containerd-2/etc/containerd/config.toml'));
    expect(version).toBe(3);
    expect(plugins['io.containerd.cri.v1.images'].pinned_images.sandbox).toBe('registry.k8s.io/pause:3.10.1');
    const runtime = plugins['io.containerd.cri.v1.runtime'];
    expect(runtime.restrict_oom_score_adj).toBe(true);
    expect(runtime.containerd.runtimes.runc.options.SystemdCgroup).toBe(true);
  });

  it('of k3s gets one setting more and none that would replace those of k3s', (context) => {
    needs(context, ['python3', '-c', 'import tomllib']);
    const [name = ''] = goldenFiles('10-lab.toml');
    expect(read(golden(name))).toEqual({
      version: 3,
      plugins: { 'io.containerd.cri.v1.runtime': { restrict_oom_score_adj: true } },
    });
  });
});
