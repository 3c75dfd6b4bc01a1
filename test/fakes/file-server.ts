import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import type { Certificates } from './certificates.ts';

/** What the server was asked for. */
export interface Asked {
  readonly path: string;
  readonly range: string | undefined;
}

/** Answers one request. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTPS server of files on loopback whose every path misbehaves as a test says. */
export interface FileServer {
  readonly url: (path: string) => string;
  readonly asked: readonly Asked[];
  /** Serves content, and ranges of it. */
  file(path: string, content: Buffer | string, options?: { ranges?: boolean }): void;
  /** Answers as the test likes; `times` first requests only, then what was there before. */
  answer(path: string, handler: Handler, times?: number): void;
  close(): Promise<void>;
}

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

export async function startFileServer({ cert, key }: Certificates): Promise<FileServer> {
  const handlers = new Map<string, Handler>();
  const asked: Asked[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    const path = request.url ?? '';
    asked.push({ path, range: request.headers.range });
    const handler = handlers.get(path);
    if (handler !== undefined) handler(request, response);
    else response.writeHead(404).end('not here\n');
  });
  const port = await listen(server);
  return {
    url: (path) => `https://localhost:${port}${path}`,
    asked,
    file: (path, content, options) => void handlers.set(path, serve(Buffer.from(content), options)),
    answer(path, handler, times = Number.POSITIVE_INFINITY) {
      const before = handlers.get(path);
      let left = times;
      handlers.set(path, (request, response) => {
        left -= 1;
        if (left >= 0) handler(request, response);
        else if (before !== undefined) before(request, response);
        else response.writeHead(404).end();
      });
    },
    close: () => close(server),
  };
}

function serve(content: Buffer, { ranges = true }: { ranges?: boolean } = {}): Handler {
  return (request, response) => {
    const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    if (ranges && from !== undefined) {
      const rest = content.subarray(Number(from));
      const headers = { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` };
      response.writeHead(206, { ...headers, 'content-length': rest.length }).end(rest);
    } else {
      response.writeHead(200, { 'content-length': content.length }).end(content);
    }
  };
}

/** A proxy that only knows CONNECT, as HTTPS_PROXY names one; it notes where it was asked to connect to. */
export async function startProxy(): Promise<{
  readonly url: string;
  readonly asked: string[];
  close(): Promise<void>;
}> {
  const asked: string[] = [];
  const server = createTcpServer((client: Socket) => {
    client.on('error', () => client.destroy());
    client.once('data', (head) => {
      const [, host, port] = /^CONNECT ([^:\s]+):(\d+) /.exec(head.toString()) ?? [];
      asked.push(`${host}:${port}`);
      const target = connect(Number(port), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        client.pipe(target).pipe(client);
      });
      target.on('error', () => client.destroy());
    });
  });
  const port = await listen(server);
  return { url: `http://127.0.0.1:${port}`, asked, close: () => close(server) };
}

function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function close(server: Server | ReturnType<typeof createTcpServer>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
}
