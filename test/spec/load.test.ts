import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkSpec, loadSpec, parseSpec, SPEC_BYTES_MAX } from '../../scripts/spec/load.ts';
import { SpecError } from '../../scripts/spec/problems.ts';

const folder = mkdtempSync(join(tmpdir(), 'lab-spec-'));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function failureOf(path: string): SpecError {
  try {
    loadSpec(path);
  } catch (error) {
    if (error instanceof SpecError) return error;
    throw error;
  }
  throw new Error(`${path} has no problem`);
}

describe('AS numbers in asdot notation', () => {
  it.each([
    // To YAML this is the number 1.1.
    ['1.10', 65546],
    ['1.1', 65537],
    ['"1.10"', 65546],
    ['64512.0', 4227858432],
    ['0.65001', 65001],
    ['65001', 65001],
  ])('%s is %d', (written, asn) => {
    const { bgp } = parseSpec(`version: 1\nbgp: { clusterAsn: ${written} }\n`, 'lab.yaml');
    expect(bgp.clusterAsn).toBe(asn);
  });

  it.each(['1.65536', '"x.1"', '65535.65535', '0.0'])('%s is refused', (written) => {
    const { problems } = checkSpec(`version: 1\nbgp: { clusterAsn: ${written} }\n`, 'lab.yaml');
    expect(problems).toEqual([expect.objectContaining({ path: 'bgp.clusterAsn', line: 2 })]);
  });
});

describe('files', () => {
  const text = 'version: 1\nname: größe\n';
  it.each([
    ['UTF-8 with a byte order mark', Buffer.from(`\uFEFF${text}`)],
    ['UTF-16 little endian', Buffer.from(`\uFEFF${text}`, 'utf16le')],
    ['UTF-16 big endian', Buffer.from(`\uFEFF${text}`, 'utf16le').swap16()],
  ])('%s is read, and columns are right', (_what, bytes) => {
    const [problem] = failureOf(write('encoded.yaml', bytes)).problems;
    expect(problem).toMatchObject({ line: 2, column: 7, path: 'name' });
    expect(problem?.message).toContain('größe');
  });

  it.each([
    ['Latin-1', Buffer.from(text, 'latin1'), 'is no UTF-8 text'],
    ['a binary file', Buffer.from([0x56, 0, 1, 2, 3, 0]), 'NUL'],
    ['half a UTF-16 file', Buffer.from([0xff, 0xfe, 0x56]), 'is no UTF-16LE text'],
    ['a huge file', Buffer.alloc(SPEC_BYTES_MAX + 1, '#'), `has ${SPEC_BYTES_MAX + 1} bytes`],
  ])('%s is refused', (_what, bytes, reason) => {
    const path = write('refused.yaml', bytes);
    const error = failureOf(path);
    expect(error.exitCode).toBe(2);
    expect(error.details).toHaveLength(1);
    expect(error.details[0]).toContain(`${path}  ${reason.startsWith('NUL') ? 'holds NUL' : reason}`);
    expect(error.details[0]).toContain('(fix: ');
  });

  it('a missing file names the next command', () => {
    const error = failureOf(join(folder, 'missing.yaml'));
    expect(error.details[0]).toContain('does not exist');
    expect(error.next).toContain('labup --file PATH');
  });

  it.each([
    ['a folder', () => folder, 'is a folder'],
    ['a device', () => '/dev/null', 'is no regular file'],
    [
      'a path through a file',
      () => join(write('file.yaml', 'version: 1\n'), 'lab.yaml'),
      'cannot be read: ENOTDIR',
    ],
  ])('%s is refused', (_what, path, reason) => {
    expect(failureOf(path()).details[0]).toContain(reason);
  });

  it('a file in a folder of its own is found', () => {
    mkdirSync(join(folder, 'sub'));
    expect(loadSpec(write('sub/lab.yaml', 'version: 1\n')).name).toBe('bgp-lab');
  });
});

describe('parseSpec', () => {
  it('keeps what was written and completes the rest', () => {
    const spec = parseSpec('version: 1\nnetwork: { subnet: 10.9.8.0/24 }\n', 'x.yaml');
    expect(spec.network).toEqual({ subnet: '10.9.8.0/24', host: '10.9.8.1', bridge: 'labbr0' });
    expect(spec.machines.map(({ address }) => address)).toContain('10.9.8.104');
  });

  it('takes a client without "routed" for one without routes', () => {
    const machines = ['control-plane', 'worker', 'router', 'client']
      .map((role, index) => `  - { name: m${index}, role: ${role}, address: 192.168.13.${index + 2} }\n`)
      .join('');
    expect(parseSpec(`version: 1\nmachines:\n${machines}`, 'x.yaml').machines[3]).toMatchObject({
      routed: false,
    });
  });

  it.each([
    ['deeply nested flow lists', `version: 1\nname: ${'['.repeat(100_000)}`],
    ['deeply nested maps', `version: 1\nname: ${'{a: '.repeat(50_000)}`],
    ['a key of a megabyte', `version: 1\n${'k'.repeat(1_000_000)}: 1\n`],
    ['a map as key', 'version: 1\n? { a: 1 }\n: 2\n'],
    ['numbers and nothing as keys', 'version: 1\n1: 2\n~: 3\ntrue: 4\n'],
    ['keys of Object.prototype', 'version: 1\nconstructor: 1\ntoString: { a: 1 }\n__proto__: 1\n'],
    ['a YAML directive', '%YAML 1.1\n---\nversion: yes\n'],
    ['a tagged value', 'version: 1\nname: !!binary aGVsbG8=\n'],
    ['dates and sets', 'version: 2024-01-01\nmachines: !!set { a, b }\n'],
    ['a second broken document', 'version: 1\n---\n[\n'],
    ['a document end in between', 'version: 1\n...\nname: lab\n'],
  ])('%s: problems, no crash', (_what, text) => {
    const { problems } = checkSpec(text, 'x.yaml');
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) {
      expect(problem.line).toBeGreaterThan(0);
      expect(problem.column).toBeGreaterThan(0);
      expect(problem.message.length).toBeLessThan(1000);
    }
  });
});
