import { mkdtempSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IncusError, incusApi } from '../../scripts/machines/incus/api.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import { imageOf } from './fixtures.ts';

let socket: string;
let server: Server;
let answer: (response: ServerResponse, path: string, body: string) => void;

beforeEach(async () => {
  socket = join(mkdtempSync(join(tmpdir(), 'api-')), 'unix.socket');
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    answer(response, request.url ?? '', body);
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** Answers every request with the same document. */
function always(document: unknown): void {
  answer = (response) => response.end(JSON.stringify(document));
}

/** Starts an operation, which ends as given. */
function operation(metadata: unknown): void {
  answer = (response, path) =>
    response.end(
      JSON.stringify(
        path.includes('/wait')
          ? { type: 'sync', metadata }
          : { type: 'async', operation: '/1.0/operations/1', metadata: {} },
      ),
    );
}

describe('an answer', () => {
  it('is its metadata', async () => {
    always({ type: 'sync', metadata: { a: 1 } });
    expect(await incusApi(socket).get('/1.0')).toEqual({ a: 1 });
  });

  it('that there is no such object is undefined for get, and fine for remove', async () => {
    always({ type: 'error', error: 'Instance not found', error_code: 404 });
    expect(await incusApi(socket).get('/1.0/instances/x')).toBeUndefined();
    await incusApi(socket).remove('/1.0/instances/x');
    await expect(incusApi(socket).put('/1.0/instances/x', {})).rejects.toMatchObject({ code: 404 });
  });

  it('that is an error is thrown with what was asked', async () => {
    always({ type: 'error', error: 'The network is currently in use', error_code: 400 });
    const error = await incusApi(socket)
      .remove('/1.0/networks/labbr0')
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(IncusError);
    expect(String(error)).toContain(
      'The container daemon refused DELETE /1.0/networks/labbr0: The network is currently in use',
    );
    expect(error).toMatchObject({ next: expect.stringMatching(/^npx lab doctor && (tail|journalctl) /) });
  });

  it('that is no JSON is told as it came', async () => {
    answer = (response) => response.end('<html>Bad Gateway');
    await expect(incusApi(socket).get('/1.0')).rejects.toMatchObject({
      details: ['<html>Bad Gateway'],
      next: expect.stringContaining('npx lab doctor'),
    });
  });
});

describe('an operation', () => {
  it('is waited for', async () => {
    operation({ status: 'Success', status_code: 200, err: '' });
    await incusApi(socket).post('/1.0/instances', { name: 'bgp' });
  });

  it.each([
    [
      'failed',
      { status: 'Failure', status_code: 400, err: 'Failed creating instance' },
      'Failed creating instance',
    ],
    ['cancelled', { status: 'Cancelled', status_code: 401, err: '' }, 'Cancelled'],
    ['still running when the wait is over', { status: 'Running', status_code: 103 }, 'operation is Running'],
    ['without any state', undefined, 'operation is lost'],
  ])('that has %s is an error', async (_, metadata, text) => {
    operation(metadata);
    await expect(incusApi(socket).post('/1.0/instances', {})).rejects.toThrow(text);
  });
});

describe('a daemon', () => {
  it('that is gone is a failure of the lab and not a bug', async () => {
    const gone = incusApi(join(tmpdir(), 'no-such.socket'));
    const error = await gone.get('/1.0').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LabFailure);
    expect(String(error)).toContain('The container daemon did not answer GET /1.0');
    expect(error).toMatchObject({ next: expect.stringContaining('npx lab doctor') });
  });

  it('that dies in the middle is one, too', async () => {
    answer = (response) => {
      response.write('{"type":');
      setImmediate(() => response.destroy());
    };
    await expect(incusApi(socket).get('/1.0')).rejects.toBeInstanceOf(LabFailure);
  });

  it('that is silent is not waited for without end', async () => {
    answer = () => {};
    await expect(incusApi(socket, 100).get('/1.0')).rejects.toThrow('silent for 0.1 s');
  });
});

describe('an image', () => {
  it('is sent as two files, byte for byte', async () => {
    let sent = '';
    answer = (response, _path, body) => {
      sent = body;
      response.end(JSON.stringify({ type: 'sync' }));
    };
    const { metadataFile, rootfsFile } = imageOf();
    await incusApi(socket).postImage('/1.0/images', metadataFile, rootfsFile);
    expect(sent).toMatch(
      /name="metadata"; filename="metadata.tar"[\s\S]+name="rootfs"; filename="rootfs.squashfs"/,
    );
  });

  it('that cannot be read is a failure before anything is sent', async () => {
    always({ type: 'sync' });
    const { metadataFile } = imageOf();
    await expect(incusApi(socket).postImage('/1.0/images', metadataFile, '/no/such/file')).rejects.toThrow(
      'ENOENT',
    );
  });
});
