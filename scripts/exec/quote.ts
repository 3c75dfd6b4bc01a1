/** Quotes one word for a POSIX shell (zx's own quoting is bash's $'…', which a remote sh may not read). */
export function quoteWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** An argv as one line that can be pasted into a POSIX shell. */
export function quoteArgv(argv: readonly string[]): string {
  return argv.map(quoteWord).join(' ');
}
