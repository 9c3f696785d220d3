/** Addresses as limits count them, and networks of them. */

import { BlockList } from 'node:net';
import { addressKey, createNetworkMatcher, FormatError, parseNetwork } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test.each([
  { address: '192.0.2.7', key: '192.0.2.7' },
  // A socket of both families, as most servers open: else all of IPv4 were one host.
  { address: '::ffff:192.0.2.7', key: '192.0.2.7' },
  { address: '::FFFF:192.0.2.8', key: '192.0.2.8' },
  { address: '2001:db8:1:2:3:4:5:6', key: '2001:db8:1:2::/64' },
  { address: '2001:db8:1:2::9', key: '2001:db8:1:2::/64' },
  { address: '2001:db8::1', key: '2001:db8:0:0::/64' },
  { address: '::1', key: '0:0:0:0::/64' },
  { address: 'fe80::1%eth0', key: 'fe80:0:0:0::/64' },
])('an address $address is counted as $key', ({ address, key }) => {
  expect(addressKey(address)).toBe(key);
});

test.each(['10.0.0.0/8', '192.0.2.7', '0.0.0.0/0', '192.0.2.7/32', '::/0', 'fd00::/8', '::1/128'])(
  'the network %s is one',
  (text) => {
    expect(parseNetwork(text)).toBe(text);
  },
);

test.each([
  '',
  '/8',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/08',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  '10.0.0/8',
  '::/129',
  'fe80::1%eth0',
  'localhost',
  ' 10.0.0.1',
])('the network "%s" is none', (text) => {
  expect(() => parseNetwork(text)).toThrow(FormatError);
  expect(() => createNetworkMatcher([text])).toThrow(FormatError);
});

test.each([
  { address: '10.0.0.0', isIn: true },
  { address: '10.255.255.255', isIn: true },
  { address: '::ffff:10.1.2.3', isIn: true },
  { address: '9.255.255.255', isIn: false },
  { address: '11.0.0.0', isIn: false },
  { address: '192.0.2.7', isIn: true },
  { address: '192.0.2.8', isIn: false },
  { address: 'fd00::1', isIn: true },
  { address: 'fd00::1%eth0', isIn: true },
  { address: 'fe00::1', isIn: false },
  { address: 'localhost', isIn: false },
  { address: '', isIn: false },
])('$address is in 10.0.0.0/8, 192.0.2.7 or fd00::/8: $isIn', ({ address, isIn }) => {
  expect(createNetworkMatcher(['10.0.0.0/8', '192.0.2.7', 'fd00::/8'])(address)).toBe(isIn);
});

test('no network has no address in it', () => {
  expect(createNetworkMatcher([])('127.0.0.1')).toBe(false);
});

test.each([
  { network: '::ffff:10.0.0.0/104', address: '10.9.9.9', isIn: true },
  { network: '::ffff:10.0.0.0/104', address: '11.0.0.0', isIn: false },
  { network: '::ffff:10.0.0.7', address: '10.0.0.7', isIn: true },
  { network: '::ffff:10.0.0.7', address: '10.0.0.8', isIn: false },
  { network: '255.255.255.255', address: '255.255.255.255', isIn: true },
  { network: '255.255.255.255', address: '255.255.255.254', isIn: false },
  { network: '::1', address: '::1', isIn: true },
  { network: '::1', address: '::2', isIn: false },
])('$address is in $network: $isIn', ({ network, address, isIn }) => {
  expect(createNetworkMatcher([network])(address)).toBe(isIn);
});

test('an IPv4 address is in a network when BlockList of Node says so', () => {
  const byte = fc.constantFrom(0, 1, 10, 127, 128, 192, 254, 255);
  const address = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
  fc.assert(
    fc.property(address, fc.integer({ min: 0, max: 32 }), address, (network, prefix, asked) => {
      const list = new BlockList();
      list.addSubnet(network, prefix, 'ipv4');
      const isIn = createNetworkMatcher([`${network}/${prefix}`])(asked);
      expect(isIn).toBe(list.check(asked, 'ipv4'));
    }),
  );
});
