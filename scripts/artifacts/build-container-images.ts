import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assetPath } from '../shared/assets.ts';
import { CONTAINER_IMAGES, type ContainerImage, IMAGE_PATH } from './container-images.ts';
import { writeDockerArchive } from './docker-archive.ts';
import { assetFiles, type BuildContext } from './recipe.ts';

/** Packs container images as docker-archives: layers of packages, then one of files. */
export async function buildContainerImages(
  context: BuildContext,
  images: readonly ContainerImage[] = CONTAINER_IMAGES,
): Promise<void> {
  const { work, out, outputOf, run, parameters } = context;
  for (const image of images) {
    const layers = image.layers.map((name) => join(outputOf('container-layers'), `${name}.tar`));
    const files = filesOf(image, outputOf);
    if (files.length > 0) layers.push(await fileLayer(context, image.name, files));
    const archive = {
      reference: image.reference,
      layers,
      environment: [`PATH=${IMAGE_PATH}`, 'PYTHONUNBUFFERED=1'],
      entrypoint: image.entrypoint,
      architecture: parameters.architecture ?? '',
    };
    await writeDockerArchive(
      archive,
      join(out, `${image.name}.tar`),
      join(work, `${image.name}.staging`),
      (args) => run(['tar', ...args]),
    );
  }
}

interface FileToCopy {
  readonly from: string;
  readonly to: string;
  readonly mode: number;
}

// An image of Python files alone needs no Kubernetes to have been built.
function filesOf({ binary, python = {} }: ContainerImage, outputOf: BuildContext['outputOf']): FileToCopy[] {
  const files: FileToCopy[] = [];
  if (binary !== undefined) {
    files.push({
      from: join(outputOf('kubernetes'), binary.name),
      to: join(binary.to, binary.name),
      mode: 0o755,
    });
  }
  for (const [folder, to] of Object.entries(python)) {
    for (const { name } of assetFiles([folder])) {
      if (name.endsWith('.py'))
        files.push({ from: assetPath(name), to: join(to, basename(name)), mode: 0o644 });
    }
  }
  return files;
}

async function fileLayer(
  { work, run }: BuildContext,
  name: string,
  files: readonly FileToCopy[],
): Promise<string> {
  const root = join(work, `${name}.root`);
  for (const { from, to, mode } of files) {
    await mkdir(dirname(join(root, to)), { recursive: true });
    await copyFile(from, join(root, to));
    await chmod(join(root, to), mode);
  }
  const layer = join(work, `${name}.files.tar`);
  // No clock, user or umask in it: equal files give an equal layer.
  const options = [
    '--sort=name',
    '--mtime=@0',
    '--mode=u=rwX,go=rX',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
  ];
  await run(['tar', ...options, '-C', root, '-cf', layer, '.']);
  return layer;
}
