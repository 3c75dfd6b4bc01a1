import type { z } from 'zod';
import { type Complaint, type PathPart, show } from './problems.ts';
import {
  bgpSchema,
  echoSchema,
  kubernetesSchema,
  labSchema,
  machineSchema,
  networkSchema,
  SPEC_VERSION,
} from './schema.ts';
import { suggest } from './suggest.ts';

/** The keys of each map in a spec, by where it stands; "" is the document. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(labSchema.shape),
  network: Object.keys(networkSchema.shape),
  machines: Object.keys(machineSchema.shape),
  kubernetes: Object.keys(kubernetesSchema.shape),
  bgp: Object.keys(bgpSchema.shape),
  echo: Object.keys(echoSchema.shape),
};

/** What a correct line looks like, by key. */
const EXAMPLES: Readonly<Record<string, string>> = {
  version: `version: ${SPEC_VERSION}`,
  name: 'name: k8sworker1',
  role: 'role: worker',
  address: 'address: 192.168.13.35',
  routed: 'routed: true',
  network: 'network: { subnet: 192.168.13.0/24 }',
  subnet: 'subnet: 192.168.13.0/24',
  host: 'host: 192.168.13.1',
  bridge: 'bridge: labbr0',
  machines: 'machines: [{ name: k8smaster1, role: control-plane, address: 192.168.13.30 }]',
  kubernetes: 'kubernetes: { podCidr: 10.255.0.0/16 }',
  podCidr: 'podCidr: 10.255.0.0/16',
  serviceCidr: 'serviceCidr: 10.96.0.0/12',
  bgp: 'bgp: { routerAsn: 65000 }',
  clusterAsn: 'clusterAsn: 65001',
  routerAsn: 'routerAsn: 65000',
  routerPrefixes: 'routerPrefixes: [5.5.5.5/32]',
  echo: 'echo: { variant: full }',
  externalIp: 'externalIp: 2.2.2.2',
};

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  array: 'a list',
};

/** What zod found, in the words of this project: one complaint per unknown key or wrong value. */
export function explainIssues(issues: readonly z.core.$ZodIssue[], value: unknown): Complaint[] {
  return issues.flatMap((issue) => explain(issue, value));
}

function explain(issue: z.core.$ZodIssue, document: unknown): Complaint[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const found = valueAt(document, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(path, key));
    case 'invalid_type':
      return [wrongType(path, found, issue.expected)];
    case 'invalid_value':
      return [wrongChoice(path, found, issue.values.map(String))];
    case 'too_big':
      return [{ path, message: `has too many entries, ${issue.maximum} at most`, hint: 'remove some' }];
    case 'custom':
      return [{ path, message: issue.message, hint: hintOf(issue.params) ?? example(path) }];
    default:
      return [{ path, message: issue.message, hint: example(path) }];
  }
}

function unknownKey(parent: readonly PathPart[], key: string): Complaint {
  const path = [...parent, key];
  const here = KEYS[String(parent[0] ?? '')] ?? [];
  const near = suggest(key, here);
  const elsewhere = Object.keys(KEYS).find((section) => KEYS[section]?.includes(key));
  let hint = `remove it, or use one of: ${here.join(', ')}`;
  if (near !== undefined) hint = `did you mean "${near}"?`;
  else if (elsewhere !== undefined)
    hint = elsewhere === '' ? 'move it to the top level' : `move it under "${elsewhere}"`;
  return { path, at: 'key', message: 'unknown key', hint };
}

function wrongType(path: readonly PathPart[], found: unknown, expected: string): Complaint {
  const hint = example(path);
  if (found === undefined) return { path, message: 'is missing', hint: hint.replace('write', 'add') };
  const what = typeof path.at(-1) === 'number' ? 'entry' : 'key';
  if (found === null)
    return { path, at: 'key', message: 'has no value', hint: `${hint}, or remove the ${what}` };
  const kind = KINDS[expected] ?? expected;
  const quoted = typeof found === 'string' ? 'the text ' : '';
  const message = `must be ${kind}, not ${quoted}${show(found)}`;
  if (expected === 'number' && typeof found === 'string' && /^\d+$/.test(found)) {
    return { path, message, hint: `remove the quotes: ${found}` };
  }
  return { path, message, hint };
}

function wrongChoice(path: readonly PathPart[], found: unknown, values: readonly string[]): Complaint {
  if (found === undefined) return wrongType(path, found, 'string');
  if (path[0] === 'version') {
    return {
      path,
      message: `version ${show(found)} is unknown; this release reads version ${SPEC_VERSION}`,
      hint: `write ${EXAMPLES.version}, or use the release that this file was written for`,
    };
  }
  const near = typeof found === 'string' ? suggest(found, values) : undefined;
  return {
    path,
    message: `must be one of ${values.join(', ')}, not ${show(found)}`,
    hint: near === undefined ? `write for example ${values[0]}` : `did you mean "${near}"?`,
  };
}

function example(path: readonly PathPart[]): string {
  const [last, before] = [path.at(-1), path.at(-2)];
  if (last === 'name' && before === undefined) return 'write for example "name: bgp-lab"';
  if (before === 'routerPrefixes') return 'write a prefix like 5.5.5.5/32';
  if (before === 'machines')
    return 'write { name: k8sworker1, role: worker, address: 192.168.13.35 } or the like';
  const line = typeof last === 'string' ? EXAMPLES[last] : undefined;
  return line === undefined ? 'see lab.yaml of this release' : `write for example "${line}"`;
}

function hintOf(params: Record<string, unknown> | undefined): string | undefined {
  const hint = params?.hint;
  return typeof hint === 'string' ? hint : undefined;
}

/** The value at a path, undefined where there is none. */
export function valueAt(document: unknown, path: readonly PathPart[]): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    return Object.entries(value).find(([key]) => key === String(part))?.[1];
  }, document);
}
