/**
 * The address that a request comes from: the socket's, or what a trusted proxy says it is.
 *
 * Units   none.
 * Errors  none.
 * Source  RFC 4291 2.5.5.2 (IPv4-mapped addresses).
 *
 * @module
 */
import { plainAddress } from '@latchkey/shared';
import type { FastifyRequest } from 'fastify';

/** Which proxies are trusted is a setting of the server. */
export function addressOf({ ip }: FastifyRequest): string {
  return plainAddress(ip);
}
