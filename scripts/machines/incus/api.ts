import { randomUUID } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { request } from 'node:http';
import { basename, join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LabFailure } from '../../shared/errors.ts';
import { RUN_DIR } from '../../shared/labels.ts';

/**
 * The REST API that Incus and LXD share, over the daemon's unix socket. The command line tools are thin clients of it;
 * spoken directly, instance configuration (which holds SSH host keys) is never in an argv.
 * https://linuxcontainers.org/incus/docs/main/rest-api/
 */
export interface IncusApi {
  /** GET; undefined where there is no such object (404). */
  get<T>(path: string): Promise<T | undefined>;
  post(path: string, body: unknown): Promise<void>;
  put(path: string, body: unknown): Promise<void>;
  /** DELETE; an object that is already gone is no error. */
  remove(path: string): Promise<void>;
  /** POST of a split image: its metadata tarball and its root file system. */
  postImage(path: string, metadataFile: string, rootfsFile: string): Promise<void>;
}

interface Envelope {
  readonly type: 'sync' | 'async' | 'error';
  readonly error?: string;
  readonly error_code?: number;
  readonly metadata?: unknown;
  readonly operation?: string;
}

/** An answer of the daemon that is an error. */
export class IncusError extends LabFailure {
  readonly code: number;

  constructor(method: string, path: string, code: number, message: string) {
    super(`The container daemon refused ${method} ${path}: ${message}`, {
      details: [`status ${code}`],
      next: lookAtDaemon(),
    });
    this.code = code;
  }
}

/** The file that the output of a daemon that labup started goes to. */
export const DAEMON_LOG = 'daemon.log';

// What it needs of the host is a check of lab doctor; why it refused something is in its log.
function lookAtDaemon(): string {
  const log = join(RUN_DIR, DAEMON_LOG);
  const units = '--unit incus --unit lxd --unit snap.lxd.daemon';
  return `npx lab doctor && ${existsSync(log) ? `tail ${log}` : `journalctl --lines 20 ${units}`}`;
}

const OPERATION_TIMEOUT_S = 300;
/** For one answer: longer than any operation that it may wait for. In milliseconds. */
const ANSWER_TIMEOUT_MS = (OPERATION_TIMEOUT_S + 30) * 1000;

/**
 * An API client on a daemon's unix socket. Every asynchronous operation is waited for; its error is thrown. A daemon
 * that is gone, or silent for `timeoutMs`, is a LabFailure.
 */
export function incusApi(socketPath: string, timeoutMs = ANSWER_TIMEOUT_MS): IncusApi {
  const send = (method: string, path: string, body: Body) =>
    sendTo(socketPath, method, path, body, timeoutMs);
  const settle = async (method: string, path: string, answer: Envelope): Promise<unknown> => {
    if (answer.type === 'error') {
      throw new IncusError(method, path, answer.error_code ?? 0, answer.error ?? 'unknown error');
    }
    if (answer.type === 'sync') return answer.metadata;
    const wait = `${answer.operation ?? ''}/wait?timeout=${OPERATION_TIMEOUT_S}`;
    const operation = await send('GET', wait, noBody);
    const outcome = operation.metadata as { status_code?: number; err?: string; status?: string } | undefined;
    if (operation.type === 'error' || outcome?.status_code !== 200) {
      const why = operation.error || outcome?.err || `operation is ${outcome?.status ?? 'lost'}`;
      throw new IncusError(method, path, outcome?.status_code ?? operation.error_code ?? 0, why);
    }
    return outcome;
  };
  const call = async (method: string, path: string, body?: unknown) =>
    settle(method, path, await send(method, path, body === undefined ? noBody : jsonBody(body)));
  return {
    async get<T>(path: string) {
      return (await call('GET', path).catch(notFoundIs(undefined))) as T | undefined;
    },
    async post(path, body) {
      await call('POST', path, body);
    },
    async put(path, body) {
      await call('PUT', path, body);
    },
    async remove(path) {
      await call('DELETE', path).catch(notFoundIs(undefined));
    },
    async postImage(path, metadataFile, rootfsFile) {
      const body = await multipartBody([
        { name: 'metadata', file: metadataFile },
        { name: 'rootfs', file: rootfsFile },
      ]);
      await settle('POST', path, await send('POST', path, body));
    },
  };
}

function notFoundIs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof IncusError && error.code === 404) return value;
    throw error;
  };
}

interface Body {
  readonly headers: Readonly<Record<string, string | number>>;
  readonly write: (to: Writable) => Promise<void>;
}

const noBody: Body = {
  headers: {},
  write: async (to) => {
    to.end();
  },
};

function jsonBody(value: unknown): Body {
  const text = JSON.stringify(value);
  return {
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    write: async (to) => {
      to.end(text);
    },
  };
}

/** Files as multipart/form-data, streamed: an image does not fit in memory comfortably. */
async function multipartBody(
  parts: readonly { readonly name: string; readonly file: string }[],
): Promise<Body> {
  const boundary = `lab-${randomUUID()}`;
  const heads = parts.map(
    ({ name, file }) =>
      `--${boundary}\r\ncontent-disposition: form-data; name="${name}"; filename="${basename(file)}"\r\n` +
      'content-type: application/octet-stream\r\n\r\n',
  );
  const end = `--${boundary}--\r\n`;
  const sizes = await Promise.all(parts.map(async ({ file }) => (await stat(file)).size));
  const length =
    sizes.reduce((sum, size) => sum + size + 2, 0) +
    heads.reduce((sum, head) => sum + head.length, end.length);
  async function* content(): AsyncGenerator<Buffer | string> {
    for (const [index, { file }] of parts.entries()) {
      yield heads[index] ?? '';
      yield* createReadStream(file, { highWaterMark: 1 << 20 });
      yield '\r\n';
    }
    yield end;
  }
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': length },
    write: (to) => pipeline(content(), to),
  };
}

function sendTo(
  socketPath: string,
  method: string,
  path: string,
  body: Body,
  timeoutMs: number,
): Promise<Envelope> {
  return new Promise((resolve, reject) => {
    const lost = (cause: Error) =>
      reject(
        new LabFailure(`The container daemon did not answer ${method} ${path}: ${cause.message}`, {
          details: [`socket: ${socketPath}`],
          next: lookAtDaemon(),
          cause,
        }),
      );
    const outgoing = request({ socketPath, method, path, headers: body.headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', lost);
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        try {
          resolve(JSON.parse(text) as Envelope);
        } catch (cause) {
          const details = [text.slice(0, 200)];
          reject(
            new LabFailure(`The container daemon answered ${method} ${path} with no JSON.`, {
              details,
              next: lookAtDaemon(),
              cause,
            }),
          );
        }
      });
    });
    outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`silent for ${timeoutMs / 1000} s`)));
    outgoing.on('error', lost);
    body.write(outgoing).catch(lost);
  });
}
