import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  EXIT,
  HarnessError,
  Interrupted,
  LabError,
  LabFailure,
  messageOf,
  UserError,
} from '../../scripts/shared/errors.ts';
import { assetPath, packageRoot, readAsset } from '../../scripts/shared/files.ts';
import {
  contains,
  firstOf,
  fromNumber,
  isIPv4,
  networkOf,
  nthAddress,
  nthBlock,
  overlaps,
  parseCidr,
  sizeOf,
  toNumber,
} from '../../scripts/shared/ip.ts';
import { macOf } from '../../scripts/shared/labels.ts';

/** A prefix that must parse. */
function cidr(text: string) {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`${text} is no prefix`);
  return parsed;
}

describe('errors', () => {
  it.each([
    [new UserError('x'), 2],
    [new LabFailure('x'), 1],
    [new HarnessError('x'), 4],
    [new Interrupted(), 130],
  ])('%s has its exit code', (error, code) => {
    expect(error.exitCode).toBe(code);
    expect(error).toBeInstanceOf(LabError);
    expect(error.name).toBe(error.constructor.name);
  });

  it('are the codes that the contract names', () => {
    expect(EXIT).toEqual({
      pass: 0,
      wrong: 1,
      userMustAct: 2,
      strict: 3,
      harness: 4,
      bug: 70,
      interrupted: 130,
    });
  });

  it('carry details, the next command and the cause', () => {
    const cause = new Error('below');
    expect(new UserError('x', { details: ['a'], next: 'b', cause })).toMatchObject({
      details: ['a'],
      next: 'b',
      cause,
    });
    expect(new UserError('x')).toMatchObject({ details: [], next: undefined });
    expect('cause' in new UserError('x')).toBe(false);
  });

  it('have a message, whatever was thrown', () => {
    expect([new Error('a'), 'b', undefined, 7].map(messageOf)).toEqual(['a', 'b', 'undefined', '7']);
  });
});

describe('assets', () => {
  it('are found from the package, wherever the command is run', () => {
    expect(existsSync(assetPath('frr', 'daemons'))).toBe(true);
    expect(readAsset('package.json')).toContain('"name": "k8s-bgp-lab"');
    expect(assetPath()).toBe(packageRoot);
  });
});

describe('prefixes', () => {
  it.each(['10.0.0.0/8', '192.168.13.40/24', '2.2.2.2/32', '0.0.0.0/0'])('takes %s', (text) => {
    const { address, length } = cidr(text);
    expect(`${address}/${length}`).toBe(text);
  });

  it.each([
    '10.0.0.0',
    '10.0.0/8',
    '10.0.0.0/33',
    '10.0.0.256/8',
    '010.0.0.1/8',
    '::/0',
    '',
    '0x0a.0.0.0/8',
    ' 10.0.0.0/8',
  ])('refuses %j', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });

  it('counts in unsigned numbers', () => {
    for (const address of ['0.0.0.0', '127.0.0.1', '128.0.0.0', '255.255.255.255']) {
      expect(fromNumber(toNumber(address))).toBe(address);
    }
    expect(toNumber('255.255.255.255')).toBe(2 ** 32 - 1);
    expect(sizeOf(0)).toBe(2 ** 32);
    expect(firstOf(cidr('200.1.2.3/1'))).toBe(2 ** 31);
    expect([isIPv4('10.0.0.1'), isIPv4('10.0.1'), isIPv4('::1')]).toEqual([true, false, false]);
  });

  it('clears host bits', () => {
    expect(networkOf(cidr('192.168.13.40/24'))).toBe('192.168.13.0/24');
    expect(networkOf(cidr('255.255.255.255/0'))).toBe('0.0.0.0/0');
  });

  it('knows what lies in it', () => {
    const net = cidr('192.168.13.40/24');
    expect(['192.168.13.0', '192.168.13.255'].every((each) => contains(net, each))).toBe(true);
    expect(['192.168.12.255', '192.168.14.0'].some((each) => contains(net, each))).toBe(false);
  });

  it('knows what overlaps', () => {
    expect(overlaps(cidr('10.0.0.0/8'), cidr('10.255.0.0/16'))).toBe(true);
    expect(overlaps(cidr('10.255.0.0/16'), cidr('10.0.0.0/8'))).toBe(true);
    expect(overlaps(cidr('10.0.0.0/9'), cidr('10.128.0.0/9'))).toBe(false);
    expect(overlaps(cidr('0.0.0.0/0'), cidr('2.2.2.2/32'))).toBe(true);
  });

  it('hands out addresses and blocks, and no more than there are', () => {
    const net = cidr('10.255.0.0/24');
    expect([nthAddress(net, 0), nthAddress(net, 255)]).toEqual(['10.255.0.0', '10.255.0.255']);
    expect(() => nthAddress(net, 256)).toThrow(RangeError);
    expect(() => nthAddress(net, -1)).toThrow(RangeError);
    expect([0, 3].map((n) => nthBlock(net, 26, n))).toEqual(['10.255.0.0/26', '10.255.0.192/26']);
    expect(() => nthBlock(net, 26, 4)).toThrow('10.255.0.0/24 holds 4 blocks of /26, not 5');
  });
});

describe('a MAC address', () => {
  const many = Array.from({ length: 500 }, (_, index) => macOf('lab', `machine${index}`));

  it('is of QEMU’s range, and another for each machine', () => {
    expect(many.filter((mac) => !/^52:54:00(:[0-9a-f]{2}){3}$/.test(mac))).toEqual([]);
    expect(new Set(many).size).toBe(many.length);
  });

  it('is never of digits only, which YAML 1.1 takes for a number in base 60', () => {
    expect(many.filter((mac) => /^[\d:]+$/.test(mac))).toEqual([]);
  });
});
