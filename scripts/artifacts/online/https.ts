import type { Readable } from 'node:stream';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { messageOf } from '../../shared/errors.ts';

/** The longest that a connection may take, and that a server may say nothing, in milliseconds. */
const CONNECT_MS = 15_000;
const STALL_MS = 30_000;
const MAX_REDIRECTS = 5;

export interface HttpsOptions {
  /** Where HTTPS_PROXY and NO_PROXY are looked up; default: this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** PEM certificates to trust instead of Node's. Tests only: a user's own go into NODE_EXTRA_CA_CERTS. */
  readonly ca?: string | undefined;
  readonly connectMs?: number;
  readonly stallMs?: number;
}

/** What went wrong on the way; `answer` is a status that is no success. */
export type HttpsTrouble =
  | 'lookup'
  | 'connect'
  | 'tls'
  | 'proxy'
  | 'stall'
  | 'broken-off'
  | 'answer'
  | 'redirect';

/** A request that failed: how, in words, and whether asking again may help. */
export class HttpsError extends Error {
  readonly url: string;
  readonly trouble: HttpsTrouble;
  readonly again: boolean;
  readonly status: number | undefined;

  constructor(
    url: string,
    trouble: HttpsTrouble,
    message: string,
    extra: { readonly again?: boolean; readonly status?: number; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: extra.cause });
    this.name = 'HttpsError';
    this.url = url;
    this.trouble = trouble;
    this.again = extra.again ?? false;
    this.status = extra.status;
  }
}

export interface HttpsResponse {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: Readable;
}

/** Asks HTTPS servers, through the proxy of the environment. */
export interface HttpsClient {
  /** One GET, redirects followed, but only to https. Throws HttpsError for every status but 200, 206 and 416. */
  get(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<HttpsResponse>;
  close(): Promise<void>;
}

/** A client with connections of its own; to be closed. */
export function httpsClient(options: HttpsOptions = {}): HttpsClient {
  const { env = process.env, ca, connectMs = CONNECT_MS, stallMs = STALL_MS } = options;
  const tls = { timeout: connectMs, ...(ca === undefined ? {} : { ca }) };
  const dispatcher = new EnvHttpProxyAgent({
    // An empty name is no proxy; undici looks at this process' environment only where it is given nothing.
    httpProxy: env.http_proxy ?? env.HTTP_PROXY ?? '',
    httpsProxy: env.https_proxy ?? env.HTTPS_PROXY ?? '',
    noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
    connect: tls,
    requestTls: tls,
    headersTimeout: stallMs,
    bodyTimeout: stallMs,
  });
  return {
    get: (url, headers, signal) => follow(dispatcher, url, headers, signal, MAX_REDIRECTS),
    close: () => dispatcher.destroy(),
  };
}

async function follow(
  dispatcher: Dispatcher,
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
  redirects: number,
): Promise<HttpsResponse> {
  const answer = await request(url, { dispatcher, headers, signal }).catch((error: unknown) => {
    throw httpsError(url, error);
  });
  const { statusCode: status, body } = answer;
  const header = (name: string): string | undefined => {
    const value = answer.headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  if (status === 200 || status === 206 || status === 416) return { status, header, body };
  // Nobody reads it, so that the connection is of no further use.
  body.on('error', () => {}).destroy();
  if (![301, 302, 303, 307, 308].includes(status)) {
    const again = status === 408 || status === 429 || status >= 500;
    throw new HttpsError(url, 'answer', `the server answered with status ${status}`, { status, again });
  }
  const target = redirectTarget(url, header('location'));
  if (redirects === 0) throw new HttpsError(url, 'redirect', 'the server redirects too often');
  return follow(dispatcher, target, headers, signal, redirects - 1);
}

function redirectTarget(url: string, location: string | undefined): string {
  if (location === undefined || !URL.canParse(location, url))
    throw new HttpsError(url, 'redirect', 'the server redirects to nowhere');
  const target = new URL(location, url);
  if (target.protocol === 'https:') return target.href;
  throw new HttpsError(url, 'redirect', `the server redirects to ${target.href}, which is not https`);
}

/** What an error of the connection means, also of one that breaks off in the middle of a body. */
export function httpsError(url: string, error: unknown): HttpsError {
  if (error instanceof HttpsError) return error;
  const codes = codesOf(error);
  const has = (pattern: RegExp) => codes.some((code) => pattern.test(code));
  const host = new URL(url).host;
  const cause = error;
  if (has(/^(ENOTFOUND|EAI_AGAIN)$/))
    return new HttpsError(url, 'lookup', `the name ${host} could not be looked up (${codes[0]})`, {
      again: has(/^EAI_AGAIN$/),
      cause,
    });
  if (has(/^UND_ERR_CONNECT_TIMEOUT$/))
    return new HttpsError(url, 'connect', `${host} did not accept a connection in time`, {
      again: true,
      cause,
    });
  if (has(/^(ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ENETDOWN)$/))
    return new HttpsError(url, 'connect', `${host} cannot be connected to (${codes[0]})`, {
      again: true,
      cause,
    });
  if (has(/CERT|SELF_SIGNED|UNABLE_TO_|^ERR_(SSL|TLS)|^EPROTO$|HOSTNAME_MISMATCH/))
    return new HttpsError(url, 'tls', `${host} did not prove who it is: ${messageOf(error)} (${codes[0]})`, {
      cause,
    });
  if (/proxy response/i.test(messageOf(error)))
    return new HttpsError(url, 'proxy', `the proxy refused: ${messageOf(error)}`, { cause });
  if (has(/^UND_ERR_(HEADERS|BODY)_TIMEOUT$/))
    return new HttpsError(url, 'stall', `${host} stopped sending`, { again: true, cause });
  return new HttpsError(url, 'broken-off', `the connection broke off: ${messageOf(error)}`, {
    again: true,
    cause,
  });
}

// An error may wrap another, and one for both address families holds one for each.
function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { code } = error as NodeJS.ErrnoException;
  const inner = error instanceof AggregateError ? error.errors : [error.cause];
  return [...(typeof code === 'string' ? [code] : []), ...inner.flatMap(codesOf)];
}
