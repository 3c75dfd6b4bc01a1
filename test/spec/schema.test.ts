import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { completeSpec } from '../../scripts/spec/defaults.ts';
import { labJsonSchema } from '../../scripts/spec/schema.ts';
import { suggest } from '../../scripts/spec/suggest.ts';
import type { LabSpec } from '../../scripts/spec/types.ts';

describe('lab.schema.json', () => {
  it('is up to date', () => {
    const hint = 'run: npm run build && node build/schema.mjs';
    expect(readFileSync('lab.schema.json', 'utf8') === labJsonSchema(), hint).toBe(true);
  });

  it('describes every key, forbids others, and has patterns that its own defaults match', () => {
    const walk = (schema: Record<string, unknown>, path: string): void => {
      if (path !== '') expect(schema.description, path).toBeTypeOf('string');
      if (schema.type === 'object') expect(schema.additionalProperties, path).toBe(false);
      if (typeof schema.pattern === 'string' && typeof schema.default === 'string') {
        expect(schema.default).toMatch(new RegExp(schema.pattern));
      }
      const properties = (schema.properties ?? {}) as Record<string, Record<string, unknown>>;
      for (const [key, value] of Object.entries(properties)) walk(value, `${path}.${key}`);
      if (schema.items !== undefined) walk(schema.items as Record<string, unknown>, `${path}[]`);
    };
    walk(JSON.parse(labJsonSchema()), '');
  });

  it('is what lab.yaml names for editors', () => {
    expect(readFileSync('lab.yaml', 'utf8').split('\n')[0]).toBe(
      '# yaml-language-server: $schema=./lab.schema.json',
    );
  });
});

describe('examples', () => {
  const examples = ['lab.yaml', ...readdirSync('test/specs').filter((file) => file.startsWith('valid-'))];
  it.each(examples)('%s is valid to an editor that reads lab.schema.json', (file) => {
    const path = file === 'lab.yaml' ? file : `test/specs/${file}`;
    const schema = z.fromJSONSchema(JSON.parse(readFileSync('lab.schema.json', 'utf8')));
    const written = parse(readFileSync(path, 'utf8'));
    expect(schema.safeParse(written).error?.issues).toBeUndefined();
    // The same reader says no where an editor must: it is not a test that cannot fail.
    expect(schema.safeParse({ ...written, colour: 'red' }).success).toBe(false);
    expect(schema.safeParse({ ...written, name: 'No Name' }).success).toBe(false);
  });

  it('a completed spec is a LabSpec', () => {
    expectTypeOf(completeSpec).returns.toEqualTypeOf<LabSpec>();
  });
});

describe('suggest', () => {
  it.each([
    ['adress', 'address'],
    ['ADDRESS', 'address'],
    ['addrses', 'address'],
    ['nmae', 'name'],
    ['colour', undefined],
    ['', undefined],
    ['a'.repeat(100_000), undefined],
  ])('%s -> %s', (written, meant) => {
    expect(suggest(written, ['name', 'role', 'address', 'routed'])).toBe(meant);
  });
});
