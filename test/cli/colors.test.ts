import { expect, it } from 'vitest';
import { colorWanted } from '../../scripts/cli/text.ts';

it.each([
  ['a terminal', {}, true, true],
  ['a pipe', {}, false, false],
  ['a pipe in CI, where picocolors would colour', { CI: 'true' }, false, false],
  ['NO_COLOR on a terminal', { NO_COLOR: '1' }, true, false],
  ['a dumb terminal', { TERM: 'dumb' }, true, false],
  ['FORCE_COLOR in a pipe', { FORCE_COLOR: '1' }, false, true],
])('%s', (_, env, isTerminal, wanted) => {
  expect(colorWanted(env, isTerminal)).toBe(wanted);
});
