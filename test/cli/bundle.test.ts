import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { K3S_FILES, writeBundle } from '../fakes/bundle.ts';
import { fakeLab } from '../fakes/lab.ts';

describe('lab bundle verify', () => {
  const verify = async (files = K3S_FILES, ...words: readonly string[]) => {
    const lab = fakeLab();
    writeBundle(join(lab.cwd, 'bundle'), files);
    return lab.run('lab', ['bundle', 'verify', ...words, './bundle']);
  };
  const half = K3S_FILES.filter(({ path }) => path !== 'k3s-images.tar.gz');

  it('ends with 0 where nothing is missing', async () => {
    const { code, out } = await verify();
    expect(code).toBe(0);
    expect(out).toMatch(/^ok .*: k3s v1\.36\.3\+k3s1 with calico v3\.32\.1, .*, 4 files\n$/);
  });

  it('names what is missing, says what to do, and ends with 2', async () => {
    const { code, out } = await verify(half);
    expect(code).toBe(2);
    expect(out.split('\n')).toEqual([
      'container image docker.io/rancher/mirrored-pause:3.10.2: in no image archive',
      'container image docker.io/rancher/mirrored-coredns-coredns:1.14.6: in no image archive',
      expect.stringMatching(/^broken .*, 3 files, 2 wrong$/),
      expect.stringMatching(/^next: .*npx lab bundle create --from online --distribution k3s DIR$/),
      '',
    ]);
    const { code: same, out: json } = await verify(half, '--json');
    expect(same).toBe(2);
    expect(JSON.parse(json)).toMatchObject({
      schemaVersion: 1,
      problems: [expect.stringContaining('mirrored-pause'), expect.stringContaining('coredns')],
      next: expect.stringContaining('lab bundle create'),
    });
  });
});
