import { type BundleManifest, readBundle } from '../../artifacts/bundle/bundle.ts';
import { bundleProblems, nextAfterProblems } from '../../artifacts/bundle/check.ts';
import { createBundle } from '../../artifacts/bundle/create.ts';
import type { ReadOptions } from '../../artifacts/bundle/images.ts';
import { cacheFolder } from '../../artifacts/cache.ts';
import { debianArchitecture } from '../../artifacts/debian.ts';
import { installPackages } from '../../machines/packages.ts';
import { type MissingPackage, nameOf } from '../../plan/host-facts.ts';
import { UserError } from '../../shared/errors.ts';
import type { DistributionName } from '../../spec/types.ts';
import { type ArtifactChoice, type ArtifactSource, type Deps, requireConsent, workFor } from '../deps.ts';
import { Steps } from '../steps.ts';

export interface BundleOptions {
  readonly from: 'online' | 'debian';
  readonly distribution?: DistributionName | undefined;
  readonly yes?: boolean | undefined;
}

/** What `lab bundle create` works with. */
interface CreateStart {
  readonly deps: Deps;
  readonly folder: string;
  readonly source: ArtifactSource;
  readonly packages: readonly MissingPackage[];
  readonly missing: () => Promise<readonly MissingPackage[]>;
}

/** `lab bundle create`, in order. */
const CREATE_STEPS = new Steps<CreateStart>()
  .step({
    id: 'packages',
    title: 'Host packages',
    why: 'what builds images, from apt',
    run: async ({ deps, packages, missing }, emit) => {
      if (packages.length > 0) await installPackages(deps.local, missing, emit);
      return { changed: packages.length > 0 };
    },
  })
  .step({
    id: 'artifacts',
    title: 'Images and binaries',
    why: 'built or downloaded once, then cached',
    run: ({ deps, source }, emit) => source.ensure('prebuilt', emit, deps.signal),
  })
  .step({
    id: 'bundle',
    title: 'Bundle',
    why: 'every file copied, bundle.yaml last',
    run: async ({ deps, folder, artifacts: { software, places } }, emit) => ({
      changed: true,
      manifest: await createBundle(folder, software, debianArchitecture(), {
        ...readOptions(deps),
        emit,
        places,
      }),
    }),
  });

/**
 * `lab bundle create`: everything that a lab is made from, in a folder of its own. Throws UserError where the folder holds
 * something else, or the choices do not go together.
 */
export async function bundleCreate(
  deps: Deps,
  folder: string,
  options: BundleOptions,
): Promise<BundleManifest> {
  const choice = choiceOf(options);
  const source = await deps.artifacts(choice);
  const work = workFor(choice, await source.missing('prebuilt'));
  const missing = () => deps.host.missingPackages(work);
  const packages = await missing();
  const installs = packages.map((each) => `install ${nameOf(each)} with apt`);
  await requireConsent(deps, options.yes, installs, `npx lab bundle create --from ${options.from} ${folder}`);
  const start = { deps, folder, source, packages, missing };
  return (await CREATE_STEPS.run(start, deps.runSteps)).manifest;
}

function choiceOf({ from, distribution }: BundleOptions): ArtifactChoice {
  if (from === 'online') return { from, distribution: distribution ?? 'k3s' };
  if (distribution === 'k3s')
    throw new UserError('Debian has no package of k3s.', {
      next: 'npx lab bundle create --from online --distribution k3s DIR',
    });
  return { from };
}

/** `lab bundle verify`: everything that is wrong with a bundle, having read every byte of it, and what to do about it. */
export async function bundleVerify(
  deps: Deps,
  folder: string,
): Promise<{
  readonly manifest: BundleManifest;
  readonly problems: readonly string[];
  readonly next: string | undefined;
}> {
  const bundle = readBundle(folder);
  const { manifest } = bundle;
  const problems = await bundleProblems(bundle, { ...readOptions(deps), fromNote: false });
  return { manifest, problems, next: problems.length === 0 ? undefined : nextAfterProblems(manifest) };
}

function readOptions({ local, env }: Deps): ReadOptions {
  return { local, cache: cacheFolder(env) };
}
