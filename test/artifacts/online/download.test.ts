import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Download,
  type DownloadOptions,
  downloadAll,
} from '../../../scripts/artifacts/online/download.ts';
import type { LabError } from '../../../scripts/shared/errors.ts';
import type { LabEvent } from '../../../scripts/shared/events.ts';
import { type Certificates, makeCertificates, missingPrograms } from '../../fakes/certificates.ts';
import {
  type FileServer,
  type Handler,
  sha256,
  startFileServer,
  startProxy,
} from '../../fakes/file-server.ts';

const CONTENT = Buffer.alloc(300_000, 'the content of a release, ');
const SUM = sha256(CONTENT);

describe.skipIf(missingPrograms('openssl').length > 0)('download (needs openssl)', () => {
  let certificates: Certificates;
  let server: FileServer;
  let cache: string;
  let events: LabEvent[];

  beforeAll(() => {
    certificates = makeCertificates();
  });
  beforeEach(async () => {
    server = await startFileServer(certificates);
    cache = mkdtempSync(join(tmpdir(), 'downloads-'));
    events = [];
    return () => server.close();
  });

  const get = (downloads: readonly Download[], more: Partial<DownloadOptions> = {}) =>
    downloadAll(downloads, {
      cache,
      emit: (event) => events.push(event),
      ca: certificates.ca,
      env: {},
      backoffMs: 1,
      stallMs: 5000,
      ...more,
    });
  const one = (more: Partial<Download> = {}): Download => ({
    url: server.url('/tool'),
    name: 'tool',
    version: 'v1.2.3',
    sha256: SUM,
    ...more,
  });
  const failure = async (work: Promise<unknown>): Promise<LabError> => {
    const error = await work.then(
      () => undefined,
      (thrown: LabError) => thrown,
    );
    if (error === undefined) throw new Error('it did not fail');
    return error;
  };
  const said = (error: LabError) => [error.message, ...error.details, error.next].join('\n');
  /** Sends the beginning of a file, and breaks off when it has arrived on the client's disk. */
  const breakAfter = (content: Buffer | string, announced: number): Handler => {
    return (_request, response) => {
      response.writeHead(200, { 'content-length': announced });
      response.write(content);
      const bytes = Buffer.byteLength(content);
      const look = setInterval(() => {
        const part = inCache().find((name) => /^\.part-\w+-\w+$/.test(name));
        // The client removes what it cannot continue, at any moment.
        const seen = statSync(join(cache, 'downloads', part ?? ''), { throwIfNoEntry: false });
        if (part === undefined || seen === undefined || seen.size < bytes) return;
        clearInterval(look);
        response.destroy();
      }, 5);
      response.on('close', () => clearInterval(look));
    };
  };
  /** By their sums: comparing 300,000 elements takes a second. */
  const expectContent = (file: { readonly path: string } | undefined) =>
    expect(sha256(readFileSync(file?.path ?? ''))).toBe(SUM);
  const inCache = () => readdirSync(join(cache, 'downloads')).filter((name) => name !== 'recorded');

  it('puts files into the cache under their sums, and downloads nothing the second time', async () => {
    server.file('/tool', CONTENT);
    server.file('/list', 'hello');
    const wanted = [
      one({ executable: true }),
      one({ url: server.url('/list'), name: 'list', sha256: sha256('hello') }),
    ];
    const first = await get(wanted);
    expect(first.map(({ fresh }) => fresh)).toEqual([true, true]);
    expect(first[0]?.path).toBe(join(cache, 'downloads', `${SUM}-tool`));
    expectContent(first[0]);
    expect(statSync(first[0]?.path ?? '').mode & 0o777).toBe(0o755);
    expect(inCache().sort()).toEqual([`${SUM}-tool`, `${sha256('hello')}-list`].sort());
    const asked = server.asked.length;
    const second = await get(wanted);
    expect(second.map(({ fresh, path }) => ({ fresh, path }))).toEqual(
      first.map(({ path }) => ({ fresh: false, path })),
    );
    expect(server.asked.length).toBe(asked);
  });

  it('says how far it is', async () => {
    server.file('/tool', CONTENT);
    await get([one()]);
    const last = events.findLast(({ type }) => type === 'progress');
    expect(last).toMatchObject({ done: CONTENT.length, total: CONTENT.length });
    expect(events).toContainEqual({ type: 'note', text: 'tool is whole (1 of 1)' });
  });

  it('fetches at most four at a time', async () => {
    let open: ServerResponse[] = [];
    let left = 9;
    let most = 0;
    const wanted = Array.from({ length: left }, (_, index) => {
      server.answer(`/f${index}`, (_request, response) => {
        open.push(response);
        most = Math.max(most, open.length);
        // All that may come at once are here: whoever comes in the next moment is one too many.
        if (open.length !== Math.min(4, left)) return;
        setTimeout(() => {
          left -= open.length;
          for (const each of open) each.end(CONTENT);
          open = [];
        }, 50);
      });
      return one({ url: server.url(`/f${index}`), name: `f${index}` });
    });
    await get(wanted);
    expect(most).toBe(4);
  });

  it('fetches a file of the cache again that was changed', async () => {
    server.file('/tool', CONTENT);
    const [first] = await get([one()]);
    const changed = Buffer.from(CONTENT);
    changed.write('THE');
    writeFileSync(first?.path ?? '', changed);
    expect((await get([one()]))[0]?.fresh).toBe(true);
    expectContent(first);
  });

  describe('a wrong sum', () => {
    it('is an error with both sums and the URL, and the file is gone', async () => {
      server.file('/tool', 'something else');
      const error = await failure(get([one()]));
      expect(error.exitCode).toBe(2);
      expect(said(error)).toContain('tool v1.2.3 is not the file that it should be; it was removed.');
      for (const part of [SUM, sha256('something else'), server.url('/tool'), 'versions.yaml'])
        expect(said(error)).toContain(part);
      expect(inCache()).toEqual([]);
      expect(server.asked).toHaveLength(1);
    });

    it('after two pieces means that the file is fetched anew from its beginning', async () => {
      server.file('/tool', CONTENT);
      server.answer('/tool', breakAfter('damaged', CONTENT.length), 1);
      const [file] = await get([one()]);
      expectContent(file);
      expect(server.asked.map(({ range }) => range)).toEqual([undefined, 'bytes=7-', undefined]);
    });
  });

  describe("the publisher's checksums", () => {
    const published = () =>
      one({ sha256: undefined, checksums: { url: server.url('/sums'), name: 'tool-amd64' } });

    it('are compared, and recorded', async () => {
      server.file('/tool', CONTENT);
      server.file('/sums', `${'0'.repeat(64)}  other\n${SUM}  tool-amd64\n`);
      const [file] = await get([published()]);
      expect(file?.sha256).toBe(SUM);
      server.file('/tool', 'changed');
      server.file('/sums', `${sha256('changed')}  tool-amd64\n`);
      expect((await get([published()]))[0]).toMatchObject({ fresh: false, sha256: SUM });
    });

    it('are an error where the publisher changes them later', async () => {
      server.file('/tool', CONTENT);
      server.file('/sums', `${SUM}  tool-amd64\n`);
      const [file] = await get([published()]);
      rmSync(file?.path ?? '');
      server.file('/tool', 'changed');
      server.file('/sums', `${sha256('changed')}  tool-amd64\n`);
      const error = await failure(get([published()]));
      expect(error.message).toContain(
        'The publisher of tool v1.2.3 has changed it since it was first used here.',
      );
      expect(said(error)).toContain(SUM);
      expect(said(error)).toContain(sha256('changed'));
    });

    it('are an error where the file is another', async () => {
      server.file('/tool', 'something else');
      server.file('/sums', `${SUM}  tool-amd64\n`);
      expect(said(await failure(get([published()])))).toContain(`${SUM} (the list of its publisher)`);
    });

    it('are an error where they do not name the file', async () => {
      server.file('/tool', CONTENT);
      server.file('/sums', `${SUM}  tool-arm64\n`);
      const error = await failure(get([published()]));
      expect(error.message).toBe("The publisher's checksums do not name tool v1.2.3.");
    });
  });

  describe('a broken connection', () => {
    it('is continued where it broke off', async () => {
      server.file('/tool', CONTENT);
      server.answer('/tool', breakAfter(CONTENT.subarray(0, 100_000), CONTENT.length), 1);
      const [file] = await get([one()]);
      expectContent(file);
      expect(server.asked.map(({ range }) => range)).toEqual([undefined, 'bytes=100000-']);
    });

    it('ends after three tries, and what has come is kept for the next run', async () => {
      server.answer('/tool', (_request, response) => void response.writeHead(503).end());
      server.answer('/tool', breakAfter(CONTENT.subarray(0, 100_000), CONTENT.length), 1);
      const error = await failure(get([one()]));
      expect(server.asked).toHaveLength(3);
      expect(said(error)).toContain('3 times');
      expect(said(error)).toContain('Run labup again: what was downloaded is kept');
      expect(inCache().some((name) => name.startsWith('.part-'))).toBe(true);
      server.file('/tool', CONTENT);
      const [file] = await get([one()]);
      expectContent(file);
      expect(server.asked[3]?.range).toBe('bytes=100000-');
      expect(inCache()).toEqual([`${SUM}-tool`]);
    });

    it('starts anew where the server has no ranges', async () => {
      server.file('/tool', CONTENT, { ranges: false });
      server.answer('/tool', breakAfter(CONTENT.subarray(0, 100_000), CONTENT.length), 1);
      const [file] = await get([one()]);
      expectContent(file);
    });

    it('starts anew where the server has another file by now', async () => {
      server.file('/tool', CONTENT);
      server.answer('/tool', breakAfter('an older build', CONTENT.length), 1);
      const [file] = await get([one()]);
      expectContent(file);
    });

    it('starts anew where the server refuses the range', async () => {
      server.file('/tool', CONTENT);
      server.answer('/tool', (_request, response) => response.writeHead(416).end(), 1);
      server.answer('/tool', breakAfter('some', CONTENT.length), 1);
      const [file] = await get([one()]);
      expectContent(file);
      expect(server.asked).toHaveLength(3);
    });
  });

  it('says when a server stops sending', async () => {
    server.answer('/tool', (_request, response) => {
      response.writeHead(200, { 'content-length': CONTENT.length });
      response.write('a few bytes');
    });
    const error = await failure(get([one()], { stallMs: 300 }));
    expect(said(error)).toMatch(/localhost:\d+ stopped sending, 3 times/);
  });

  it('says that a version does not exist, once', async () => {
    const error = await failure(get([one()]));
    expect(error.message).toBe('tool v1.2.3 does not exist at its publisher.');
    expect(said(error)).toContain(server.url('/tool'));
    expect(said(error)).toContain('versions.yaml');
    expect(server.asked).toHaveLength(1);
  });

  it('tries three times what may be better the next time', async () => {
    server.file('/tool', CONTENT);
    server.answer('/tool', (_request, response) => response.writeHead(503).end(), 2);
    expect((await get([one()]))[0]?.fresh).toBe(true);
    server.answer('/other', (_request, response) => response.writeHead(503).end());
    expect(said(await failure(get([one({ url: server.url('/other'), name: 'other' })])))).toContain(
      'status 503, 3 times',
    );
  });

  it('follows redirects to https only', async () => {
    server.file('/tool', CONTENT);
    const to = (location: string) => (_request: unknown, response: ServerResponse) =>
      void response.writeHead(302, { location }).end();
    server.answer('/moved', to('/tool'));
    expect((await get([one({ url: server.url('/moved') })]))[0]?.sha256).toBe(SUM);
    server.answer('/plain', to('http://localhost:1/tool'));
    const plain = await failure(get([one({ url: server.url('/plain'), sha256: sha256('x') })]));
    expect(said(plain)).toContain('redirects to http://localhost:1/tool, which is not https');
    server.answer('/round', to('/round'));
    const steps = ['/1', '/2', '/3', '/4', '/5', '/6'];
    for (const [index, step] of steps.entries()) server.answer(step, to(steps[index + 1] ?? '/tool'));
    const far = await failure(get([one({ url: server.url('/1'), sha256: sha256('x') })]));
    expect(said(far)).toContain('redirects too often');
    const round = await failure(get([one({ url: server.url('/round'), sha256: sha256('x') })]));
    expect(said(round)).toContain('the server redirects to itself');
  });

  it('trusts nobody who cannot prove who they are', async () => {
    server.file('/tool', CONTENT);
    const error = await failure(get([one()], { ca: undefined }));
    expect(said(error)).toContain('did not prove who it is');
    expect(said(error)).toContain('NODE_EXTRA_CA_CERTS');
    expect(server.asked).toEqual([]);
  });

  it('says what to do without the internet', async () => {
    // Nothing listens there; a name under .invalid cannot exist (RFC 2606), and a resolver that is absent says so too.
    const refused = await failure(get([one({ url: 'https://127.0.0.1:1/tool' })]));
    expect(said(refused)).toContain('127.0.0.1:1 cannot be connected to (ECONNREFUSED), 3 times');
    expect(said(refused)).toContain('labup --artifacts debian');
    const unknown = await failure(get([one({ url: 'https://nowhere.invalid/tool' })]));
    expect(said(unknown)).toContain('the name nowhere.invalid could not be looked up');
    expect(said(unknown)).toContain('labup --artifacts DIR');
  });

  it('accepts no file that is larger than anything it knows', async () => {
    server.file('/tool', CONTENT);
    expect(said(await failure(get([one()], { maxBytes: 1000 })))).toContain('at most 1000 are accepted');
    server.answer('/endless', (_request, response) => {
      // Without a length, as whoever never ends does.
      response.write(CONTENT);
      response.write(CONTENT);
    });
    const endless = await failure(get([one({ url: server.url('/endless') })], { maxBytes: 1000 }));
    expect(said(endless)).toContain('bytes or more');
  });

  it('goes through the proxy of the environment, but for the names that it leaves out', async () => {
    server.file('/tool', CONTENT);
    const proxy = await startProxy();
    try {
      await get([one()], { env: { HTTPS_PROXY: proxy.url, NO_PROXY: 'localhost' } });
      expect(proxy.asked).toEqual([]);
      server.file('/other', 'other');
      await get([one({ url: server.url('/other'), sha256: sha256('other') })], {
        env: { HTTPS_PROXY: proxy.url },
      });
      expect(proxy.asked).toEqual([new URL(server.url('/')).host]);
    } finally {
      await proxy.close();
    }
  });

  it('is done by one of two labups, and the other waits for it', async () => {
    server.answer('/tool', (_request, response) => void setTimeout(() => response.end(CONTENT), 100));
    const files = await Promise.all([get([one()]), get([one()])]);
    expect(server.asked).toHaveLength(1);
    expect(
      files
        .flat()
        .map(({ fresh }) => fresh)
        .sort(),
    ).toEqual([false, true]);
    expect(events).toContainEqual({ type: 'note', text: 'waiting for another labup that downloads tool' });
  });

  it('ends the others with the first failure, and at once on Ctrl-C', async () => {
    server.answer('/hangs', (_request, response) => void response.writeHead(200).write('x'));
    const hangs = one({ url: server.url('/hangs'), name: 'hangs' });
    const error = await failure(get([hangs, one()], { stallMs: 60_000 }));
    expect(error.message).toBe('tool v1.2.3 does not exist at its publisher.');
    const interrupt = new AbortController();
    const work = get([hangs], { stallMs: 60_000, signal: interrupt.signal });
    setTimeout(() => interrupt.abort(), 50);
    expect((await failure(work)).exitCode).toBe(130);
  });
});
