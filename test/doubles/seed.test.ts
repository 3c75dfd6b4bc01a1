/** What becomes of user-data on its way into a guest. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { assetPath } from '../../scripts/shared/files.ts';
import { rulesFor } from './multipass.d/backends/uplink.ts';
import { BadYaml, makeSeed, redump } from './multipass.d/seed.ts';

const seedOf = (userData: string, failing = false) =>
  makeSeed({
    name: 'vm',
    userData: redump(userData, false),
    publicKey: 'ssh-ed25519 AAAA comment',
    timezone: 'Etc/UTC',
    mac: '52:54:00:00:00:01',
    interfaces: [
      { network: 'br0', mode: 'auto', mac: '52:54:00:00:00:02' },
      { network: 'br0', mode: 'manual', mac: '52:54:00:00:00:03' },
    ],
    failing,
  });

describe('user-data', () => {
  it('loses comments and the quotes of its scalars, up to 1.16', () => {
    const text = '#cloud-config\n# why\na: "0755" # octal\nb: \'true\'\nc: "12:30"\nd: plain\ne:\n';
    expect(redump(text, false)).toBe('a: 0755\nb: true\nc: 12:30\nd: plain\ne: ~\n');
    expect(redump(text, true)).toBe('a: "0755"\nb: \'true\'\nc: "12:30"\nd: plain\ne: ~\n');
  });

  it('keeps texts of several lines, and what would break without quotes', () => {
    const text = 'content: |\n  a: 1\n  b\nother: "a: b"\nhash: "#x"\nlist: [1, "[", {x: y}]\n';
    expect(parse(redump(text, false))).toEqual(parse(text));
  });

  it('is only its first document, and may be nothing', () => {
    expect(redump('a: 1\n---\nb: 2\n', false)).toBe('a: 1\n');
    expect(redump('', false)).toBe('');
    expect(redump('# only a comment\n', false)).toBe('');
  });

  it('that is no YAML is told with line and column', () => {
    expect(() => redump('a: 1\nb: [', false)).toThrow(BadYaml);
  });

  it('gets the default user and the key of Multipass where it has lists of them', () => {
    const { userData, vendorData } = seedOf('users:\n  - name: root\nssh_authorized_keys: [mine]\n');
    expect(userData.startsWith('#cloud-config\n')).toBe(true);
    expect(parse(userData)).toEqual({
      users: [{ name: 'root' }, 'default'],
      ssh_authorized_keys: ['mine', 'ssh-ed25519 AAAA ubuntu@localhost'],
    });
    expect(parse(seedOf('packages: [frr]').userData)).toEqual({ packages: ['frr'] });
    expect(parse(seedOf('').userData)).toEqual({});
    expect(parse(vendorData)).toMatchObject({
      users: ['default'],
      system_info: { default_user: { name: 'ubuntu' } },
      ssh_authorized_keys: ['ssh-ed25519 AAAA ubuntu@localhost'],
    });
  });

  it('that is a list becomes a map of its indices', () => {
    expect(parse(seedOf('- a\n- b\n').userData)).toEqual({ 0: 'a', 1: 'b' });
  });

  it('can be made to fail in the guest', () => {
    expect(parse(seedOf('', true).userData)).toEqual({ runcmd: ['exit 3'] });
    expect(parse(seedOf('runcmd: [one]', true).userData)).toEqual({ runcmd: ['one', 'exit 3'] });
  });
});

it('is what a real Multipass was recorded to put on the disk of a machine', () => {
  const parts = readFileSync(assetPath('test', 'transcripts', 'multipass', 'seed.txt'), 'utf8').split(
    '#cloud-config\n',
  );
  const [meta, vendor, user, network] = parts.slice(1).map((text) => parse(text));
  const ours = makeSeed({
    ...{
      name: 'mpcp',
      userData: redump('users: [default, {name: root}]\n', false),
      publicKey: 'ssh-rsa K c',
    },
    ...{ timezone: 'Etc/UTC', mac: '52:54:00:51:20:12', interfaces: [], failing: false },
  });
  expect(parse(ours.metaData)).toEqual(meta);
  expect(parse(ours.networkConfig)).toEqual(network);
  // Pollinate is a package of Ubuntu's.
  const { packages, write_files, ...rest } = vendor;
  expect(packages).toEqual(['pollinate']);
  expect(write_files).toHaveLength(1);
  expect({ ...parse(ours.vendorData), ssh_authorized_keys: rest.ssh_authorized_keys }).toEqual(rest);
  expect(parse(ours.userData).users.map(String)).toEqual(user.users.map(String));
});

it('cards that are to be left alone are not in the network, others come after the default one', () => {
  expect(parse(seedOf('').networkConfig).ethernets).toMatchObject({
    extra0: {
      match: { macaddress: '52:54:00:00:00:02' },
      'dhcp4-overrides': { 'route-metric': 200 },
      optional: true,
    },
  });
  expect(seedOf('').networkConfig).not.toContain('extra1');
});

it('the uplink: lab prefixes first, then the mirror, and nothing else', () => {
  const rules = rulesFor({ subnet: '10.97.0.0/24' }, ['192.168.7.8']).map((rule) => rule.join(' '));
  expect(rules).toEqual([
    'to 10.97.0.0/24 lookup main',
    'to 2.2.2.2/32 prohibit',
    'to 5.5.5.5/32 prohibit',
    'to 10.96.0.0/12 prohibit',
    'to 10.255.0.0/16 prohibit',
    'from 10.97.0.0/24 to 192.168.7.8/32 lookup main',
    'prohibit',
  ]);
});
