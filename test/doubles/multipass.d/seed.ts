import {
  Document,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseAllDocuments,
  Scalar,
  visit,
  YAMLMap,
  YAMLSeq,
} from 'yaml';
import type { Seed } from './backends/backend.ts';
import { Refusal } from './failures.ts';
import type { ExtraInterface } from './instance.ts';

/** yaml-cpp's message for a text that is no YAML. */
export class BadYaml extends Error {}

/**
 * User-data as the client sends it: the first document, loaded and dumped again. Comments are gone and so are the quotes
 * of scalars (up to 1.16), so that "0755" arrives as a number and "true" as a boolean.
 */
export function redump(text: string, keepQuotes: boolean): string {
  // Nothing is a number or a boolean here: a scalar is its text.
  const document = parseAllDocuments(text, { schema: 'failsafe', version: '1.1' })[0];
  if (document === undefined) return '';
  const error = 'errors' in document ? document.errors[0] : undefined;
  if (error !== undefined) {
    const [at] = error.linePos ?? [{ line: 1, col: 1 }];
    throw new BadYaml(`yaml-cpp: error at line ${at.line}, column ${at.col}: ${inItsWords(error.message)}`);
  }
  const contents = (document as Document).contents;
  return contents === null || isEmpty(contents) ? '' : dump(bare(contents, keepQuotes));
}

/** The seed of a new instance: user-data as given with what the daemon adds, and the daemon's own documents. */
export function makeSeed(options: {
  readonly name: string;
  readonly userData: string;
  readonly publicKey: string;
  readonly timezone: string;
  readonly mac: string;
  readonly interfaces: readonly ExtraInterface[];
  /** A command that fails goes to the end of runcmd. */
  readonly failing: boolean;
}): Seed {
  const { name, publicKey, mac, interfaces } = options;
  const key = `${publicKey.split(' ').slice(0, 2).join(' ')} ubuntu@localhost`;
  const user = loadUserData(options.userData);
  const users = user.get('users');
  if (isSeq(users)) users.add(new Scalar('default'));
  const keys = user.get('ssh_authorized_keys');
  if (isSeq(keys)) keys.add(new Scalar(key));
  if (options.failing) addFailure(user);
  // Without "pollinate", which is a package of Ubuntu's.
  const vendor = {
    growpart: { mode: 'auto', devices: ['/'], ignore_growroot_disabled: false },
    users: ['default'],
    manage_etc_hosts: true,
    ssh_authorized_keys: [key],
    timezone: options.timezone,
    system_info: { default_user: { name: 'ubuntu' } },
  };
  const ethernets: Record<string, object> = {
    default: { match: { macaddress: mac }, dhcp4: true, 'dhcp-identifier': 'mac' },
  };
  for (const [at, extra] of interfaces.entries()) {
    if (extra.mode === 'manual') continue;
    ethernets[`extra${at}`] = {
      match: { macaddress: extra.mac },
      dhcp4: true,
      'dhcp-identifier': 'mac',
      'dhcp4-overrides': { 'route-metric': 200 },
      optional: true,
    };
  }
  return {
    userData: `#cloud-config\n${dump(user)}`,
    vendorData: `#cloud-config\n${new Document(vendor).toString({ lineWidth: 0 })}`,
    metaData: new Document({
      'instance-id': name,
      'local-hostname': name,
      'cloud-name': 'multipass',
    }).toString(),
    networkConfig: `${new Document({ version: 2, ethernets }).toString({ lineWidth: 0 })}`,
  };
}

/** The daemon asks for keys of the document: yaml-cpp makes nothing and lists into a map, and refuses a scalar. */
function loadUserData(text: string): YAMLMap {
  const contents = parseAllDocuments(text, { schema: 'failsafe', version: '1.1' })[0]?.contents ?? null;
  if (contents === null) return new YAMLMap();
  if (isMap(contents)) return contents;
  if (isScalar(contents))
    throw new Refusal('yaml-cpp: error at line 1, column 1: operator[] call on a scalar (key: "users")');
  const map = new YAMLMap();
  if (isSeq(contents)) {
    for (const [at, item] of contents.items.entries()) map.set(new Scalar(String(at)), item);
  }
  return map;
}

function addFailure(user: YAMLMap): void {
  const failure = 'exit 3';
  const seen = user.get('runcmd');
  if (isSeq(seen)) seen.add(new Scalar(failure));
  else {
    const list = new YAMLSeq();
    list.add(new Scalar(failure));
    user.set(new Scalar('runcmd'), list);
  }
}

/** A copy without comments, styles and, unless they are kept, quotes. */
function bare(node: Node, keepQuotes: boolean): Node {
  const document = new Document(node, { schema: 'failsafe', version: '1.1' });
  visit(document, {
    Collection(_, each) {
      withoutComments(each);
      each.flow = false;
    },
    Scalar(_, scalar) {
      withoutComments(scalar);
      const text = String(scalar.value);
      const plain = scalar.type === undefined || scalar.type === 'PLAIN';
      if (plain && text === '') scalar.value = '~';
      else if (text.includes('\n')) scalar.type = 'QUOTE_DOUBLE';
      else if (!keepQuotes && text !== '') scalar.type = 'PLAIN';
    },
  });
  return document.contents as Node;
}

function withoutComments(node: Pick<Scalar, 'comment' | 'commentBefore' | 'spaceBefore'>): void {
  delete node.comment;
  delete node.commentBefore;
  delete node.spaceBefore;
}

function dump(node: Node): string {
  const document = new Document(undefined, { schema: 'failsafe', version: '1.1' });
  document.contents = node as never;
  return document.toString({ lineWidth: 0, doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER });
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && node.value === '' && (node.type === undefined || node.type === 'PLAIN');
}

/** yaml-cpp's words for what never ends; for the rest the parser's own. */
function inItsWords(text: string): string {
  const [, open] = /^Flow (sequence|map) in block collection/.exec(text) ?? [];
  const [first = ''] = text.split('\n');
  return open === undefined
    ? first.replace(/ at line \d+, column \d+:?$/, '').toLowerCase()
    : `end of ${open} flow not found`;
}
