import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { multipart } from './multipart.ts';

/**
 * Stands in for the Incus or LXD daemon: its REST API on a unix socket in a temporary folder, as far as the driver uses
 * it, after https://linuxcontainers.org/incus/docs/main/rest-api/ (sync, async and error envelopes, operations with
 * wait, projects, storage pools, networks, split images with aliases, instances and their states). It runs nothing.
 * Like the daemon it refuses duplicates, and to remove what is in use.
 */
export interface IncusServer {
  readonly stateDir: string;
  readonly socket: string;
  /** "METHOD path" of every request that could change something, in order, without the waits for operations. */
  readonly changes: string[];
  readonly projects: Map<string, FakeProject>;
  readonly pools: Map<string, FakeObject>;
  readonly networks: Map<string, FakeObject>;
  /** What it tells of its running operations, one answer after another; then of none. */
  readonly operations: { class: string; description: string }[][];
  /** The first match makes a request fail: in its answer, or as the failure of its operation. */
  readonly failures: { readonly request: RegExp; readonly error: string; readonly code?: number }[];
  close(): Promise<void>;
}

type NewInstance = Omit<FakeInstance, 'status' | 'disk' | 'snapshots'>;

export interface FakeObject {
  name: string;
  config: Record<string, string>;
}

export interface FakeInstance extends FakeObject {
  status: string;
  devices: Record<string, Record<string, string>>;
  source?: { fingerprint?: string };
  /** What its disk holds; a test may change it. */
  disk: string;
  snapshots: Map<string, FakeSnapshot>;
}

export interface FakeSnapshot {
  disk: string;
  created_at: string;
  /** What state all instances of the project were in when it was taken. */
  statuses: string[];
}

export interface FakeImage {
  fingerprint: string;
  aliases: { name: string }[];
}

export interface FakeProject extends FakeObject {
  images: FakeImage[];
  instances: Map<string, FakeInstance>;
}

class Refusal extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const notFound = (what: string) => new Refusal(404, `${what} not found`);

export async function startIncusServer(): Promise<IncusServer> {
  const stateDir = mkdtempSync(join(tmpdir(), 'incus-'));
  const operations = new Map<string, Promise<void>>();
  const server: IncusServer = {
    stateDir,
    socket: join(stateDir, 'unix.socket'),
    changes: [],
    projects: new Map(),
    pools: new Map(),
    networks: new Map(),
    operations: [],
    failures: [],
    close: () =>
      new Promise((resolve) => {
        http.closeAllConnections();
        http.close(() => resolve());
      }),
  };
  const http = createServer(async (request, response) => {
    const answer = (code: number, body: unknown) => {
      response.writeHead(code, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const refuse = (error: unknown) => {
      const code = error instanceof Refusal ? error.code : 500;
      answer(code, { type: 'error', error: String((error as Error).message), error_code: code });
    };
    try {
      const body = await read(request);
      const method = request.method ?? 'GET';
      const url = new URL(request.url ?? '/', 'http://unix');
      const wait = /^\/1\.0\/operations\/([^/]+)\/wait$/.exec(url.pathname)?.[1];
      if (wait !== undefined) {
        const operation = operations.get(wait);
        if (operation === undefined) throw notFound('Operation');
        const err = await operation.then(() => '').catch((error: Error) => error.message);
        const status =
          err === '' ? { status: 'Success', status_code: 200 } : { status: 'Failure', status_code: 400 };
        answer(200, {
          type: 'sync',
          status_code: 200,
          metadata: { id: wait, class: 'task', ...status, err },
        });
        return;
      }
      const line = `${method} ${url.pathname}`;
      if (method !== 'GET') server.changes.push(line);
      const failure = server.failures.find((each) => each.request.test(line));
      const fail = () => {
        if (failure !== undefined) throw new Refusal(failure.code ?? 400, failure.error);
      };
      const work = route(server, method, url, request, body);
      if ('async' in work) {
        const id = randomUUID();
        // Later, as the daemon does it: whoever does not wait for the operation sees the old state.
        const operation = new Promise<void>((resolve) => setImmediate(resolve)).then(fail).then(work.async);
        operation.catch(() => {});
        operations.set(id, operation);
        answer(202, {
          type: 'async',
          status_code: 100,
          operation: `/1.0/operations/${id}`,
          metadata: { id },
        });
      } else {
        fail();
        answer(200, { type: 'sync', status_code: 200, metadata: work.sync() ?? {} });
      }
    } catch (error) {
      refuse(error);
    }
  });
  await new Promise<void>((resolve) => http.listen(server.socket, resolve));
  return server;
}

type Work = { readonly sync: () => unknown } | { readonly async: () => void };

function route(server: IncusServer, method: string, url: URL, request: IncomingMessage, body: Buffer): Work {
  const [, , collection = '', name, part, third] = url.pathname.split('/').map(decodeURIComponent);
  const parsed = () => JSON.parse(body.toString('utf8')) as Record<string, unknown>;
  if (collection === '') return { sync: () => SERVER_INFO };
  if (collection === 'operations') return { sync: () => ({ running: server.operations.shift() }) };
  if (collection === 'projects') {
    const make = (object: FakeObject): FakeProject => ({ ...object, images: [], instances: new Map() });
    return objects(
      server.projects,
      method,
      name,
      () => make(object(parsed())),
      ({ images, instances }) => {
        if (images.length + instances.size > 0) throw new Refusal(400, 'Only empty projects can be removed');
      },
    );
  }
  if (collection === 'storage-pools' || collection === 'networks') {
    const [map, device] = collection === 'networks' ? [server.networks, 'network'] : [server.pools, 'pool'];
    return objects(
      map,
      method,
      name,
      () => object(parsed()),
      (each) => {
        const all = [...server.projects.values()].flatMap(({ instances }) => [...instances.values()]);
        const isUsed = all.some(({ devices }) =>
          Object.values(devices).some((one) => one[device] === each.name),
        );
        if (isUsed) throw new Refusal(400, `The ${device} is currently in use`);
      },
    );
  }
  const project = server.projects.get(url.searchParams.get('project') ?? 'default');
  if (project === undefined) throw notFound('Project');
  if (collection === 'images') return images(project, method, name, request, body, parsed);
  if (collection === 'instances') return instances(server, project, method, { name, part, third }, parsed);
  throw notFound('Path');
}

const SERVER_INFO = {
  api_version: '1.0',
  auth: 'trusted',
  environment: { server_version: '5.0.2', storage_supported_drivers: [{ Name: 'dir' }, { Name: 'btrfs' }] },
};

function object(body: Record<string, unknown>): FakeObject {
  const { name, config = {} } = body as { name: string; config?: Record<string, string> };
  return { name, config };
}

function objects<T extends FakeObject>(
  all: Map<string, T>,
  method: string,
  name: string | undefined,
  make: () => T,
  mayRemove: (object: T) => void,
): Work {
  if (method === 'POST') {
    const made = make();
    if (all.has(made.name)) throw new Refusal(409, `${made.name} already exists`);
    return { sync: () => all.set(made.name, made) && undefined };
  }
  if (name === undefined)
    return { sync: () => [...all.values()].map(({ name: is, config }) => ({ name: is, config })) };
  const found = all.get(name);
  if (found === undefined) throw notFound(name);
  if (method === 'GET') return { sync: () => ({ name: found.name, config: found.config }) };
  return {
    sync: () => {
      mayRemove(found);
      all.delete(name);
    },
  };
}

function images(
  project: FakeProject,
  method: string,
  name: string | undefined,
  request: IncomingMessage,
  body: Buffer,
  parsed: () => Record<string, unknown>,
): Work {
  if (method === 'GET') return { sync: () => project.images };
  if (method === 'POST' && name === 'aliases') {
    const { name: alias, target } = parsed() as { name: string; target: string };
    const image = project.images.find(({ fingerprint }) => fingerprint === target);
    if (image === undefined) throw notFound('Image');
    return { sync: () => void image.aliases.push({ name: alias }) };
  }
  if (method === 'POST') {
    const parts = multipart(request.headers['content-type'] ?? '', body) ?? [];
    if (parts.map(([part]) => part).join() !== 'metadata,rootfs')
      throw new Refusal(400, 'Invalid multipart image');
    return {
      async: () => {
        const hash = createHash('sha256');
        for (const [, content] of parts) hash.update(content);
        const fingerprint = hash.digest('hex');
        if (project.images.some((image) => image.fingerprint === fingerprint)) {
          throw new Refusal(400, 'Image with same fingerprint already exists');
        }
        project.images.push({ fingerprint, aliases: [] });
      },
    };
  }
  const index = project.images.findIndex(({ fingerprint }) => fingerprint === name);
  if (index < 0) throw notFound('Image');
  return { async: () => void project.images.splice(index, 1) };
}

function instances(
  server: IncusServer,
  project: FakeProject,
  method: string,
  {
    name,
    part,
    third,
  }: {
    readonly name: string | undefined;
    readonly part: string | undefined;
    readonly third: string | undefined;
  },
  parsed: () => Record<string, unknown>,
): Work {
  const all = project.instances;
  if (method === 'POST' && name === undefined) {
    const body = parsed() as unknown as NewInstance;
    if (all.has(body.name)) throw new Refusal(409, `Instance "${body.name}" already exists`);
    if (!project.images.some(({ fingerprint }) => fingerprint === body.source?.fingerprint))
      throw notFound('Image');
    for (const { network, pool } of Object.values(body.devices)) {
      if (network !== undefined && !server.networks.has(network)) throw notFound('Network');
      if (pool !== undefined && !server.pools.has(pool)) throw notFound('Storage pool');
    }
    return {
      async: () => void all.set(body.name, { ...body, status: 'Stopped', disk: 'new', snapshots: new Map() }),
    };
  }
  if (name === undefined) return { sync: () => [...all.values()] };
  const found = all.get(name);
  if (found === undefined) throw notFound('Instance');
  if (part === 'snapshots') return snapshots(project, found, method, third, parsed);
  if (method === 'GET') return { sync: () => found };
  if (method === 'PUT' && part === 'state') {
    const { action } = parsed() as { action: keyof typeof STATUS_AFTER };
    const { from, to } = STATUS_AFTER[action];
    return {
      async: () => {
        if (!from.includes(found.status)) throw new Refusal(400, refusalOf(found.status));
        found.status = to;
      },
    };
  }
  if (method === 'PUT') {
    const kept = found.snapshots.get((parsed() as { restore: string }).restore);
    if (kept === undefined) throw notFound('Snapshot');
    return {
      async: () => {
        if (found.status !== 'Stopped') throw new Refusal(400, 'Instance is running');
        found.disk = kept.disk;
      },
    };
  }
  return {
    async: () => {
      if (found.status !== 'Stopped') throw new Refusal(400, 'Instance is running');
      all.delete(name);
    },
  };
}

const STATUS_AFTER = {
  start: { from: ['Stopped'], to: 'Running' },
  stop: { from: ['Running', 'Frozen'], to: 'Stopped' },
  freeze: { from: ['Running'], to: 'Frozen' },
  unfreeze: { from: ['Frozen'], to: 'Running' },
};

function refusalOf(status: string): string {
  return `The instance is already ${status.toLowerCase()}`;
}

function snapshots(
  project: FakeProject,
  instance: FakeInstance,
  method: string,
  name: string | undefined,
  parsed: () => Record<string, unknown>,
): Work {
  const all = instance.snapshots;
  if (method === 'GET')
    return { sync: () => [...all].map(([is, { created_at }]) => ({ name: is, created_at, size: 1000 })) };
  if (method === 'POST') {
    const body = parsed() as { name: string };
    if (all.has(body.name)) throw new Refusal(409, `Snapshot "${body.name}" already exists`);
    return {
      async: () =>
        void all.set(body.name, {
          disk: instance.disk,
          created_at: '2026-11-26T20:00:00Z',
          statuses: [...project.instances.values()].map(({ status }) => status),
        }),
    };
  }
  if (name === undefined || !all.has(name)) throw notFound('Snapshot');
  return { async: () => void all.delete(name) };
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
