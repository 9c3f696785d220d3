/**
 * `GET /clients/{id}/jwks`: the keys with which anybody can verify tokens that a client minted.
 *
 * Only an active client that may mint has any, and only keys that are valid now. An unknown client,
 * one that may not mint and one that was revoked have the same answer, an empty set with status 200,
 * so that the endpoint tells nothing but public keys.
 *
 * Units   `max-age` in seconds: how long a revoked client's tokens may outlive it at a verifier that
 *         only asks here.
 * Errors  none.
 * Source  RFC 7517 5; DESIGN 3 (minted tokens).
 *
 * @module
 */
import { type Clock, type NumericDate, parseClientId } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import type { ClientKey, Registry } from '../registry/registry.js';

const CACHE_CONTROL = 'public, max-age=60';

const isValid = ({ notBefore, expiresAt }: ClientKey, now: NumericDate): boolean =>
  (notBefore ?? 0) <= now && (expiresAt ?? Number.POSITIVE_INFINITY) > now;

export function clientJwksEndpoint(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
}): (app: FastifyInstance) => Promise<void> {
  const { registry, clock } = deps;

  const keysOf = async (id: string): Promise<readonly ClientKey[]> => {
    let clientId: ReturnType<typeof parseClientId>;
    try {
      clientId = parseClientId(id);
    } catch {
      return [];
    }
    const client = await registry.client(clientId);
    if (client?.status !== 'active' || !client.mayMint) return [];
    const now = clock.now();
    return client.keys.filter((key) => isValid(key, now));
  };

  return async (app) => {
    app.get<{ Params: { id: string } }>('/clients/:id/jwks', async ({ params }, reply) => {
      const keys = await keysOf(params.id);
      reply.header('cache-control', CACHE_CONTROL);
      return { keys: keys.map(({ kid, jwk }) => ({ ...jwk, kid, use: 'sig', alg: 'EdDSA' })) };
    });
  };
}
