import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { checkedPassword } from '../../scripts/render/sessions.ts';
import { fillIn, fillTemplate, literal, writeDocument } from '../../scripts/render/template.ts';

describe('fillTemplate', () => {
  it('fills placeholders within a line, as often as they occur', () => {
    expect(fillTemplate('a {{X}} b {{X}}{{Y}}\n', { X: '1', Y: '2' })).toBe('a 1 b 12\n');
  });

  it('indents every line of a value that has a line to itself, blank ones excepted', () => {
    expect(fillTemplate('{\n  {{X}}\n}\n', { X: 'a\n\nb\n' })).toBe('{\n  a\n\n  b\n}\n');
  });

  it('drops a line whose only content is empty', () => {
    expect(fillTemplate('a\n  {{X}}\nb\n', { X: '' })).toBe('a\nb\n');
  });

  it('does not look for placeholders in values', () => {
    expect(fillTemplate('a {{X}}\n', { X: '$& $1' })).toBe('a $& $1\n');
  });

  it('refuses a placeholder without a value and a value without a placeholder', () => {
    expect(() => fillTemplate('{{X}} {{Y}}', { X: '1' })).toThrow('{{Y}}');
    expect(() => fillTemplate('{{X}}', { X: '1', Y: '2' })).toThrow('no place for Y');
  });
});

describe('fillIn', () => {
  it('replaces null, keeps comments, and writes literal blocks', () => {
    const document = parseDocument('# why\na:\n  b: null # here\n');
    fillIn(document, ['a', 'b'], literal('1\n2\n'));
    expect(writeDocument(document)).toBe('# why\na:\n  b: |\n    1\n    2\n');
  });

  it('refuses where the template has no such key, or a value already', () => {
    const document = parseDocument('a: 1\n');
    expect(() => fillIn(document, ['a'], 2)).toThrow('null at a');
    expect(() => fillIn(document, ['b', 'c'], 2)).toThrow('null at b.c');
  });
});

describe('checkedPassword', () => {
  it('takes what FRR and BIRD take without quoting', () => {
    expect(checkedPassword('aZ0_-'.repeat(16))).toHaveLength(80);
  });

  it.each(['', 'a"b', 'a b', 'a\nb', 'a!b', 'x'.repeat(81)])('refuses %j without showing it', (password) => {
    expect(() => checkedPassword(password)).toThrow(
      /^the BGP password must be 1 to 80 characters of [^"]*"_" and "-"$/,
    );
  });
});
