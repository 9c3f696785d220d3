/**
 * Addresses as limits count them, and networks of them.
 *
 * Units   none.
 * Errors  `FormatError` for a network that cannot be read.
 * Source  RFC 4291 2.2, 2.5.4 (one network has a /64), 2.5.5.2 (IPv4-mapped); RFC 4632 3.1 (CIDR).
 *
 * @module
 */
import { BlockList, isIP, isIPv6 } from 'node:net';
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

/** Whether an address is in one of the networks. Throws `FormatError` for a text that names none. */
export function createNetworkMatcher(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = parseNetwork(network).split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return (given) => {
    const address = plainAddress(given).replace(/%.*$/, '');
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  };
}
