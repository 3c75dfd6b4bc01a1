import { z } from 'zod';

/**
 * A routing table as next-hop sets: prefix -> sorted gateways, 'blackhole' or 'dev NAME'. The same form for BGP tables,
 * RIBs and kernels, so that they can be compared.
 */
export type RouteTable = ReadonlyMap<string, readonly string[]>;

/** Builds a table; next hops given for the same prefix are merged. */
export function routeTable(
  routes: readonly { readonly prefix: string; readonly nextHops: readonly string[] }[],
): RouteTable {
  const table = new Map<string, readonly string[]>();
  for (const { prefix, nextHops } of routes)
    table.set(prefix, [...new Set([...(table.get(prefix) ?? []), ...nextHops])].sort());
  return table;
}

/** The different AS paths by where they came from. */
export function pathsBy(
  pairs: readonly (readonly [string, string])[],
): ReadonlyMap<string, readonly string[]> {
  const paths = new Map<string, readonly string[]>();
  for (const [from, path] of pairs) paths.set(from, [...new Set([...(paths.get(from) ?? []), path])].sort());
  return paths;
}

/** A prefix with its length, for tools that leave /32 out. */
export function withLength(destination: string): string {
  if (destination === 'default') return '0.0.0.0/0';
  return destination.includes('/') ? destination : `${destination}/32`;
}

const kernelRoutes = z.array(
  z.looseObject({
    type: z.string().default('unicast'),
    dst: z.string(),
    gateway: z.string().optional(),
    dev: z.string().optional(),
    nexthops: z
      .array(z.looseObject({ gateway: z.string().optional(), dev: z.string().optional() }))
      .optional(),
  }),
);

/** Asks a kernel for its main table. */
export function showKernelRoutes(): readonly string[] {
  return ['ip', '-j', '-4', 'route', 'show'];
}

/** Reads `ip -j route`. Throws where it is something else. */
export function parseKernelRoutes(text: string): RouteTable {
  const routes = kernelRoutes.parse(JSON.parse(text.trim() === '' ? '[]' : text));
  return routeTable(
    routes.map(({ type, dst, gateway, dev, nexthops }) => ({
      prefix: withLength(dst),
      nextHops: type === 'unicast' ? (nexthops ?? [{ gateway, dev }]).map(hopName) : [type],
    })),
  );
}

function hopName({ gateway, dev }: { gateway?: string | undefined; dev?: string | undefined }): string {
  return gateway ?? `dev ${dev}`;
}
