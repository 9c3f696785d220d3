/**
 * Checks a token as a resource server does, with the keys that its issuer publishes.
 *
 * Units   NumericDate.
 * Errors  `UnreachableError` when the keys cannot be fetched.
 * Source  RFC 9068 4, RFC 8414, RFC 7517 5; DESIGN 3 (issued and minted tokens).
 *
 * @module
 */
import {
  discover,
  FormatError,
  type Issuer,
  type IssuerKey,
  importIssuerJwk,
  JwtError,
  TOKEN_ALGORITHMS,
  UnreachableError,
  verifyOwnToken,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { Io } from '../io.js';
import type { DecodedToken } from './decode.js';

export interface Verdict {
  readonly isValid: boolean;
  /** `valid`, a reason of the verifier, or `not-checked`. */
  readonly reason: string;
  readonly detail: string;
}

const jwksSchema = v.object({
  keys: v.array(v.looseObject({ alg: v.optional(v.picklist(TOKEN_ALGORITHMS), 'EdDSA') })),
});

const refuse = (reason: string, detail: string): Verdict => ({ isValid: false, reason, detail });

async function fetchKeys(url: string, io: Io): Promise<readonly IssuerKey[]> {
  const response = await io.http.request({ method: 'GET', url, signal: io.signal });
  if (response.status !== 200) throw new UnreachableError(`${url} answered ${response.status}`);
  try {
    const { keys } = v.parse(jwksSchema, JSON.parse(response.body));
    return keys.flatMap(({ alg, ...jwk }) => {
      try {
        return [importIssuerJwk(alg, jwk)];
      } catch (error) {
        // A key of another kind is one that no token of ours is signed with.
        if (error instanceof FormatError) return [];
        throw error;
      }
    });
  } catch (cause) {
    throw new UnreachableError(`${url} answered with something else than keys`, { cause });
  }
}

/** Where the keys of the token's issuer are: our authority's, or those of a client that mints. */
async function jwksUrlOf(iss: unknown, authority: Issuer, io: Io): Promise<string | undefined> {
  if (iss === authority) return (await discover(io.http, authority, io.signal)).jwks_uri;
  const prefix = `${authority}/clients/`;
  const id = typeof iss === 'string' && iss.startsWith(prefix) ? iss.slice(prefix.length) : '';
  return /^[A-Za-z0-9._:-]+$/.test(id) ? `${prefix}${id}/jwks` : undefined;
}

/** `authority` is never taken from the token itself, which could name anybody. */
export async function judgeToken(
  text: string,
  { claims }: DecodedToken,
  authority: Issuer | undefined,
  io: Io,
): Promise<Verdict> {
  if (authority === undefined) {
    return refuse('not-checked', 'give --authority or --data-dir to have it checked');
  }
  const url = await jwksUrlOf(claims.iss, authority, io);
  if (url === undefined) return refuse('issuer', `it is not of ${authority}`);
  const keys = await fetchKeys(url, io);
  try {
    await verifyOwnToken(text, {
      issuer: claims.iss as Issuer,
      now: io.clock.now(),
      findKey: (kid) => keys.find((key) => key.kid === kid),
      algorithms: TOKEN_ALGORITHMS,
    });
    return {
      isValid: true,
      reason: 'valid',
      detail:
        'signature, type, issuer and times are good; a broker also checks its own audience, and revocation',
    };
  } catch (error) {
    if (error instanceof JwtError) return refuse(error.reason, error.message);
    throw error;
  }
}
