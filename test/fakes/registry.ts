import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { waitFor } from '../../scripts/shared/wait.ts';
import type { Certificates } from './certificates.ts';

/** Debian's docker-registry on loopback, with TLS, and a folder of its own that ends with the test run. */
export interface Registry {
  /** "localhost:PORT". */
  readonly host: string;
  /** What skopeo gets as --src-cert-dir, to trust it. */
  readonly certificates: string;
  /** Pushes an image for these architectures under NAME:TAG; `text` makes its content. Returns the tag's digest. */
  push(name: string, tag: string, text: string, architectures: readonly string[]): string;
  stop(): Promise<void>;
}

export async function startRegistry(certificates: Certificates): Promise<Registry> {
  const folder = mkdtempSync(join(tmpdir(), 'registry-'));
  const port = await freePort();
  const host = `localhost:${port}`;
  const trusted = join(folder, 'certificates');
  mkdirSync(trusted);
  copyFileSync(join(certificates.folder, 'ca.crt'), join(trusted, 'ca.crt'));
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
    http: {
      addr: `127.0.0.1:${port}`,
      tls: {
        certificate: join(certificates.folder, 'server.crt'),
        key: join(certificates.folder, 'server.key'),
      },
    },
  };
  // JSON is YAML.
  writeFileSync(join(folder, 'config.yml'), JSON.stringify(config));
  const running = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => running.once('exit', () => resolve()));
  await waitFor({
    what: 'the registry to answer',
    timeoutMs: 15_000,
    pollMs: 50,
    look: async () => {
      execFileSync('openssl', ['s_client', '-connect', `127.0.0.1:${port}`], { input: '', stdio: 'pipe' });
      return { done: true, value: undefined };
    },
  });
  return {
    host,
    certificates: trusted,
    push(name, tag, text, architectures) {
      const layout = mkdtempSync(join(folder, 'layout-'));
      const digest = writeLayout(layout, text, architectures);
      const to = ['--dest-cert-dir', trusted, `docker://${host}/${name}:${tag}`];
      execFileSync(
        'skopeo',
        ['copy', '--quiet', '--all', '--preserve-digests', `oci:${layout}:image`, ...to],
        { stdio: 'pipe' },
      );
      return digest;
    },
    async stop() {
      running.kill('SIGKILL');
      await ended;
    },
  };
}

/** An OCI image layout: one layer with one file; an index where there are several architectures. Returns its digest. */
function writeLayout(folder: string, text: string, architectures: readonly string[]): string {
  const blobs = join(folder, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const blob = (content: Buffer) => {
    const hex = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(blobs, hex), content);
    return { digest: `sha256:${hex}`, size: content.length };
  };
  const json = (value: unknown) => blob(Buffer.from(JSON.stringify(value)));
  const type = (kind: string) => `application/vnd.oci.image.${kind}`;
  const manifests = architectures.map((architecture) => {
    writeFileSync(join(folder, 'text'), `${text} for ${architecture}\n`);
    const tar = execFileSync('tar', ['--mtime=@0', '-C', folder, '-cf', '-', 'text']);
    const layer = blob(gzipSync(tar));
    const config = json({
      architecture,
      os: 'linux',
      config: { Cmd: ['/text'] },
      rootfs: { type: 'layers', diff_ids: [blob(tar).digest] },
      history: [{ created_by: 'a test' }],
    });
    const manifest = json({
      schemaVersion: 2,
      mediaType: type('manifest.v1+json'),
      config: { mediaType: type('config.v1+json'), ...config },
      layers: [{ mediaType: type('layer.v1.tar+gzip'), ...layer }],
    });
    return { mediaType: type('manifest.v1+json'), ...manifest, platform: { architecture, os: 'linux' } };
  });
  const list = { schemaVersion: 2, mediaType: type('index.v1+json'), manifests };
  const [only] = manifests;
  const top =
    manifests.length === 1 && only !== undefined ? only : { mediaType: type('index.v1+json'), ...json(list) };
  const named = { ...top, annotations: { 'org.opencontainers.image.ref.name': 'image' } };
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return top.digest;
}

/** The files of a tar archive, by name. */
export function untar(file: string): Readonly<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'untar-'));
  const names = execFileSync('tar', ['-xvf', file, '-C', folder], { encoding: 'utf8' }).trim().split('\n');
  const files = names.filter((name) => !name.endsWith('/'));
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(folder, name), 'latin1')]));
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
