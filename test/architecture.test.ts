import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  escapes,
  leftForLater,
  MAX_LINES,
  printing,
  TIMER_PLACES,
  timers,
  tooLong,
  undocumented,
} from './architecture/code-rules.ts';
import {
  barrels,
  cycles,
  FOLDERS,
  folderOf,
  loadedWith,
  orderViolations,
  reservedImports,
  sentenceImports,
} from './architecture/import-rules.ts';
import { filesBelow, type Source, scriptSources, source } from './architecture/sources.ts';

const sources = scriptSources();

/** The project obeys the rule, and each of the planted sources breaks it. */
function rule(
  check: (sources: readonly Source[]) => readonly string[],
  planted: Readonly<Record<string, readonly Source[]>>,
  fine: readonly Source[] = [],
): void {
  it('holds in scripts/', () => {
    expect(check(sources)).toEqual([]);
  });
  it.each(Object.entries(planted))('sees %s', (_, files) => {
    expect(check(files)).toHaveLength(1);
  });
  it('is content with what is allowed', () => {
    expect(check(fine)).toEqual([]);
  });
}

describe('the sources', () => {
  it('are all there', () => {
    expect(sources.length).toBeGreaterThan(100);
    const folders = new Set(sources.map(({ path }) => folderOf(path)));
    expect([...folders].filter((folder) => !FOLDERS.includes(folder as (typeof FOLDERS)[number]))).toEqual(
      [],
    );
  });
});

describe('import order', () => {
  rule(
    orderViolations,
    {
      'an import from a later folder': [source('scripts/plan/a.ts', "import { b } from '../exec/b.ts';")],
      'a type-only import from a later folder': [
        source('scripts/exec/a.ts', "import type { B } from '../artifacts/b.ts';"),
      ],
      'an import type in an expression': [
        source('scripts/exec/a.ts', "type B = import('../machines/b.ts').B;"),
      ],
      'a dynamic import': [source('scripts/shared/a.ts', "const b = await import('../cli/b.ts');")],
      'an export from': [source('scripts/bgp/checks/a.ts', "export { b } from '../../workloads/b.ts';")],
      'a folder that nobody knows': [source('scripts/utils/a.ts', '')],
      'an import of a bin': [source('scripts/cli/a.ts', "import '../lab.ts';")],
      'an import from outside scripts/': [source('scripts/cli/a.ts', "import '../../test/b.ts';")],
    },
    [
      source(
        'scripts/cli/a.ts',
        "import { b } from '../shared/b.ts'; import { c } from './c.ts'; import 'listr2';",
      ),
      source('scripts/lab.ts', "import { b } from './cli/b.ts';"),
      source('scripts/artifacts/a.ts', "import type { B } from '../exec/b.ts';"),
    ],
  );
});

describe('a command begins at once', () => {
  it.each([
    ['scripts/cli/main.ts', ['commander', 'picocolors']],
    ['scripts/commands/inspect/shell.ts', ['ipaddr.js', 'yaml', 'zod']],
  ])('%s loads no more packages than it needs to begin', (start, packages) => {
    expect(loadedWith(sources, start)).toEqual(packages);
  });

  it('sees what is loaded through another file, and not what is loaded later or a type', () => {
    const files = [
      source('scripts/cli/a.ts', "import { b } from './b.ts'; const c = () => import('zod');"),
      source('scripts/cli/b.ts', "import { $, type X } from 'zx'; import { type Y } from 'yaml';"),
    ];
    expect(loadedWith(files, 'scripts/cli/a.ts')).toEqual(['zx']);
  });
});

describe('no import cycles', () => {
  rule(
    cycles,
    {
      'two files': [
        source('scripts/plan/a.ts', "import { b } from './b.ts';"),
        source('scripts/plan/b.ts', "import type { A } from './a.ts';"),
      ],
      'a ring behind a straight piece': [
        source('scripts/plan/start.ts', "import './a.ts';"),
        source('scripts/plan/a.ts', "import './b.ts';"),
        source('scripts/plan/b.ts', "import './c.ts';"),
        source('scripts/plan/c.ts', "import './a.ts';"),
      ],
      'a file that imports itself': [source('scripts/plan/a.ts', "import './a.ts';")],
    },
    [
      source('scripts/plan/a.ts', "import './b.ts'; import './c.ts';"),
      source('scripts/plan/b.ts', "import './c.ts';"),
      source('scripts/plan/c.ts', ''),
    ],
  );
});

describe('only report/ and cli/ make and read sentences about findings', () => {
  rule(
    sentenceImports,
    {
      'the sentences of checks': [
        source('scripts/commands/a.ts', "import { describeCheck } from '../report/check-text.ts';"),
      ],
      'the words of cells': [source('scripts/selftest/a.ts', "import { b } from '../report/words.ts';")],
    },
    [
      source('scripts/cli/a.ts', "import { describeCheck } from '../report/check-text.ts';"),
      source('scripts/report/a.ts', "import { describeFinding } from './cell-text.ts';"),
      source('scripts/commands/a.ts', "import { buildReport } from '../report/json.ts';"),
    ],
  );
});

describe('only exec/ starts processes and opens SSH, only cli/ draws lists', () => {
  rule(
    reservedImports,
    {
      child_process: [source('scripts/machines/a.ts', "import { spawn } from 'node:child_process';")],
      'child_process without its prefix': [source('scripts/cli/a.ts', "import cp from 'child_process';")],
      zx: [source('scripts/cluster/a.ts', "import { $ } from 'zx';")],
      'zx/core': [source('scripts/cluster/a.ts', "import { $ } from 'zx/core';")],
      'node-ssh as a type': [source('scripts/machines/a.ts', "import type { NodeSSH } from 'node-ssh';")],
      'ssh2 by require': [source('scripts/commands/a.ts', "const ssh2 = require('ssh2');")],
      listr2: [source('scripts/commands/a.ts', "import { Listr } from 'listr2';")],
    },
    [
      source('scripts/exec/a.ts', "import 'zx'; import 'ssh2';"),
      source('scripts/cli/a.ts', "import 'listr2';"),
    ],
  );
});

describe('only cli/ and the bins print', () => {
  rule(
    printing,
    {
      'console.log': [source('scripts/plan/a.ts', "console.log('x');")],
      'console handed on': [source('scripts/plan/a.ts', 'use(console);')],
      'process.exit': [source('scripts/commands/a.ts', 'process.exit(1);')],
      'process.exitCode': [source('scripts/commands/a.ts', 'process.exitCode = 1;')],
      'process.stdout': [source('scripts/report/a.ts', "process.stdout.write('x');")],
      'process.stderr': [source('scripts/exec/a.ts', 'log.pipe(process.stderr);')],
      'stdout taken out of process': [source('scripts/exec/a.ts', 'const { stdout } = process;')],
    },
    [
      source('scripts/cli/a.ts', 'process.stdout.write(console.name);'),
      source('scripts/lab.ts', 'process.exit(0);'),
      source(
        'scripts/exec/a.ts',
        'const { pid } = process; process.env; running.stdout.on(); // console.log',
      ),
    ],
  );
});

describe('nothing is silenced or left for later', () => {
  rule(escapes, {
    'as any': [source('scripts/plan/a.ts', 'const a = b as any;')],
    'a parameter of type any': [source('scripts/plan/a.ts', 'function a(b: any) {}')],
    'ts-ignore': [source('scripts/plan/a.ts', `// @ts-${'ignore'}\na();`)],
    'ts-expect-error': [source('scripts/plan/a.ts', `// @ts-${'expect-error'}\na();`)],
  });
  rule(leftForLater, {
    'to do': [source('scripts/plan/a.ts', `// TO${'DO'}: later`)],
    'fix me': [source('scripts/plan/a.ts', `/* FIX${'ME'} */`)],
  });
});

describe('nothing just sleeps', () => {
  rule(
    timers,
    {
      setTimeout: [source('scripts/machines/a.ts', 'await new Promise((done) => setTimeout(done, 1000));')],
      setInterval: [source('scripts/machines/a.ts', 'setInterval(look, 100);')],
      'timers/promises': [
        source('scripts/bgp/a.ts', "import { setTimeout as delay } from 'node:timers/promises';"),
      ],
    },
    [source('scripts/shared/wait.ts', "import { setTimeout as delay } from 'node:timers/promises';")],
  );

  it('names only places that set a timer', () => {
    const quiet = [...TIMER_PLACES.keys()].filter((path) => {
      const text = readFileSync(path, 'utf8');
      return !text.includes('setTimeout');
    });
    expect(quiet).toEqual([]);
  });
});

describe('files are small and say what they export', () => {
  const long = (lines: number) => 'x\n'.repeat(lines);
  rule(tooLong, { 'one line too many': [source('scripts/plan/a.ts', long(MAX_LINES + 1))] }, [
    source('scripts/plan/a.ts', long(MAX_LINES)),
  ]);
  rule(
    undocumented,
    {
      'a bare function': [source('scripts/plan/a.ts', 'export function a() {}')],
      'a bare async function': [source('scripts/plan/a.ts', 'export async function a() {}')],
      'a function with a plain comment': [source('scripts/plan/a.ts', '// why\nexport function a() {}')],
      'a constant that is a function': [source('scripts/plan/a.ts', 'export const a = () => 1;')],
      'a second one under a shared comment': [
        source('scripts/plan/a.ts', '/** Both. */\nexport const a = () => 1;\nexport const b = () => 2;'),
      ],
    },
    [
      source(
        'scripts/plan/a.ts',
        '/** What. */\nexport function a() {}\nfunction b() {}\nexport const c = 1;',
      ),
    ],
  );
  rule(
    barrels,
    {
      'a file that hands on': [source('scripts/plan/a.ts', "export { b } from './b.ts';")],
      'a file that hands on everything': [source('scripts/plan/a.ts', "export * from './b.ts';")],
      'an index': [source('scripts/plan/index.ts', 'export const a = 1;')],
    },
    [source('scripts/plan/a.ts', "import { b } from './b.ts';\nexport const a = b;\nexport { a as c };")],
  );

  it('holds for what runs in machines and containers', () => {
    const assets = ['probe', 'echo', 'bird', 'images'].flatMap((folder) => filesBelow(folder, '.py'));
    expect(assets.length).toBeGreaterThan(4);
    expect(tooLong(assets.map((path) => ({ path, text: readFileSync(path, 'utf8') })))).toEqual([]);
  });
});
