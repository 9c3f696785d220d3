/**
 * Addresses as limits count them, and networks of them.
 *
 * Units   none.
 * Errors  `FormatError` for a network that cannot be read.
 * Source  RFC 4291 2.2, 2.5.4 (one network has a /64), 2.5.5.2 (IPv4-mapped); RFC 4632 3.1 (CIDR).
 *
 * @module
 */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { FormatError } from './errors.js';

/** An IPv4 address that a socket of both families shows as an IPv6 one, as itself. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=[0-9.]+$)/i, '');
}

/** What one host has to itself: an IPv4 address, or a whole /64 of IPv6 addresses. */
export function addressKey(given: string): string {
  const address = plainAddress(given);
  if (!isIPv6(address)) return address;
  const [before = '', after] = address.replace(/%.*$/, '').split('::');
  const groups = before === '' ? [] : before.split(':');
  const tail = after === undefined || after === '' ? [] : after.split(':');
  const zeros = after === undefined ? 0 : 8 - groups.length - tail.length;
  const all = [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...tail];
  return `${all.slice(0, 4).join(':')}::/64`;
}

/** Reads `192.0.2.0/24`, `2001:db8::/32` or one address; the text as it is given. */
export function parseNetwork(text: string, field = 'network'): string {
  const [address = '', prefix, ...more] = text.split('/');
  const family = isIP(address);
  const isPrefix =
    prefix === undefined ||
    (/^(0|[1-9][0-9]{0,2})$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32));
  if (family === 0 || address.includes('%') || !isPrefix || more.length > 0) {
    throw new FormatError(field, 'must be an address or a network such as 10.0.0.0/8');
  }
  return text;
}

/** An IPv4 address as a number; the text must be one. */
function ipv4Number(address: string): number {
  let value = 0;
  let byte = 0;
  for (let i = 0; i < address.length; i += 1) {
    const digit = address.charCodeAt(i) - 48;
    if (digit >= 0) byte = byte * 10 + digit;
    else {
      value = value * 256 + byte;
      byte = 0;
    }
  }
  return value * 256 + byte;
}

/** Whether an address is in one of the networks. Throws `FormatError` for a text that names none. */
export function createNetworkMatcher(networks: readonly string[]): (address: string) => boolean {
  // `BlockList.check` makes an object of each address in the C++ part, so IPv4, which is most, goes
  // without: a network is its first address and the number of addresses that it has.
  const ipv4: { readonly first: number; readonly count: number }[] = [];
  const ipv6 = new BlockList();
  for (const network of networks) {
    const [given = '', prefix] = parseNetwork(network).split('/');
    const hostBits = (isIPv6(given) ? 128 : 32) - Number(prefix ?? (isIPv6(given) ? 128 : 32));
    const address = plainAddress(given);
    if (isIPv4(address) && hostBits <= 32) {
      const count = 2 ** hostBits;
      ipv4.push({ first: Math.floor(ipv4Number(address) / count) * count, count });
    } else {
      ipv6.addSubnet(given, 128 - hostBits, 'ipv6');
    }
  }
  return (given) => {
    const address = plainAddress(given);
    if (isIPv4(address)) {
      const value = ipv4Number(address);
      return ipv4.some(({ first, count }) => value >= first && value < first + count);
    }
    const unzoned = address.replace(/%.*$/, '');
    return isIPv6(unzoned) && ipv6.check(unzoned, 'ipv6');
  };
}
