/** Characters of US-ASCII that get a backslash; the rest is below "%" or above "z". */
const SPECIAL = /[&'()*[\\\]^,;<>?`]/;

/**
 * One word as the client sends it to the guest's login shell: special characters get a backslash, a newline double
 * quotes, and nothing becomes '' (escape_for_shell in src/utils/utils.cpp). The real one escapes each byte of what is
 * not ASCII as well, which the shell takes away again.
 */
export function escapeForShell(word: string): string {
  if (word === '') return "''";
  return [...word].map(escapeCharacter).join('');
}

function escapeCharacter(character: string): string {
  if (character === '\n') return '"\n"';
  const ascii = character <= '\x7f';
  return ascii && (character < '%' || character > 'z' || SPECIAL.test(character))
    ? `\\${character}`
    : character;
}

/** A command as one line for the guest's shell. */
export function escapeCommand(argv: readonly string[]): string {
  return argv.map(escapeForShell).join(' ');
}
