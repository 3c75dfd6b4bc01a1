import { findDebianSource, mirrorProblem } from '../artifacts/debian.ts';
import { debianSoftware } from '../artifacts/debian-software.ts';
import { ensureArtifacts, missingArtifacts } from '../artifacts/ensure.ts';
import type { Recipe } from '../artifacts/recipe.ts';
import { recipes } from '../artifacts/recipes.ts';
import type { Executor } from '../exec/executor.ts';
import type { MachineDriver } from '../machines/driver.ts';
import { bundleArtifacts } from './bundle-source.ts';
import type { ArtifactChoice, ArtifactSource } from './deps.ts';
import { onlineArtifacts } from './online-source.ts';

/** The source of a choice; `cache` is what all labs share. */
export function artifactSource(choice: ArtifactChoice, local: Executor, cache: string): ArtifactSource {
  switch (choice.from) {
    case 'debian':
      return debianArtifacts(local, cache);
    case 'bundle':
      return bundleArtifacts(choice.folder, local, cache);
    case 'online':
      return onlineArtifacts(choice.distribution, local, cache);
  }
}

/** Images and binaries made from Debian packages in the given cache folder. */
export function debianArtifacts(local: Executor, cache: string): ArtifactSource {
  return {
    async missing(machines) {
      const missing = await missingArtifacts({ cache, all: recipesFor(machines) });
      return missing.map(({ title, seconds }) => ({ name: title, minutes: Math.ceil(seconds / 60) }));
    },
    async reachable() {
      return (await mirrorProblem(local, await findDebianSource(local))) === undefined;
    },
    async ensure(machines, emit, signal) {
      const all = recipesFor(machines);
      const missing = await missingArtifacts({ cache, all });
      const made = await ensureArtifacts({
        host: local,
        emit,
        signal,
        cache,
        all,
      });
      return {
        artifacts: {
          image: made.machineImage,
          software: await debianSoftware(made),
          kubectl: made.kubectl,
        },
        changed: missing.length > 0,
      };
    },
  };
}

/** Plain machines boot from an image of their own: the lab's is not needed, nor what only it is made from. */
function recipesFor(machines: MachineDriver['machines']): readonly Recipe[] {
  const all = recipes();
  return machines === 'baked' ? all : all.filter(({ id }) => id !== 'machine-image' && id !== 'machine-root');
}
