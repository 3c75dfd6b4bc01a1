import type { LeaveOut } from '../../bgp/checks/ask.ts';
import type { HostPortMasquerade, NatOutgoing } from './types.ts';

/** Members of IP sets by name. */
export type IpSets = ReadonlyMap<string, readonly string[]>;

/** The chains of the `bird` CNI (bird/cni/nat-outgoing.rules) and of Calico (felix, rules/nat.go). */
const CHAINS = ['LAB-NAT-OUTGOING', 'cali-nat-outgoing'];

/**
 * The lines of one table of `iptables-save -t TABLE`. It prints nothing where no rule was ever made, and only a comment or
 * complaints where it cannot print what nft has put into the table. Throws where the text is not of this table.
 */
export function tableLines(text: string, table: 'nat' | 'filter', leaveOut: LeaveOut): readonly string[] {
  const lines = text.split('\n');
  const others = lines.filter(
    (line) => !/^(#|\*|:|-A |COMMIT$|$)/.test(line) || / is incompatible, use 'nft' tool/.test(line),
  );
  if (text.trim() !== '' && !lines.includes(`*${table}`) && others.every((line) => !line.startsWith('#')))
    throw new Error('not what iptables-save prints');
  others.forEach(leaveOut);
  return lines;
}

/**
 * Finds the pod network's masquerading in `iptables-save -t nat`: what leaves the pod network shows its node's address.
 * Only this rule is read, and only where something jumps to its chain: expectations follow from the set-up, not from
 * whatever else somebody added. Throws where the text is no nat table.
 */
export function parseNatOutgoing(
  text: string,
  sets: IpSets,
  leaveOut: LeaveOut = () => {},
): NatOutgoing | undefined {
  const lines = tableLines(text, 'nat', leaveOut);
  for (const chain of CHAINS) {
    const rule = lines.find((line) => line.startsWith(`-A ${chain} `) && line.includes(' -j MASQUERADE'));
    const isUsed = lines.some((line) => new RegExp(`^-A .* -[jg] ${chain}$`).test(line));
    if (rule !== undefined && isUsed) return fromRule(chain, rule, sets);
  }
  return undefined;
}

function fromRule(chain: string, rule: string, sets: IpSets): NatOutgoing {
  const missing: string[] = [];
  const members = (names: readonly string[]) =>
    names.flatMap((name) => {
      const found = sets.get(name);
      if (found === undefined) missing.push(name);
      return found ?? [];
    });
  const all = (pattern: RegExp) => [...rule.matchAll(pattern)].flatMap(([, name]) => name ?? []);
  const sources = [...all(/(?<!! )-s (\S+)/g), ...members(all(/(?<!! )--match-set (\S+) src/g))];
  const except = [...all(/! -d (\S+)/g), ...members(all(/! --match-set (\S+) dst/g))];
  return missing.length === 0
    ? { chain, sources, except }
    : {
        chain,
        sources: [],
        except: [],
        problem: `the IP sets of ${chain} could not be read: ${missing.join(', ')}`,
      };
}

const HOST_PORT_MARK =
  /^-A CNI-DN-\S+ -s (?<source>\S+) (?:-d \S+ )?-p (?<protocol>\w+) (?:-m \w+ )?--dport (?<port>\d+) -j CNI-HOSTPORT-SETMARK$/;

/**
 * Whose connections to a host port are masqueraded, in `iptables-save -t nat`: those of the network that the pod's address
 * was given with, and loopback's (the CNI plugin portmap, fillDnatRules). Throws where the text is no nat table.
 */
export function parseHostPortMasquerades(text: string): readonly HostPortMasquerade[] {
  // What no reader knows of this table is named by parseNatOutgoing.
  return tableLines(text, 'nat', () => {}).flatMap((line) => {
    const { source, protocol, port } = HOST_PORT_MARK.exec(line)?.groups ?? {};
    return source === undefined || protocol === undefined ? [] : [{ source, protocol, port: Number(port) }];
  });
}

const OWNER =
  /^-A KUBE-SERVICES -d (\S+)\/32 -p (tcp|udp) .*--comment "(\S+) (?:external IP|loadbalancer IP)" .*--dport (\d+) /;

/**
 * Which service ports KUBE-SERVICES leads each external address and port to, in the order of its rules, as their comments
 * say (MachineState.externalOwners). Where several have one address, kube-proxy puts them in any order.
 */
export function parseExternalOwners(text: string): ReadonlyMap<string, readonly string[]> {
  const owners = new Map<string, string[]>();
  for (const line of tableLines(text, 'nat', () => {})) {
    const [, address, protocol, owner, port] = OWNER.exec(line) ?? [];
    if (owner === undefined) continue;
    const key = `${address}:${port}/${protocol}`;
    const before = owners.get(key) ?? [];
    if (!before.includes(owner)) owners.set(key, [...before, owner]);
  }
  return owners;
}

const DROPS_INVALID = /^-A KUBE-FORWARD (?=.*--ctstate INVALID ).*-j DROP$/;

/**
 * Whether kube-proxy drops what conntrack calls INVALID, in `iptables-save -t filter`. Later versions leave the rule out
 * where conntrack is liberal about TCP (kubernetes PR 120412). Throws where the text is no filter table.
 */
export function parseDropsInvalid(text: string, leaveOut: LeaveOut = () => {}): boolean {
  return tableLines(text, 'filter', leaveOut).some((line) => DROPS_INVALID.test(line));
}

/** Reads `ipset save`: the members of every set. */
export function parseSets(text: string): IpSets {
  const sets = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [verb, name, member] = line.split(' ');
    if (name === undefined) continue;
    if (verb === 'create') sets.set(name, sets.get(name) ?? []);
    if (verb === 'add' && member !== undefined) sets.set(name, [...(sets.get(name) ?? []), member]);
  }
  return sets;
}
