// Compiles the commands to dist/, their modules and what they load put together into few files: loading hundreds of small
// ones took half of the time of a short command. Types are checked by `npm run lint`, not here.
// Makes `npx labup` work, and start at once, in a clone: npm sets the executable bit and the links in node_modules/.bin
// only for packages that it installs; without the links npx would copy the clone into its cache at the first call.
import { chmodSync, existsSync, rmSync, symlinkSync } from 'node:fs';
import { build } from 'rolldown';

const bins = ['lab', 'labup', 'labtest', 'labdown'];

await build({
  input: {
    ...Object.fromEntries(bins.map((bin) => [bin, `scripts/${bin}.ts`])),
    // For build/schema.mjs.
    schema: 'scripts/spec/schema.ts',
  },
  platform: 'node',
  // Loaded by few commands; ssh2 looks for its compiled part beside its own files.
  external: ['fzstd', 'junit-report-builder', 'listr2', 'node-ssh', 'ssh2', 'tar', 'undici'],
  output: { dir: 'dist/scripts', sourcemap: true, chunkFileNames: '[name].js' },
});

for (const bin of bins) {
  chmodSync(`dist/scripts/${bin}.js`, 0o755);
  if (!existsSync('node_modules/.bin')) continue;
  rmSync(`node_modules/.bin/${bin}`, { force: true });
  symlinkSync(`../../dist/scripts/${bin}.js`, `node_modules/.bin/${bin}`);
}
