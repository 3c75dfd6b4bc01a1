import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { SUITE } from '../../../scripts/artifacts/debian.ts';
import { findChecksum } from '../../../scripts/artifacts/online/download.ts';
import { loadVersions } from '../../../scripts/artifacts/online/versions.ts';
import { calicoWarning } from '../../../scripts/plan/doctor/system.ts';
import { readAsset } from '../../../scripts/shared/files.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

describe('versions.yaml', () => {
  const lock = loadVersions();

  it('pins Kubernetes for both distributions at one patch release, which Calico is tested with', () => {
    expect(lock.k3s.version.split('+')[0]).toBe(lock.kubernetes.version);
    expect(calicoWarning(lock.kubernetes.version, lock.calico.version)).toBeUndefined();
  });

  it('has every file for both architectures of Linux, under a path of its own', () => {
    const { k3s, kubernetes, containerd, runc, crictl } = lock;
    const files = [k3s, kubernetes, containerd, runc, lock['cni-plugins'], crictl].flatMap(
      (each) => each.files,
    );
    for (const { path, downloads } of files)
      expect(Object.keys(downloads), path).toEqual(expect.arrayContaining(['linux/amd64', 'linux/arm64']));
    expect(new Set(files.map(({ path }) => path)).size).toBe(files.length);
    const urls = files.flatMap(({ downloads }) => Object.values(downloads).map(({ url }) => url));
    expect(new Set(urls).size).toBe(urls.length);
  });

  it('gives one digest to one image', () => {
    const images = Object.values(lock.calico.methods).flatMap((method) => method.images);
    const digests = new Map<string, Set<string | undefined>>();
    for (const { name, digest } of [...lock.kubernetes.images, ...images])
      digests.set(name, (digests.get(name) ?? new Set()).add(digest));
    for (const [name, seen] of digests) expect([...seen], name).toHaveLength(1);
  });

  it("has Calico's own tag on every image of its, whichever way it is installed", () => {
    for (const { images } of Object.values(lock.calico.methods))
      for (const { name, tag } of images)
        if (name.startsWith('quay.io/calico/')) expect(tag).toBe(lock.calico.version);
  });

  it('means the Debian release that everything else is made of, and packages that machines get', () => {
    expect(lock.debian.suite).toBe(SUITE);
    const packages = readAsset('images', 'machine', 'packages.txt').split('\n');
    for (const name of Object.keys(lock.debian.packages)) expect(packages).toContain(name);
  });

  const text = readFileSync('versions.yaml', 'utf8');
  const kubelet = ['kubernetes', 'files', 0, 'downloads', 'linux/amd64'];
  it.each<[string, readonly (string | number)[], unknown, RegExp]>([
    [
      'a floating URL',
      [...kubelet, 'url'],
      'https://dl.k8s.io/release/stable/v1.36.3/kubelet',
      /no single version/,
    ],
    [
      'a URL of another version',
      [...kubelet, 'url'],
      'https://dl.k8s.io/v1.36.4/kubelet',
      /not of version v1\.36\.3/,
    ],
    ['a URL without TLS', [...kubelet, 'url'], 'http://dl.k8s.io/v1.36.3/kubelet', /must be an https/],
    ['a short sum', [...kubelet, 'sha256'], 'abc', /64 hex digits/],
    ['neither sum nor checksums', kubelet, { url: 'https://dl.k8s.io/v1.36.3/kubelet' }, /needs a sha256/],
    ['a version that is none', ['k3s', 'version'], 'stable', /one exact version/],
    [
      'a tag that moves',
      ['kubernetes', 'images', 0, 'tag'],
      `${'lat'}est`,
      /one exact tag|no single version/,
    ],
    ['a tag that is a branch', ['kubernetes', 'images', 0, 'tag'], 'release-v1.36', /no single version/],
    ['an image without registry', ['kubernetes', 'images', 0, 'name'], 'library/nginx', /full name/],
    ['a key that nobody knows', ['kubernetes', 'mirror'], 'https://x/', /mirror/],
    ['a path that leaves the bundle', ['kubernetes', 'files', 0, 'path'], '../kubelet', /relative path/],
  ])('is refused with %s', (_what, path, value, message) => {
    const document = parseDocument(text);
    document.setIn(path, value);
    expect(() => loadVersions(document.toString())).toThrow(message);
  });
});

describe("a publisher's checksums", () => {
  it.each<[string, string, string | undefined, string | undefined]>([
    ['sha256sum', `${B}  other\n${A}  k3s\n`, 'k3s', A],
    ['sha256sum in binary mode, with a folder', `${A} *./dist/k3s\n`, 'k3s', A],
    ['a name that another ends with', `${A}  my-k3s\n`, 'k3s', undefined],
    ['a bare hash', `${A.toUpperCase()}\n`, undefined, A],
    ['a bare hash without newline', A, undefined, A],
    ['a line of one file, unnamed', `${A}  kubelet`, undefined, A],
    [
      'a clear signature',
      `-----BEGIN PGP SIGNED MESSAGE-----\n\n${A}  k3s\n-----BEGIN PGP SIGNATURE-----\nx\n`,
      'k3s',
      A,
    ],
    ['two sums for one name', `${A}  k3s\n${B}  k3s\n`, 'k3s', undefined],
    ['two files, unnamed', `${A}  k3s\n${B}  other\n`, undefined, undefined],
    ['a sum of another kind', `${A}${A}  k3s\n`, 'k3s', undefined],
    ['a page of HTML', '<html>404</html>', 'k3s', undefined],
    ['Windows line ends', `${A}  k3s\r\n`, 'k3s', A],
  ])('are read: %s', (_what, list, name, sum) => {
    expect(findChecksum(list, name)).toBe(sum);
  });
});

describe("Calico's tested range", () => {
  it.each([
    ['v1.36.3', 'v3.32.1'],
    ['v1.36.3+k3s1', 'v3.32.1'],
    ['v1.34.0', 'v3.32.2'],
    ['v1.37.1+k3s1', 'v3.33.1'],
    ['v1.32.9', 'v3.31.7'],
  ])('has Kubernetes %s with Calico %s', (kubernetes, calico) => {
    expect(calicoWarning(kubernetes, calico)).toBeUndefined();
  });

  it.each([
    ['v1.37.1+k3s1', 'v3.32.1', '1.34 to 1.36'],
    ['v1.33.5', 'v3.32.1', '1.34 to 1.36'],
    ['v1.34.9', 'v3.33.1', '1.35 to 1.37'],
  ])('does not have Kubernetes %s with Calico %s', (kubernetes, calico, range) => {
    const warning = calicoWarning(kubernetes, calico);
    expect(warning).toContain(`Calico ${calico} with Kubernetes ${kubernetes} is not tested by Calico`);
    expect(warning).toContain(range);
  });

  it.each([
    ['v1.36.3', 'v3.34.0'],
    ['v1.36.3', 'v3.3'],
    ['v2.0.0', 'v3.32.1'],
  ])('says nothing of Kubernetes %s with Calico %s', (kubernetes, calico) => {
    expect(calicoWarning(kubernetes, calico)).toBe(
      `Whether Calico ${calico} with Kubernetes ${kubernetes} was ever tested is unknown; it may work.`,
    );
  });
});
