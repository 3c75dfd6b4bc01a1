/** A version as far as behaviour depends on it. */
export interface Version {
  readonly major: number;
  readonly minor: number;
}

/** The oldest Multipass that this driver speaks to: extra NICs on Linux and `delete --purge` as a hard power-off. */
export const FLOOR: Version = { major: 1, minor: 15 };

/** From here on instances are in zones, each with a network of its own. */
export const WITH_ZONES: Version = { major: 1, minor: 17 };

/**
 * Reads what `multipass version` says: "1.16.3", "1.16.3+mac", "1.17.0-dev.616.ci1549+gf42cf65a.win". Patch level and
 * build decide nothing here, so they are not kept. Undefined where it is no version.
 */
export function parseVersion(text: string): Version | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)(?:[.\-+]|$)/.exec(text.trim()) ?? [];
  return major === undefined || minor === undefined
    ? undefined
    : { major: Number(major), minor: Number(minor) };
}

/** Whether a version is the wanted one or a later one. */
export function atLeast(version: Version, wanted: Version): boolean {
  return version.major === wanted.major ? version.minor >= wanted.minor : version.major > wanted.major;
}

/** "1.15" */
export function versionText({ major, minor }: Version): string {
  return `${major}.${minor}`;
}
