import ssh2 from 'ssh2';
import { describe, expect, it } from 'vitest';
import { newKeyPair, newSecrets } from '../../scripts/exec/keys.ts';

describe('keys', () => {
  it('can all be read again, and belong together', () => {
    for (let count = 0; count < 300; count++) {
      const { privateKey, publicKey } = newKeyPair('lab');
      const parsed = ssh2.utils.parseKey(privateKey);
      if (parsed instanceof Error || Array.isArray(parsed)) throw new Error(`unreadable: ${privateKey}`);
      expect(parsed.isPrivateKey()).toBe(true);
      expect(publicKey).toMatch(/^ssh-ed25519 [A-Za-z0-9+/]+=* lab$/);
      expect(parsed.getPublicSSH().toString('base64')).toBe(publicKey.split(' ')[1]);
      const data = Buffer.from('signed');
      expect(parsed.verify(data, parsed.sign(data))).toBe(true);
    }
  });
});

describe('secrets', () => {
  const secrets = newSecrets('bgp-lab', ['a', 'b']);

  it('have the forms that their users ask for', () => {
    expect(Object.keys(secrets.hostKeys)).toEqual(['a', 'b']);
    expect(secrets.clientKey.publicKey.endsWith(' lab-bgp-lab')).toBe(true);
    // TCP MD5 passwords have at most 80 characters; a space or quote would break frr.conf and bird.conf.
    expect(secrets.bgpPassword).toMatch(/^[A-Za-z0-9_-]{32}$/);
    // https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#token-format
    expect(secrets.joinToken).toMatch(/^[a-z0-9]{6}\.[a-z0-9]{16}$/);
    // k3s reads ':' as the end of a user's name.
    expect([secrets.serverToken, secrets.agentToken].join(' ')).toMatch(/^[\w-]{32} [\w-]{32}$/);
  });

  it('are new each time', () => {
    const other = newSecrets('bgp-lab', ['a', 'b']);
    const all = [secrets, other].flatMap(({ clientKey, hostKeys, ...words }) => [
      clientKey.privateKey,
      ...Object.values(hostKeys).map(({ privateKey }) => privateKey),
      ...Object.values(words),
    ]);
    expect(new Set(all).size).toBe(all.length);
  });
});
