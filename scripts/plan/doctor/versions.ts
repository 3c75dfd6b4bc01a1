/** The leading numbers of a version: "5.21.3 LTS" is [5, 21, 3]. Empty where it does not begin with one. */
function numbersOf(version: string): readonly number[] {
  return (/^\d+(\.\d+)*/.exec(version.trim())?.[0] ?? '')
    .split('.')
    .filter((part) => part !== '')
    .map(Number);
}

/** Whether a version is the floor or later, by its leading numbers. A text without any is not. */
export function isAtLeast(version: string, floor: string): boolean {
  const seen = numbersOf(version);
  if (seen.length === 0) return false;
  for (const [index, wanted] of numbersOf(floor).entries()) {
    const part = seen[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
