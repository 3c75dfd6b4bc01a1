import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXIT, UserError } from '../../scripts/shared/errors.ts';
import { loadSpec, parseSpec } from '../../scripts/spec/load.ts';

const FOLDER = 'test/specs';
const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => basename(file, '.yaml'));
const invalid = names.filter((name) => name.startsWith('invalid-'));
const valid = names.filter((name) => name.startsWith('valid-'));

function errorTextOf(name: string): string {
  try {
    parseSpec(readFileSync(`${FOLDER}/${name}.yaml`, 'utf8'), `${name}.yaml`);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.exitCode).toBe(EXIT.userMustAct);
    return `${[error.message, ...error.details, error.next].join('\n')}\n`;
  }
  return 'no problem found';
}

describe('the corpus', () => {
  it('holds nothing but valid-*, invalid-* and the texts of the latter', () => {
    expect([...invalid, ...valid].sort()).toEqual(names.sort());
    const texts = readdirSync(FOLDER).filter((file) => !file.endsWith('.yaml'));
    expect(texts.sort()).toEqual(invalid.map((name) => `${name}.txt`).sort());
  });
});

describe('invalid specs', () => {
  // After a wanted change of wording: npx vitest run test/spec -u, then review the diff.
  it.each(invalid)('%s gives exactly its error text', async (name) => {
    const text = errorTextOf(name);
    expect(text).not.toBe('no problem found');
    await expect(text).toMatchFileSnapshot(`../specs/${name}.txt`);
  });

  it.each(invalid)('%s: one line per problem, sorted, with place, reason and fix', (name) => {
    const [, ...lines] = errorTextOf(name).trimEnd().split('\n');
    const problems = lines.slice(0, -1);
    expect(problems.length).toBeGreaterThan(0);
    const places = problems.map((line) => {
      const match = /^[\w-]+\.yaml:(\d+):(\d+) {2}(\S.*) {2}\(fix: \S.*\)$/.exec(line);
      expect(match, line).not.toBeNull();
      return Number(match?.[1]) * 10_000 + Number(match?.[2]);
    });
    expect(places).toEqual([...places].sort((a, b) => a - b));
    const content = readFileSync(`${FOLDER}/${name}.yaml`, 'utf8');
    const last = Math.floor((places.at(-1) ?? 0) / 10_000);
    expect(last).toBeLessThanOrEqual(Math.max(1, content.split('\n').length));
  });
});

describe('valid specs', () => {
  it.each(valid)('%s loads', (name) => {
    expect(existsSync(`${FOLDER}/${name}.txt`)).toBe(false);
    expect(loadSpec(`${FOLDER}/${name}.yaml`).version).toBe(1);
  });

  it('the shortest spec is lab.yaml', () => {
    expect(loadSpec(`${FOLDER}/valid-minimal.yaml`)).toEqual(loadSpec('lab.yaml'));
  });
});
