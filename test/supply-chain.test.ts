import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SHIPPED, supplyChainHoles, textFiles } from './architecture/supply-chain.ts';

describe('nothing comes in that is not pinned and checked', () => {
  it('holds in everything that ships', () => {
    const files = textFiles(SHIPPED);
    expect(files.length).toBeGreaterThan(300);
    expect(supplyChainHoles(files)).toEqual([]);
  });

  it.skipIf(!existsSync('.git'))('looks at every file of the project but tests and notices', () => {
    const known = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).trim().split('\n');
    const other = /^(test|bench)\/|^(CHANGELOG\.md|LICENSE|\.gitignore|package-lock\.json)$/;
    const settings = /^(biome|lab\.schema|report\.schema|tsconfig(\.\w+)?)\.json$|^vitest\.config\.ts$/;
    const seen = new Set(textFiles(SHIPPED).map(({ path }) => path));
    const missed = known.filter((path) => existsSync(path) && !seen.has(path));
    expect(missed.filter((path) => !other.test(path) && !settings.test(path))).toEqual([]);
  });

  it.each([
    ['an image tag', 'image: quay.io/calico/node:latest'],
    ['a tag of a channel', 'image: quay.io/calico/node:stable'],
    ['the newest Kubernetes', 'curl -L https://dl.k8s.io/release/stable.txt'],
    ['the newest of a minor', 'https://dl.k8s.io/release/stable-1.36.txt'],
    ['the newest release', 'https://github.com/k3s-io/k3s/releases/latest/download/k3s'],
    ["k3s' installer", 'https://get.k3s.io'],
    ['a shell fed by curl', 'curl -sfL "$url" | sudo bash -'],
    ['a shell fed by wget', 'wget -qO- $url | sh'],
    ['an unchecked download', 'curl -fsSLo k3s https://github.com/k3s-io/k3s/releases/download/v1.36.3/k3s'],
    ['a download without TLS', 'url: http://example.org/file'],
    ['a pull policy', 'imagePullPolicy: Always'],
    ['a pull', 'crictl pull registry.k8s.io/pause:3.10.2'],
  ])('sees %s', (_what, line) => {
    expect(supplyChainHoles([{ path: 'a', text: `first\n${line}\n` }])[0]).toMatch(/^a:2: /);
  });

  it('is content with what is allowed', () => {
    const text = [
      'image: registry.k8s.io/pause:3.10.2',
      'imagePullPolicy: Never',
      'xmlns="http://www.w3.org/2000/svg"',
      "main: 'http://deb.debian.org/debian',",
      'curl -s telnet://server1.headless:1234 | head',
    ].join('\n');
    expect(supplyChainHoles([{ path: 'a', text }])).toEqual([]);
  });

  it('lets scenarios ask servers of the lab, and no others', () => {
    const holes = (path: string, text: string) => supplyChainHoles([{ path, text }]).length;
    const inside = `curl -s http://web/ http://\${clusterIp}:80/`;
    expect(holes('manifests/scenarios/replicas/loop.yaml', inside)).toBe(0);
    expect(holes('scripts/artifacts/recipes.ts', inside)).toBe(2);
    expect(holes('scripts/scenarios/words.ts', 'http://example.org/')).toBe(1);
  });

  it('downloads in one place only', () => {
    const sources = textFiles(['scripts']);
    const users = (pattern: RegExp) =>
      sources.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
    expect(users(/from 'undici'/)).toEqual(['scripts/artifacts/online/https.ts']);
    // The lab's own API server, by the certificate authority of its kubeconfig; the daemon's socket on this host.
    expect(users(/from '(node:)?https?2?'/)).toEqual([
      'scripts/cluster/api-reader.ts',
      'scripts/machines/incus/api.ts',
    ]);
    expect(users(/(^|[^.#\w])fetch\(/m)).toEqual([]);
  });
});
