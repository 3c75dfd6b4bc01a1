import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate authority that signs for this host's loopback and is trusted by nobody who is not told to. */
export interface Certificates {
  /** Folder with ca.crt, server.crt and server.key. */
  readonly folder: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes one with openssl; throws where there is no openssl. */
export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const authority = ['-addext', 'basicConstraints=critical,CA:TRUE'];
  openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=test CA', ...authority);
  openssl('req', ...ec, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost');
  writeFileSync(join(folder, 'extensions'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'extensions'];
  openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.crt', ...by);
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  return { folder, ca: read('ca.crt'), cert: read('server.crt'), key: read('server.key') };
}

/** Those of the named programs that this host lacks. */
export function missingPrograms(...names: readonly string[]): readonly string[] {
  return names.filter(
    (name) => spawnSync('sh', ['-c', 'command -v "$1"', 'sh', name], { stdio: 'ignore' }).status !== 0,
  );
}
