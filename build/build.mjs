// Compiles the commands to dist/, their modules and what they load put together into few files: loading hundreds of small
// ones took half of the time of a short command. Types are checked by `npm run lint`, not here.
// Makes `npx labup` work, and start at once, in a clone: npm sets the executable bit and the links in node_modules/.bin
// only for packages that it installs; without the links npx would copy the clone into its cache at the first call.
import { chmodSync, existsSync, rmSync, symlinkSync } from 'node:fs';
import { build } from 'rolldown';

const bins = ['lab', 'labup', 'labtest', 'labdown'];

const compile = (names, folder, groups) =>
  build({
    input: Object.fromEntries(names.map((name) => [name, `${folder}/${name}.ts`])),
    platform: 'node',
    // Loaded by few commands; ssh2 looks for its compiled part beside its own files.
    external: ['fzstd', 'junit-report-builder', 'listr2', 'node-ssh', 'ssh2', 'tar', 'undici'],
    output: {
      dir: 'dist/scripts',
      sourcemap: true,
      chunkFileNames: '[name].js',
      codeSplitting: { groups },
    },
  });
await compile(bins, 'scripts', [
  // What every command loads at once; then what many of those files share that only some load, else each combination of
  // them would get a file of its own.
  { name: 'base', tags: ['$initial'], minShareCount: bins.length, priority: 1 },
  { name: 'common', minShareCount: 6 },
]);
// For build/schema.mjs.
await compile(['schema'], 'scripts/spec', []);

for (const bin of bins) {
  chmodSync(`dist/scripts/${bin}.js`, 0o755);
  if (!existsSync('node_modules/.bin')) continue;
  rmSync(`node_modules/.bin/${bin}`, { force: true });
  symlinkSync(`../../dist/scripts/${bin}.js`, `node_modules/.bin/${bin}`);
}
