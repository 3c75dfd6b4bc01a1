import type { z } from 'zod';
import { type Cidr, parseCidr } from '../shared/ip.ts';
import { DEFAULTS, defaultHost, defaultMachines } from './defaults.ts';
import { valueAt } from './explain.ts';
import type { PathPart } from './problems.ts';
import type { MachineRole } from './types.ts';

/** A machine as far as its values are acceptable by themselves. */
export interface DraftMachine {
  readonly path: readonly PathPart[];
  readonly name?: string | undefined;
  readonly role?: MachineRole | undefined;
  readonly address?: string | undefined;
  readonly routed?: boolean | undefined;
}

/**
 * A spec as far as its values are acceptable by themselves, so that rules over several values run even when other
 * values are wrong. Undefined means "wrong, complained about already": a rule that needs it keeps silent.
 */
export interface Draft {
  readonly name: string | undefined;
  readonly subnet: Cidr | undefined;
  readonly host: string | undefined;
  readonly podCidr: Cidr | undefined;
  readonly serviceCidr: Cidr | undefined;
  readonly clusterAsn: number | undefined;
  readonly routerAsn: number | undefined;
  readonly routerPrefixes: readonly (Cidr | undefined)[];
  readonly externalIp: string | undefined;
  /** Undefined: no list, or the default machines do not fit the subnet (`machinesFit` false). */
  readonly machines: readonly DraftMachine[] | undefined;
  readonly machinesFit: boolean;
}

/** The acceptable part of a document, with defaults for what is absent. */
export function draftOf(document: unknown, issues: readonly z.core.$ZodIssue[]): Draft {
  const bad = issues.filter((issue) => issue.code !== 'unrecognized_keys').map((issue) => issue.path);
  const isBad = (path: readonly PathPart[]) =>
    bad.some((wrong) => wrong.length <= path.length && wrong.every((part, index) => part === path[index]));
  const good = (path: readonly PathPart[], kind: string): unknown => {
    if (isBad(path)) return undefined;
    const value = valueAt(document, path) ?? valueAt(DEFAULTS, path);
    return typeof value === kind ? value : undefined;
  };
  const text = (...path: PathPart[]) => good(path, 'string') as string | undefined;
  const number = (...path: PathPart[]) => good(path, 'number') as number | undefined;
  const prefix = (...path: PathPart[]) => {
    const written = text(...path);
    return written === undefined ? undefined : parseCidr(written);
  };

  const subnet = prefix('network', 'subnet');
  const hostIsDerived = !isBad(['network', 'host']) && valueAt(document, ['network', 'host']) === undefined;
  const written = isBad(['machines']) ? null : valueAt(document, ['machines']);
  const derived = written === undefined && subnet !== undefined ? defaultMachines(subnet) : undefined;
  const list = valueAt(document, ['bgp', 'routerPrefixes']) ?? DEFAULTS.bgp.routerPrefixes;
  return {
    name: text('name'),
    subnet,
    host: hostIsDerived ? subnet && defaultHost(subnet) : text('network', 'host'),
    podCidr: prefix('kubernetes', 'podCidr'),
    serviceCidr: prefix('kubernetes', 'serviceCidr'),
    clusterAsn: number('bgp', 'clusterAsn'),
    routerAsn: number('bgp', 'routerAsn'),
    routerPrefixes: Array.isArray(list) ? list.map((_, index) => prefix('bgp', 'routerPrefixes', index)) : [],
    externalIp: text('echo', 'externalIp'),
    machines: Array.isArray(written)
      ? written.map((_, index) => draftMachine(['machines', index], text, good))
      : derived?.map((machine, index) => ({ path: ['machines', index], ...machine })),
    machinesFit: !(written === undefined && subnet !== undefined && derived === undefined),
  };
}

function draftMachine(
  path: readonly PathPart[],
  text: (...path: PathPart[]) => string | undefined,
  good: (path: readonly PathPart[], kind: string) => unknown,
): DraftMachine {
  return {
    path,
    name: text(...path, 'name'),
    role: text(...path, 'role') as MachineRole | undefined,
    address: text(...path, 'address'),
    routed: good([...path, 'routed'], 'boolean') as boolean | undefined,
  };
}
