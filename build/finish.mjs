// tsc writes files without the executable bit; npm sets it only for installed packages, not for a clone.
import { chmodSync } from 'node:fs';

for (const bin of ['lab', 'labup', 'labtest', 'labdown']) chmodSync(`dist/scripts/${bin}.js`, 0o755);
