import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assetPath } from '../shared/files.ts';
import { K8S_IMAGE_REPOSITORY, K8S_VERSION, PAUSE_TAG } from '../shared/versions.ts';
import { buildContainerImages, CONTAINER_IMAGES, ECHO_IMAGES } from './container-images.ts';
import { debianArchitecture, SUITE } from './debian.ts';
import type { BuildContext, Recipe, RecipeId } from './recipe.ts';

const MACHINE_ASSETS = [
  'images/machine/assemble.sh',
  'images/machine/build.sh',
  'images/machine/files',
  'images/machine/import-images.sh',
  'images/machine/metadata.yaml',
  'images/machine/templates',
];

/**
 * Every artifact of a lab that is made from Debian alone, each after those that it needs. `seconds` and `lines` were
 * measured with an empty cache.
 */
export function recipes(architecture = debianArchitecture()): readonly Recipe[] {
  const debian = { suite: SUITE, architecture };
  return [
    {
      id: 'kubernetes',
      title: `Kubernetes ${K8S_VERSION} from Debian's source package`,
      revision: 1,
      needs: [],
      assets: ['images/kubernetes', 'images/pause'],
      parameters: { ...debian, version: K8S_VERSION },
      seconds: 137,
      lines: 2210,
      build: (context) =>
        context.script(
          'kubernetes/build.sh',
          context.work,
          context.out,
          context.sources,
          SUITE,
          K8S_VERSION,
          ...context.mmdebstrapOptions,
        ),
    },
    ...packages(debian),
    {
      id: 'container-images',
      title: 'the container images',
      revision: 1,
      needs: ['kubernetes', 'container-layers'],
      assets: CONTAINER_IMAGES.flatMap(({ python = {} }) => Object.keys(python)),
      parameters: { ...debian, images: JSON.stringify(CONTAINER_IMAGES) },
      seconds: 2,
      lines: 1,
      build: buildContainerImages,
    },
    {
      id: 'machine-image',
      title: 'the machine image',
      revision: 1,
      needs: ['machine-root', 'kubernetes', 'container-images'],
      assets: MACHINE_ASSETS,
      parameters: { ...debian, registry: K8S_IMAGE_REPOSITORY, pause: PAUSE_TAG },
      seconds: 12,
      lines: 20,
      build: buildMachineImage,
    },
  ];
}

/** What a lab whose Kubernetes comes from elsewhere still needs from Debian: its machines and the echo server. */
export function baseRecipes(architecture = debianArchitecture()): readonly Recipe[] {
  const debian = { suite: SUITE, architecture };
  return [
    ...packages(debian),
    {
      id: 'echo-image',
      title: 'the images for pods: echo server, nginx, toolbox',
      revision: 1,
      needs: ['container-layers'],
      assets: ECHO_IMAGES.flatMap(({ python = {} }) => Object.keys(python)),
      parameters: { ...debian, images: JSON.stringify(ECHO_IMAGES) },
      seconds: 1,
      lines: 1,
      build: (context) => buildContainerImages(context, ECHO_IMAGES),
    },
    {
      id: 'machine-base',
      title: 'the machine image without Kubernetes',
      revision: 1,
      needs: ['machine-root'],
      assets: MACHINE_ASSETS,
      parameters: { ...debian, registry: K8S_IMAGE_REPOSITORY, pause: PAUSE_TAG },
      seconds: 5,
      lines: 3,
      build: buildMachineBase,
    },
  ];
}

function packages(debian: Readonly<Record<string, string>>): readonly Recipe[] {
  return [
    {
      id: 'machine-root',
      title: 'the packages of the machine image',
      revision: 1,
      needs: [],
      assets: ['images/machine/packages.txt', 'images/machine/root.sh'],
      parameters: debian,
      seconds: 40,
      lines: 1920,
      build: ({ script, work, out, sources, mmdebstrapOptions }) =>
        script('machine/root.sh', work, out, sources, SUITE, ...mmdebstrapOptions),
    },
    {
      id: 'container-layers',
      title: 'the packages of the container images',
      revision: 1,
      needs: [],
      assets: ['images/containers'],
      parameters: debian,
      seconds: 8,
      lines: 58,
      build: ({ script, out, sources, mmdebstrapOptions }) =>
        script('containers/build.sh', out, sources, SUITE, ...mmdebstrapOptions),
    },
  ];
}

/** LXD's and Incus' names of the architectures that Debian calls so. */
const KERNEL_ARCHITECTURE: Readonly<Record<string, string>> = { amd64: 'x86_64', arm64: 'aarch64' };

/** Assembles root file system, binaries, configuration and container images into the one machine image. */
export async function buildMachineImage(context: BuildContext): Promise<void> {
  await assemble(context, ['kubernetes', 'container-images']);
}

/** The same machine without Kubernetes and its images, which come to it later from a bundle. */
export async function buildMachineBase(context: BuildContext): Promise<void> {
  await assemble(context, []);
}

async function assemble(
  { work, out, outputOf, run, script, parameters }: BuildContext,
  contents: readonly RecipeId[],
): Promise<void> {
  const root = join(work, 'rootfs');
  // While Kubernetes is compiled.
  const packed = join(await outputOf('machine-root'), 'root.squashfs');
  await run(['unsquashfs', '-quiet', '-no-progress', '-dest', root, packed]);
  const files = join(work, 'files');
  await cp(assetPath('images', 'machine', 'files'), files, { recursive: true });
  await fillIn(join(files, 'etc', 'containerd', 'config.toml'), {
    REGISTRY: parameters.registry ?? '',
    PAUSE_TAG: parameters.pause ?? '',
  });
  const metadata = join(work, 'metadata');
  await mkdir(metadata);
  await cp(assetPath('images', 'machine', 'templates'), join(metadata, 'templates'), { recursive: true });
  await cp(assetPath('images', 'machine', 'metadata.yaml'), join(metadata, 'metadata.yaml'));
  await fillIn(join(metadata, 'metadata.yaml'), {
    ARCHITECTURE: KERNEL_ARCHITECTURE[parameters.architecture ?? ''] ?? '',
    CREATION_DATE: String(Math.floor(Date.now() / 1000)),
  });
  const [binaries = '', images = ''] = await Promise.all(contents.map(outputOf));
  await script('machine/build.sh', out, root, files, binaries, images, metadata);
}

/** Replaces every @NAME@ in a file; a name without a value is a bug here. */
async function fillIn(path: string, values: Readonly<Record<string, string>>): Promise<void> {
  const text = await readFile(path, 'utf8');
  const filled = text.replaceAll(/@([A-Z_]+)@/g, (placeholder, name: string) => {
    const value = values[name];
    if (value === undefined || value === '') throw new Error(`${path}: nothing to put for ${placeholder}`);
    return value;
  });
  await writeFile(path, filled);
}
