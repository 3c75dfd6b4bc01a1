import { appendFileSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newKeyPair } from '../../../scripts/exec/keys.ts';
import { localExecutor } from '../../../scripts/exec/local.ts';
import type { SshSpec } from '../../../scripts/spec/types.ts';
import { Double } from './double.ts';

/**
 * Machines that somebody prepared by hand: plain, with systemd, SSH and Python, and the key of whoever it is let in for
 * root, for "admin", who may do everything by sudo, and for "guest", who may not. They come from the stand-in for
 * Multipass; whoever uses them does not know that.
 */
export class PreparedMachines {
  readonly double: Double;
  /** The user's own key, and one that nobody knows. */
  readonly key: string;
  readonly otherKey: string;
  /** The user's known_hosts. */
  readonly knownHosts: string;
  readonly #publicKey: string;
  readonly #hosts = new Map<string, string>();
  readonly #folder = mkdtempSync(join(tmpdir(), 'contract-ssh-'));

  constructor(name: string, subnet: number) {
    this.double = new Double(name, subnet);
    const { privateKey, publicKey } = newKeyPair('somebody');
    this.#publicKey = publicKey.trim();
    this.key = this.#write('key', privateKey);
    this.otherKey = this.#write('other-key', newKeyPair('nobody').privateKey);
    this.knownHosts = this.#write('known_hosts', '');
  }

  /** How lab.yaml says that a machine is reached. */
  spec(name: string, user = 'root'): SshSpec {
    return { host: this.#hosts.get(name) ?? `${name}.invalid`, port: 22, user, key: this.key };
  }

  /** The same for one that is behind a jump host, which is entered as the user who may nothing. */
  specBehind(jump: string, name: string, user = 'root'): SshSpec {
    return { ...this.spec(name, user), jump: `guest@${this.#hosts.get(jump)}`, jumpKey: this.key };
  }

  /** From now on this host has no way to a machine's TCP ports; other machines have. Ended by `show`. */
  async hide(name: string): Promise<void> {
    await localExecutor().run(['ip', 'rule', 'add', ...this.#hiding(name)]);
  }

  /** Ends what `hide` began. */
  async show(name: string): Promise<void> {
    await localExecutor().run(['ip', 'rule', 'del', ...this.#hiding(name)], { okCodes: [0, 2] });
  }

  #hiding(name: string): readonly string[] {
    const what = ['iif', 'lo', 'to', `${this.#hosts.get(name)}/32`, 'ipproto', 'tcp', 'unreachable'];
    return [...what, 'priority', '13090'];
  }

  /** Makes a machine, and does what its user does first: connects once, and accepts its host key. */
  async add(name: string): Promise<void> {
    await this.double.call(['launch', '--name', name, '--cloud-init', '-'], this.#userData());
    const host = (await this.root(name, "ip -4 -o route get 1.1.1.1 | sed 's/.* src //; s/ .*//'")).trim();
    const key = await this.root(name, 'cat /etc/ssh/ssh_host_ed25519_key.pub');
    // An earlier machine may have had this address.
    const bridge = this.double.bridge;
    await localExecutor().run(['ip', 'neigh', 'flush', 'dev', bridge]);
    const others = readFileSync(this.knownHosts, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(`${host} `));
    writeFileSync(this.knownHosts, others.map((line) => `${line}\n`).join(''));
    appendFileSync(this.knownHosts, `${host} ${key.split(' ').slice(0, 2).join(' ')}\n`);
    this.#hosts.set(name, host);
  }

  /** Removes a machine, if it is there. */
  async drop(name: string): Promise<void> {
    if ((await this.double.names()).includes(name)) await this.double.call(['delete', '--purge', name]);
  }

  /** Runs a script on a machine as root, past SSH; returns what it prints. */
  async root(name: string, script: string): Promise<string> {
    return (await this.double.call(['exec', '-n', name, '--', 'sudo', 'sh', '-s'], script)).stdout;
  }

  /** Another file as known_hosts, with each line changed. */
  knownHostsWith(change: (line: string) => string): string {
    const lines = readFileSync(this.knownHosts, 'utf8').split('\n').filter(Boolean);
    return this.#write('other_known_hosts', lines.map((line) => `${change(line)}\n`).join(''));
  }

  #userData(): string {
    const user = (name: string, more: object = {}) => ({
      name,
      shell: '/bin/bash',
      ssh_authorized_keys: [this.#publicKey],
      ...more,
    });
    const users = ['default', user('root'), user('admin', { sudo: 'ALL=(ALL) NOPASSWD:ALL' }), user('guest')];
    // JSON is YAML.
    return `#cloud-config\n${JSON.stringify({ users, disable_root: false })}\n`;
  }

  #write(name: string, content: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }
}
