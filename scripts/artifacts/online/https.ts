import type { Readable } from 'node:stream';
import { type Dispatcher, EnvHttpProxyAgent, interceptors, request } from 'undici';
import { messageOf } from '../../shared/errors.ts';

/** The longest that a connection may take, and that a server may say nothing, in milliseconds. */
const CONNECT_MS = 15_000;
const STALL_MS = 30_000;
const MAX_REDIRECTS = 5;

/** What to do where the internet, or one file of it, is out of reach. */
export const WITHOUT_INTERNET =
  'Without the internet, run labup --artifacts debian (made here from Debian packages), or labup --artifacts DIR with a ' +
  'bundle that another host made (lab bundle create --from online DIR).';
const AGAIN = 'Run labup again: what was downloaded is kept, and a file that was cut off is continued.';
const BE_CAREFUL =
  'Somebody between this host and the server changes its answers: use another network or a proxy.';

export interface HttpsOptions {
  /** Where HTTPS_PROXY and NO_PROXY are looked up; default: this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** PEM certificates to trust instead of Node's. Tests only: a user's own go into NODE_EXTRA_CA_CERTS. */
  readonly ca?: string | undefined;
  readonly connectMs?: number;
  readonly stallMs?: number;
}

/** A request that failed: how, in words, what to do about it, and whether asking again may help. */
export class HttpsError extends Error {
  readonly url: string;
  readonly again: boolean;
  readonly next: string;
  readonly status: number | undefined;

  constructor(
    url: string,
    message: string,
    extra: { again?: boolean; next?: string; status?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: extra.cause });
    this.name = 'HttpsError';
    this.url = url;
    this.again = extra.again ?? false;
    this.next = extra.next ?? AGAIN;
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
  const tls = { timeout: connectMs, ...(ca && { ca }) };
  const agent = new EnvHttpProxyAgent({
    // An empty name is no proxy; undici looks at this process' environment only where it is given nothing.
    httpProxy: env.http_proxy ?? env.HTTP_PROXY ?? '',
    httpsProxy: env.https_proxy ?? env.HTTPS_PROXY ?? '',
    noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
    connect: tls,
    requestTls: tls,
    headersTimeout: stallMs,
    bodyTimeout: stallMs,
  });
  const dispatcher = agent.compose(onlyHttps, interceptors.redirect({ maxRedirections: MAX_REDIRECTS }));
  return {
    async get(url, headers, signal) {
      const { statusCode, body, ...answer } = await request(url, { dispatcher, headers, signal }).catch(
        (error: unknown) => {
          throw httpsError(url, error);
        },
      );
      if ([200, 206, 416].includes(statusCode)) {
        const header = (name: string) => [answer.headers[name] ?? []].flat()[0];
        return { status: statusCode, header, body };
      }
      discard(body);
      if (statusCode < 400)
        throw new HttpsError(url, 'the server redirects too often, or to nowhere', { next: BE_CAREFUL });
      throw new HttpsError(url, `the server answered with status ${statusCode}`, {
        status: statusCode,
        again: statusCode === 408 || statusCode === 429 || statusCode >= 500,
        next: `${AGAIN} ${WITHOUT_INTERNET}`,
      });
    },
    close: () => agent.destroy(),
  };
}

/** A body that nobody reads: the connection is of no further use. */
export function discard(body: Readable): void {
  body.on('error', () => {}).destroy();
}

/** The whole body of one GET, of limited length. Throws HttpsError. */
export async function readAll(
  client: HttpsClient,
  url: string,
  maxBytes: number,
  signal: AbortSignal,
  headers: Record<string, string> = {},
): Promise<Buffer> {
  const { body } = await client.get(url, headers, signal);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new HttpsError(url, `the server sends more than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw httpsError(url, error);
  }
  return Buffer.concat(chunks);
}

const onlyHttps: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const origin = `${options.origin}`;
  if (!origin.startsWith('https:'))
    throw new HttpsError(origin, `the server redirects to ${origin}${options.path}, which is not https`, {
      next: BE_CAREFUL,
    });
  return dispatch(options, handler);
};

interface Meaning {
  readonly seen: RegExp;
  readonly says: (host: string, seen: string) => string;
  readonly next: string;
  readonly again: boolean;
}

/** What failed, by the error's code or message. */
const MEANINGS: readonly Meaning[] = [
  {
    seen: /^(ENOTFOUND|EAI_AGAIN)$/,
    says: (host, code) => `the name ${host} could not be looked up (${code})`,
    next: `Look at this host's DNS and HTTPS_PROXY, then run labup again. ${WITHOUT_INTERNET}`,
    again: true,
  },
  {
    seen: /^(ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ENETDOWN|UND_ERR_CONNECT_TIMEOUT)$/,
    says: (host, code) => `${host} cannot be connected to (${code})`,
    next: `Look at this host's network, firewall and HTTPS_PROXY, then run labup again. ${WITHOUT_INTERNET}`,
    again: true,
  },
  {
    seen: /CERT|SELF_SIGNED|UNABLE_TO_|^ERR_(SSL|TLS)|^EPROTO$|HOSTNAME_MISMATCH/,
    says: (host, code) => `${host} did not prove who it is (${code})`,
    next:
      'Look at the clock of this host (date). Where a proxy of yours opens TLS, name its CA certificate in the ' +
      `environment variable NODE_EXTRA_CA_CERTS and run labup again. ${WITHOUT_INTERNET}`,
    again: false,
  },
  {
    seen: /proxy response/i,
    says: (_, message) => `the proxy refused: ${message}`,
    next: `Look at HTTPS_PROXY and NO_PROXY, then run labup again. ${WITHOUT_INTERNET}`,
    again: false,
  },
  {
    seen: /redirect loop/i,
    says: () => 'the server redirects to itself',
    next: BE_CAREFUL,
    again: false,
  },
  {
    seen: /^UND_ERR_(HEADERS|BODY)_TIMEOUT$/,
    says: (host) => `${host} stopped sending`,
    next: AGAIN,
    again: true,
  },
];

/** What an error of the connection means, also of one that breaks off in the middle of a body. */
export function httpsError(url: string, error: unknown): HttpsError {
  if (error instanceof HttpsError) return error;
  for (const { seen, says, ...rest } of MEANINGS) {
    const found = [...codesOf(error), messageOf(error)].find((each) => seen.test(each));
    if (found !== undefined)
      return new HttpsError(url, says(new URL(url).host, found), { ...rest, cause: error });
  }
  return new HttpsError(url, `the connection broke off: ${messageOf(error)}`, { again: true, cause: error });
}

// An error may wrap another, and one for both address families holds one for each.
function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { code } = error as NodeJS.ErrnoException;
  const inner = error instanceof AggregateError ? error.errors : [error.cause];
  return [...(typeof code === 'string' ? [code] : []), ...inner.flatMap(codesOf)];
}
