/**
 * Rate limits of the endpoints: per address before anything is read, per client once it has proved who
 * it is, so that nobody can use up the share of another client.
 *
 * Units   `retryAfterSeconds`: whole seconds, 1 or more.
 * Errors  `RateLimitedError` (429), with the time after which one more request is allowed.
 * Source  RFC 6585 4 (429), RFC 9110 10.2.3 (Retry-After); DESIGN 9 (I11).
 *
 * @module
 */
import {
  addressKey,
  type ClientId,
  type Clock,
  createRateLimiter,
  type Logger,
  OAuthError,
  type RateLimit,
} from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import { addressOf } from './address.js';

export interface Limits {
  readonly address: RateLimit;
  readonly client: RateLimit;
}

export const DEFAULT_LIMITS: Limits = {
  address: { perSecond: 200, burst: 2000 },
  client: { perSecond: 100, burst: 1000 },
};

/** Too many requests. OAuth has no code for it; this one makes clients wait and try again. */
export class RateLimitedError extends OAuthError {
  readonly error = 'temporarily_unavailable';
  readonly status = 429;
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super('too many requests: wait as long as Retry-After says');
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

function refuse(retryAfterSeconds: number): void {
  if (retryAfterSeconds > 0) throw new RateLimitedError(retryAfterSeconds);
}

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
        const retryAfterSeconds = addresses.take(addressKey(address));
        if (retryAfterSeconds > 0) {
          logger.debug({ event: 'request.limited', address }, 'too many requests of an address');
        }
        refuse(retryAfterSeconds);
      });
    },
    limitClient: (clientId) => refuse(clients.take(clientId)),
    checkClient: (clientId) => refuse(clients.check(clientId)),
    countClient: (clientId) => clients.count(clientId),
  };
}
