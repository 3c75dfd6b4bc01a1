import { debianArchitecture, findDebianSource, mirrorProblem } from '../artifacts/debian.ts';
import { missingBase } from '../artifacts/online/base.ts';
import { type OnlineChoice, onlineFiles } from '../artifacts/online/files.ts';
import { fetchOnline, missingOnline, onlineProblem } from '../artifacts/online/source.ts';
import { loadVersions, PLATFORMS } from '../artifacts/online/versions.ts';
import type { Executor } from '../exec/executor.ts';
import type { DistributionName } from '../spec/types.ts';
import { hostKubectl, imageOf } from './bundle-source.ts';
import type { ArtifactSource } from './deps.ts';

/** What one file takes to be fetched, in minutes: a guess, for lines of 20 Mbit/s and more. */
const MINUTES_PER_FILE = 1;

/** A lab's software from its publishers, pinned by versions.yaml, checked, and kept in the given cache folder. */
export function onlineArtifacts(
  distribution: DistributionName,
  local: Executor,
  cache: string,
): ArtifactSource {
  const lock = loadVersions();
  const architecture = debianArchitecture();
  const hostPlatform = PLATFORMS.find((each) => each === `${process.platform}/${architecture}`);
  const choice: OnlineChoice = { distribution, architecture, hostPlatform };
  return {
    async missing(machines) {
      const [files, base] = await Promise.all([
        missingOnline(cache, onlineFiles(lock, choice)),
        missingBase({ cache, machines }),
      ]);
      return [
        ...files.map(({ path, version }) => ({ name: `${path} ${version}`, minutes: MINUTES_PER_FILE })),
        ...base.map(({ title, seconds }) => ({ name: title, minutes: Math.ceil(seconds / 60) })),
      ];
    },
    async reachable() {
      const [publishers, mirror] = await Promise.all([
        onlineProblem(lock),
        mirrorProblem(local, await findDebianSource(local)),
      ]);
      return publishers === undefined && mirror === undefined;
    },
    async ensure(machines, emit, signal) {
      const { software, bundlePaths, changed } = await fetchOnline({
        host: local,
        cache,
        emit,
        signal,
        machines,
        lock,
        choice,
      });
      const image = imageOf(software);
      return {
        artifacts: {
          ...(image === undefined ? {} : { image }),
          software,
          kubectl: await hostKubectl(software, cache),
          places: bundlePaths,
        },
        changed,
      };
    },
  };
}
