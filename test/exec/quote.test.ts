import { describe, expect, it } from 'vitest';
import { CommandError, quoteArgv, quoteWord } from '../../scripts/exec/executor.ts';
import { localExecutor } from '../../scripts/exec/local.ts';

describe('quoting for a POSIX shell', () => {
  it.each([
    ['plain', 'plain'],
    ['a/b.c-d_e=f:g,h@i%j+k', 'a/b.c-d_e=f:g,h@i%j+k'],
    ['', "''"],
    ['a b', "'a b'"],
    ["it's", "'it'\\''s'"],
    ['~', "'~'"],
    ['*', "'*'"],
    ['$x', "'$x'"],
    ['a\nb', "'a\nb'"],
  ])('%j', (word, quoted) => {
    expect(quoteWord(word)).toBe(quoted);
  });

  it('survives dash and bash', async () => {
    const words = ["it's", '"', '\\', '$(id)', '`id`', '*', 'a\nb', '', '!', '~root', '#', '-n', 'ü'];
    for (const shell of ['sh', 'bash']) {
      const { stdout } = await localExecutor().run([shell, '-c', `printf '%s\\0' ${quoteArgv(words)}`]);
      expect(stdout.split('\0').slice(0, -1)).toEqual(words);
    }
  });
});

describe('CommandError', () => {
  const outcome = { exitCode: 1, stdout: '', stderr: '' };

  it('shows standard output where standard error is silent', () => {
    expect(new CommandError('bgp', ['x'], { ...outcome, stdout: 'a\n\nb\n' }).details).toEqual([
      'command: x',
      'a',
      'b',
    ]);
    expect(new CommandError('bgp', ['x'], { ...outcome, stdout: 'a', stderr: 'b' }).details).toEqual([
      'command: x',
      'b',
    ]);
  });

  it('shortens a command that would fill the screen', () => {
    const [command = ''] = new CommandError('bgp', ['sh', '-c', 'x'.repeat(2000)], outcome).details;
    expect(command.length).toBeLessThan(420);
    expect(command.endsWith(' …')).toBe(true);
  });

  it('says how it ended where there is no code', () => {
    const error = new CommandError('bgp', ['x'], { ...outcome, exitCode: null, how: 'connection lost' });
    expect(error.message).toBe('x failed on bgp (connection lost).');
  });
});
