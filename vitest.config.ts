import { defineConfig } from 'vitest/config';

/** One lab at a time on one machine, steps in the order written. */
const labs = (name: string) => ({
  test: {
    name,
    include: [`test/lab/**/*.${name}.ts`],
    globalSetup: 'test/temporary-folder.ts',
    fileParallelism: false,
    testTimeout: 15 * 60_000,
    hookTimeout: 30 * 60_000,
    bail: 1,
  },
});

export default defineConfig({
  test: {
    // Many tests wait for a process or a server, so that more of them than cores can run at once.
    maxWorkers: 4,
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          globalSetup: 'test/memory-folder.ts',
          // No test changes a module, so that files can share those that are loaded: a third less time on two cores.
          isolate: false,
          testTimeout: 20_000,
          hookTimeout: 20_000,
        },
      },
      labs('lab'),
      // Fresh Debian systems, labs on Multipass' stand-in, and labs that are killed: what takes long.
      labs('long'),
    ],
  },
});
