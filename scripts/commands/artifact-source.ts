import { findDebianSource, mirrorProblem } from '../artifacts/debian.ts';
import { ensureArtifacts, missingArtifacts } from '../artifacts/ensure.ts';
import type { Executor } from '../exec/executor.ts';
import type { ArtifactSource } from './deps.ts';

/** Images and binaries made from Debian packages in the given cache folder. */
export function debianArtifacts(local: Executor, cache: string): ArtifactSource {
  return {
    async missing() {
      const missing = await missingArtifacts({ cache });
      return missing.map(({ title, seconds }) => ({ name: title, minutes: Math.ceil(seconds / 60) }));
    },
    async reachable() {
      return (await mirrorProblem(local, await findDebianSource(local))) === undefined;
    },
    async ensure(emit, signal) {
      const missing = await missingArtifacts({ cache });
      const { machineImage, kubectl } = await ensureArtifacts({ host: local, emit, signal, cache });
      return { artifacts: { image: machineImage, kubectl }, changed: missing.length > 0 };
    },
  };
}
