// Starts the double. Node 20 cannot run TypeScript, so the sources are compiled, once for each state of them, into a
// folder of dist/doubles named after that state. Types are checked by `npm run lint`, not here.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DAY_MS = 24 * 60 * 60 * 1000;
const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const compiled = join(root, 'dist/doubles');

function stateOfSources() {
  const hash = createHash('sha256');
  for (const folder of ['test/doubles/multipass.d', 'scripts']) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).sort()) {
      if (!name.endsWith('.ts')) continue;
      const { mtimeMs, size } = statSync(join(root, folder, name));
      hash.update(`${folder}/${name} ${mtimeMs} ${size}\n`);
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** Compiles beside the place and moves it there: another call may be doing the same, or be running. */
function compile(folder) {
  mkdirSync(compiled, { recursive: true });
  const fresh = mkdtempSync(join(compiled, 'new-'));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const argv = [tsc, '-p', join(root, 'tsconfig.doubles.json'), '--outDir', fresh];
  const { status, stdout, error } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (status !== 0) {
    rmSync(fresh, { recursive: true });
    process.stderr.write(
      `The multipass test double could not be compiled (npm ci first):\n${stdout || error}\n`,
    );
    process.exit(70);
  }
  try {
    renameSync(fresh, folder);
  } catch (cause) {
    if (!existsSync(folder)) throw cause;
    rmSync(fresh, { recursive: true });
  }
  for (const name of readdirSync(compiled)) {
    const old = join(compiled, name);
    if (Date.now() - statSync(old).mtimeMs > DAY_MS) rmSync(old, { recursive: true, force: true });
  }
}

const folder = join(compiled, stateOfSources());
if (!existsSync(folder)) compile(folder);
const { start } = await import(join(folder, 'test/doubles/multipass.d/main.js'));
await start(process.argv.slice(2), fileURLToPath(import.meta.url));
