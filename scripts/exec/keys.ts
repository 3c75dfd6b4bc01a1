import { randomBytes, randomInt } from 'node:crypto';
import ssh2 from 'ssh2';
import type { KeyPair, Secrets } from '../shared/secrets.ts';

/** A fresh ed25519 key pair in OpenSSH's formats (Node's own crypto cannot write OpenSSH private keys). */
export function newKeyPair(comment: string): KeyPair {
  // ssh2 1.17 drops leading zero bytes of a key, so about one in a hundred that it makes cannot be read again.
  for (let tries = 0; tries < 20; tries++) {
    const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    if (!(ssh2.utils.parseKey(privateKey) instanceof Error)) return { privateKey, publicKey };
  }
  throw new Error('ssh2 made twenty unreadable keys in a row');
}

/** The secrets of a new lab, from the system's random source. */
export function newSecrets(lab: string, machines: readonly string[]): Secrets {
  return {
    clientKey: newKeyPair(`lab-${lab}`),
    hostKeys: Object.fromEntries(machines.map((name) => [name, newKeyPair(name)])),
    bgpPassword: randomBytes(24).toString('base64url'),
    joinToken: `${randomWord(6)}.${randomWord(16)}`,
    serverToken: randomBytes(24).toString('base64url'),
    agentToken: randomBytes(24).toString('base64url'),
  };
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

function randomWord(length: number): string {
  return Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}
