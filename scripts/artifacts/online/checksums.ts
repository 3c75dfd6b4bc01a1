/** A SHA-256 and, where the list has names, whose it is. */
interface Entry {
  readonly sum: string;
  readonly name: string | undefined;
}

/**
 * The SHA-256 of one file in the list that its publisher puts beside it. Two forms are in use: sha256sum's
 * ("HASH  name", with "*" before the name for binary mode), alone or between the lines of a PGP clear signature; and a
 * bare hash, for a list of one file. Undefined where the list does not say it, or says two things.
 */
export function findChecksum(list: string, name?: string): string | undefined {
  const entries = list.split('\n').flatMap(parseLine);
  const wanted = name === undefined ? entries : entries.filter((entry) => entry.name === name);
  const sums = new Set(wanted.map(({ sum }) => sum));
  return sums.size === 1 ? [...sums][0] : undefined;
}

function parseLine(line: string): Entry[] {
  const [, sum, path] = /^([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*$/.exec(line) ?? [];
  return sum === undefined ? [] : [{ sum: sum.toLowerCase(), name: path?.split('/').at(-1) }];
}
