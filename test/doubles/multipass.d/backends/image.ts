import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  debianArchitecture,
  findDebianSource,
  KEYRING,
  renderSources,
  SUITE,
} from '../../../../scripts/artifacts/debian.ts';
import { ensureArtifacts } from '../../../../scripts/artifacts/ensure.ts';
import type { BuildContext, Recipe } from '../../../../scripts/artifacts/recipe.ts';
import { localExecutor } from '../../../../scripts/exec/local.ts';
import type { MachineImage } from '../../../../scripts/machines/driver.ts';
import type { Emit } from '../../../../scripts/shared/events.ts';
import { assetPath } from '../../../../scripts/shared/files.ts';

const FOLDER = 'test/doubles/multipass.d/image';
/** The one file that is shared with the lab's machines: what any container on a cgroup v1 host needs for kubelet. */
const CGROUPS = 'images/machine/files/usr/local/sbin/lab-cgroups';
const KERNEL_ARCHITECTURE = { amd64: 'x86_64', arm64: 'aarch64' } as const;

/** The plain Debian image of every launched container: built once with mmdebstrap, then found in the cache folder. */
export async function ensureDebianImage(cache: string, emit: Emit): Promise<MachineImage> {
  const host = localExecutor();
  const { mirror, aptOptions } = await findDebianSource(host);
  const recipe: Recipe = {
    id: 'machine-image',
    title: 'the plain Debian image of the multipass double',
    revision: 1,
    needs: [],
    assets: [FOLDER, CGROUPS],
    parameters: {
      suite: SUITE,
      architecture: debianArchitecture(),
      ...mirror,
      aptOptions: aptOptions.join('\n'),
    },
    seconds: 30,
    lines: 1200,
    build: (context) => build(context, renderSources(mirror, SUITE, KEYRING), aptOptions),
  };
  const { machineImage } = await ensureArtifacts({ host, emit, cache, all: [recipe] });
  if (machineImage === undefined) throw new Error(`recipe ${recipe.id} makes no machine image`);
  return machineImage;
}

async function build(
  { work, out, sources, script, mmdebstrapOptions, parameters }: BuildContext,
  aptSources: string,
  aptOptions: readonly string[],
): Promise<void> {
  const files = join(work, 'files');
  await cp(assetPath(FOLDER, 'files'), files, { recursive: true });
  await mkdir(join(files, 'usr/local/sbin'), { recursive: true });
  await cp(assetPath(CGROUPS), join(files, 'usr/local/sbin/double-cgroups'));
  const metadata = join(work, 'metadata');
  await cp(assetPath(FOLDER, 'templates'), join(metadata, 'templates'), { recursive: true });
  const description = await readFile(assetPath(FOLDER, 'metadata.yaml'), 'utf8');
  const architecture = KERNEL_ARCHITECTURE[parameters.architecture as keyof typeof KERNEL_ARCHITECTURE];
  await writeFile(
    join(metadata, 'metadata.yaml'),
    description
      .replaceAll('@ARCHITECTURE@', architecture)
      .replace('@CREATION_DATE@', String(Math.floor(Date.now() / 1000))),
  );
  const guestSources = join(work, 'guest-sources.list');
  await writeFile(guestSources, aptSources);
  const guestOptions = join(work, 'guest-apt.conf');
  await writeFile(guestOptions, `${aptOptions.join('\n')}\n`);
  await script(
    `../${FOLDER}/build.sh`,
    work,
    out,
    sources,
    SUITE,
    files,
    metadata,
    guestSources,
    guestOptions,
    ...mmdebstrapOptions,
  );
}
