/**
 * Rate limits of the endpoints: per address before anything is read, per client once it has proved who
 * it is, so that nobody can use up the share of another client.
 *
 * Units   none.
 * Errors  `RateLimitedError`.
 * Source  DESIGN 9 (I11).
 *
 * @module
 */
import { isIPv6 } from 'node:net';
import type { ClientId, Clock, Logger } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import { addressOf } from './address.js';
import { createRateLimiter, type RateLimit, RateLimitedError } from './rate-limit.js';

export interface Limits {
  readonly address: RateLimit;
  readonly client: RateLimit;
}

export const DEFAULT_LIMITS: Limits = {
  address: { perSecond: 200, burst: 2000 },
  client: { perSecond: 100, burst: 1000 },
};

export interface RequestLimits {
  /** Holds back the requests of every address to `app`; all such apps share the buckets. */
  limitAddresses(app: FastifyInstance): void;
  /** Counts a request of a client that is authenticated; throws when it has sent too many. */
  limitClient(clientId: ClientId): void;
  /** Throws when a client has sent too many requests, and counts nothing. */
  checkClient(clientId: ClientId): void;
  /** Counts a request of a client that was checked before. */
  countClient(clientId: ClientId): void;
}

/** One host has a whole /64 of IPv6 addresses. */
export function addressKey(address: string): string {
  if (!isIPv6(address)) return address;
  const [before = '', after] = address.replace(/%.*$/, '').split('::');
  const groups = before === '' ? [] : before.split(':');
  const tail = after === undefined || after === '' ? [] : after.split(':');
  const zeros = after === undefined ? 0 : 8 - groups.length - tail.length;
  const all = [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...tail];
  return `${all.slice(0, 4).join(':')}::/64`;
}

export function createRequestLimits(
  limits: Limits,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): RequestLimits {
  const addresses = createRateLimiter(limits.address, { clock });
  const clients = createRateLimiter(limits.client, { clock });
  return {
    limitAddresses: (app) => {
      app.addHook('onRequest', async (request) => {
        const address = addressOf(request);
        try {
          addresses.take(addressKey(address));
        } catch (error) {
          if (error instanceof RateLimitedError) {
            logger.debug({ event: 'request.limited', address }, 'too many requests of an address');
          }
          throw error;
        }
      });
    },
    limitClient: (clientId) => clients.take(clientId),
    checkClient: (clientId) => clients.check(clientId),
    countClient: (clientId) => clients.count(clientId),
  };
}
