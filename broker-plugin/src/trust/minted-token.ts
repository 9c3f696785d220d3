/**
 * Access tokens that a client minted: signed with its own key while the authority is away.
 *
 * The issuer names the client, the registry knows its keys, and both have to agree with what the
 * token says. Unknown, revoked, not allowed to mint, wrong key and bad signature are one answer at
 * one price.
 *
 * Units   instants as NumericDate, staleness in seconds.
 * Errors  `JwtError`; `UnavailableError` while the registry is not known well enough to say.
 * Source  DESIGN 3 (minted), 8 (feed stale), 9 (I8); RFC 9068 4.
 *
 * @module
 */
import {
  type Clock,
  createPublicKeyCache,
  type FeedClient,
  type FeedKey,
  type Issuer,
  JwtError,
  mintingClientOf,
  type NumericDate,
  type ResourceId,
  UnavailableError,
  verifyParsedAccessToken,
} from '@latchkey/shared';
import type { CompileRights } from '../rights-compiler.js';
import type { TokenVerifier } from '../verify-token.js';
import type { ClientTable } from './client-table.js';
import { isFreshAt } from './freshness.js';

/** The key with which the client may mint now. */
export function findMintingKey(
  client: FeedClient | undefined,
  kid: string | undefined,
  now: NumericDate,
): FeedKey | undefined {
  if (client?.status !== 'active' || !client.mayMint) return undefined;
  return client.keys.find(
    (key) =>
      key.kid === kid &&
      (key.notBefore ?? now) <= now &&
      (key.expiresAt === undefined || now < key.expiresAt),
  );
}

/** Throws unless the registry is known whole, and was heard of lately enough to let a client mint. */
export function assertFresh(
  clients: ClientTable,
  now: NumericDate,
  maxStalenessSeconds: number,
): void {
  if (isFreshAt(clients, now, maxStalenessSeconds)) return;
  const detail = clients.isWhole
    ? 'stale: the trust feed was not heard for too long'
    : 'no whole replica';
  throw new UnavailableError('the rights of the client cannot be had now', { detail });
}

export function createMintedTokens(deps: {
  readonly issuer: Issuer;
  readonly audience: ResourceId;
  readonly clock: Clock;
  readonly compileRights: CompileRights;
  readonly clients: ClientTable;
  readonly maxStalenessSeconds: number;
}): TokenVerifier {
  const { issuer, audience, clock, compileRights, clients, maxStalenessSeconds } = deps;
  const publicKeys = createPublicKeyCache();
  return {
    isFor: (iss) => mintingClientOf(issuer, iss) !== undefined,
    verify: async (jwt, iss) => {
      const now = clock.now();
      assertFresh(clients, now, maxStalenessSeconds);
      const minter = mintingClientOf(issuer, iss);
      const findKey = (kid: string | undefined) => {
        const key =
          minter === undefined ? undefined : findMintingKey(clients.find(minter), kid, now);
        // The registry checked the point when the key was registered (I9), and the feed is signed.
        return key && publicKeys.restore(key);
      };
      const token = await verifyParsedAccessToken(jwt, {
        issuer: iss as Issuer,
        audience,
        now,
        findKey,
      });
      const { clientId, jti, kid, issuedAt, expiresAt, scope } = token;
      if (clientId !== minter) {
        throw new JwtError('claim', 'client_id is not who minted it', { claim: 'client_id' });
      }
      const rights = compileRights(scope.topicScopes, clientId);
      return Object.freeze({ issuer: iss, clientId, jti, kid, issuedAt, expiresAt, rights });
    },
  };
}
