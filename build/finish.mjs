// Makes `npx labup` work, and start at once, in a clone: npm sets the executable bit and the links in node_modules/.bin
// only for packages that it installs; without the links npx would copy the clone into its cache at the first call.
import { chmodSync, existsSync, rmSync, symlinkSync } from 'node:fs';

for (const bin of ['lab', 'labup', 'labtest', 'labdown']) {
  chmodSync(`dist/scripts/${bin}.js`, 0o755);
  if (!existsSync('node_modules/.bin')) continue;
  rmSync(`node_modules/.bin/${bin}`, { force: true });
  symlinkSync(`../../dist/scripts/${bin}.js`, `node_modules/.bin/${bin}`);
}
