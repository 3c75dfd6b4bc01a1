import type { z } from 'zod';
import { type Cidr, contains, networkOf, nthAddress, overlaps, parseCidr, sizeOf } from '../shared/ip.ts';
import { DEFAULTS, defaultHost, defaultMachines, isHostAddress } from './defaults.ts';
import { valueAt } from './explain.ts';
import { type Complaint, formatPath, type PathPart } from './problems.ts';
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
  readonly loadBalancerCidr: Cidr | undefined;
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
    loadBalancerCidr: prefix('kubernetes', 'loadBalancerCidr'),
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

/** Every Kubernetes node gets a pod block of this length, as Calico's IPAM gives by default. */
export const POD_BLOCK_LENGTH = 26;
export const WORKERS_MAX = 20;

/** Looks up where a path stands; undefined for values that are defaults and so stand nowhere. */
export type LineOf = (path: readonly PathPart[]) => number | undefined;

/** The rules over several values of a spec. Returns everything that is wrong, in no particular order. */
export function validateDraft(draft: Draft, lineOf: LineOf): Complaint[] {
  return [
    ...reservedNames(draft),
    ...machineCounts(draft),
    ...duplicates(draft, 'name', lineOf),
    ...duplicates(draft, 'address', lineOf),
    ...addresses(draft),
    ...routedMachines(draft),
    ...asns(draft, lineOf),
    ...overlappingPrefixes(draft, lineOf),
    ...podBlocks(draft),
  ];
}

function reservedNames(draft: Draft): Complaint[] {
  const complaints: Complaint[] = [];
  if (draft.name === 'default') {
    const message = '"default" is the name of the project that Incus itself uses';
    complaints.push({ path: ['name'], message, hint: 'use another name, for example "bgp-lab"' });
  }
  for (const { path, name } of draft.machines ?? []) {
    if (name !== 'localhost') continue;
    const message = '"localhost" is the name of every machine to itself';
    complaints.push({ path: [...path, 'name'], message, hint: 'use another name' });
  }
  return complaints;
}

function machineCounts(draft: Draft): Complaint[] {
  const path = ['machines'];
  const at = 'key' as const;
  if (!draft.machinesFit && draft.subnet !== undefined) {
    const message = `${networkOf(draft.subnet)} is too small for the default machines (addresses 30 to 104)`;
    return [{ path: ['network', 'subnet'], message, hint: 'use a /24, or list the machines yourself' }];
  }
  if (draft.machines === undefined) return [];
  const machines = draft.machines;
  const of = (role: MachineRole) => machines.filter((machine) => machine.role === role);
  // A machine of unknown role may be the missing one, so only "too many" is certain then.
  const certain = machines.every((machine) => machine.role !== undefined);
  const complaints: Complaint[] = [];
  for (const role of ['control-plane', 'router'] as const) {
    const found = of(role);
    if (found.length === 0 && certain) {
      const hint = `add a machine with role: ${role}`;
      complaints.push({ path, at, message: `there is no ${role}; a lab has exactly one`, hint });
    }
    for (const extra of found.slice(1)) {
      const message = `there are ${found.length} machines with role ${role}; a lab has exactly one`;
      complaints.push({
        path: [...extra.path, 'role'],
        message,
        hint: 'give this machine another role or remove it',
      });
    }
  }
  const workers = of('worker').length;
  if (workers === 0 && certain) {
    const message = `there is no worker; a lab has 1 to ${WORKERS_MAX}`;
    complaints.push({ path, at, message, hint: 'add a machine with role: worker' });
  }
  if (workers > WORKERS_MAX) {
    const message = `there are ${workers} workers; a lab has 1 to ${WORKERS_MAX}`;
    complaints.push({ path, at, message, hint: `remove ${workers - WORKERS_MAX} of them` });
  }
  return complaints;
}

function duplicates(draft: Draft, key: 'name' | 'address', lineOf: LineOf): Complaint[] {
  const first = new Map<string, DraftMachine>();
  const complaints: Complaint[] = [];
  for (const machine of draft.machines ?? []) {
    const value = machine[key];
    if (value === undefined) continue;
    const before = first.get(value);
    if (before === undefined) {
      first.set(value, machine);
      continue;
    }
    const place = placeOf([...before.path, key], lineOf);
    complaints.push({
      path: [...machine.path, key],
      message: `the ${key} ${value} is taken already by ${place}`,
      hint: `give every machine its own ${key}`,
    });
  }
  return complaints;
}

function addresses(draft: Draft): Complaint[] {
  const { subnet, host } = draft;
  if (subnet === undefined) return [];
  const all = (draft.machines ?? []).map((machine) => ({
    path: [...machine.path, 'address'],
    address: machine.address,
  }));
  const complaints: Complaint[] = [];
  for (const { path, address } of [{ path: ['network', 'host'], address: host }, ...all]) {
    if (address === undefined) continue;
    const range = `${nthAddress(subnet, 1)} to ${nthAddress(subnet, sizeOf(subnet.length) - 2)}`;
    if (!isHostAddress(subnet, address)) {
      const role = contains(subnet, address) ? `is the ${endOf(subnet, address)} address of` : 'is outside';
      const message = `${address} ${role} network.subnet ${networkOf(subnet)}`;
      complaints.push({ path, message, hint: `use one of ${range}` });
    } else if (address === host && path[0] !== 'network') {
      const message = `${address} is the host's own address on the bridge (network.host)`;
      complaints.push({ path, message, hint: `use another of ${range}` });
    }
  }
  return complaints;
}

function endOf(subnet: Cidr, address: string): string {
  return address === nthAddress(subnet, 0) ? 'network' : 'broadcast';
}

function routedMachines(draft: Draft): Complaint[] {
  return (draft.machines ?? [])
    .filter(({ role, routed }) => routed !== undefined && role !== undefined && role !== 'client')
    .map(({ path, role }) => ({
      path: [...path, 'routed'],
      at: 'key',
      message: `only clients choose whether they are routed; this is a ${role}`,
      hint: 'remove the key',
    }));
}

function asns(draft: Draft, lineOf: LineOf): Complaint[] {
  const { clusterAsn, routerAsn } = draft;
  if (clusterAsn === undefined || clusterAsn !== routerAsn) return [];
  const [path, other] = laterFirst(['bgp', 'clusterAsn'], ['bgp', 'routerAsn'], lineOf);
  return [
    {
      path,
      message: `AS ${routerAsn} is on both sides of the eBGP sessions, see ${placeOf(other, lineOf)}`,
      hint: 'give the cluster and the router different AS numbers, for example 65001 and 65000',
    },
  ];
}

function overlappingPrefixes(draft: Draft, lineOf: LineOf): Complaint[] {
  const external = draft.externalIp === undefined ? undefined : { address: draft.externalIp, length: 32 };
  const named: { path: PathPart[]; cidr: Cidr | undefined }[] = [
    { path: ['network', 'subnet'], cidr: draft.subnet },
    { path: ['kubernetes', 'podCidr'], cidr: draft.podCidr },
    { path: ['kubernetes', 'serviceCidr'], cidr: draft.serviceCidr },
    { path: ['kubernetes', 'loadBalancerCidr'], cidr: draft.loadBalancerCidr },
    { path: ['echo', 'externalIp'], cidr: external },
    ...draft.routerPrefixes.map((cidr, index) => ({ path: ['bgp', 'routerPrefixes', index], cidr })),
  ];
  const complaints: Complaint[] = [];
  named.forEach((a, index) => {
    for (const b of named.slice(index + 1)) {
      if (a.cidr === undefined || b.cidr === undefined || !overlaps(a.cidr, b.cidr)) continue;
      const [path, other] = laterFirst(a.path, b.path, lineOf);
      const [mine, its] = path === a.path ? [a.cidr, b.cidr] : [b.cidr, a.cidr];
      complaints.push({
        path,
        message: `${networkOf(mine)} overlaps ${networkOf(its)} of ${placeOf(other, lineOf)}`,
        hint: 'choose prefixes that share no address',
      });
    }
  });
  return complaints;
}

function podBlocks(draft: Draft): Complaint[] {
  const { podCidr } = draft;
  if (podCidr === undefined) return [];
  const nodes = (draft.machines ?? []).filter(
    ({ role }) => role === 'control-plane' || role === 'worker',
  ).length;
  const blocks = 2 ** Math.max(0, POD_BLOCK_LENGTH - podCidr.length);
  if (nodes <= blocks) return [];
  const length = POD_BLOCK_LENGTH - Math.ceil(Math.log2(nodes));
  return [
    {
      path: ['kubernetes', 'podCidr'],
      message: `${networkOf(podCidr)} holds ${blocks} blocks of /${POD_BLOCK_LENGTH}, but ${nodes} nodes need one each`,
      hint: `use a /${length} or larger, for example 10.255.0.0/16`,
    },
  ];
}

/** Of two values that contradict each other, the one further down is the one to complain about. */
function laterFirst(a: PathPart[], b: PathPart[], lineOf: LineOf): readonly [PathPart[], PathPart[]] {
  return (lineOf(a) ?? 0) > (lineOf(b) ?? 0) ? [a, b] : [b, a];
}

function placeOf(path: readonly PathPart[], lineOf: LineOf): string {
  const line = lineOf(path);
  return `${formatPath(path)} (${line === undefined ? 'the default' : `line ${line}`})`;
}
