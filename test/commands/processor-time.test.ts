import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { timingsText } from '../../scripts/cli/text.ts';
import { measured } from '../../scripts/commands/up/processor-time.ts';

function rootFolder(): string {
  const root = mkdtempSync(join(tmpdir(), 'lab-meter-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  return root;
}

it('a machine that stops while it is measured is left out', () => {
  const root = rootFolder();
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const group = 'sys/fs/cgroup/lxc.payload.';
  write('proc/stat', 'cpu  100 0 0 0\n');
  write(`${group}stays/cpu.stat`, 'usage_usec 1000000\n');
  write(`${group}goes/cpu.stat`, 'usage_usec 1000000\n');
  const since = measured(root);
  write('proc/stat', 'cpu  300 0 0 0\n');
  write(`${group}stays/cpu.stat`, 'usage_usec 4000000\n');
  rmSync(join(root, `${group}goes/cpu.stat`));
  expect(since(9000)).toEqual({ processorMs: 2000, leastMs: 3000 });
});

it('where there is no /proc nothing is measured, and the table says so', () => {
  expect(measured(rootFolder())(5)).toEqual({});
  const text = timingsText([{ step: 'host', ms: 5, changed: true }]);
  expect(text).toContain('on Linux only');
  expect(text).not.toContain('critical path');
});
