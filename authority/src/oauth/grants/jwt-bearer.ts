/**
 * The jwt-bearer grant: one assertion, spent once, for one access token.
 *
 * Units   NumericDate.
 * Errors  `InvalidRequestError`, `InvalidGrantError`, `InvalidTargetError`, `InvalidScopeError`.
 *         Unknown, revoked, wrong signature and replay give one message; only the holder of the key
 *         learns that its clock is wrong.
 * Source  RFC 7523 2.1 and 3.1; RFC 8707 2; STANDARDS 2.3, whose order the steps follow.
 *
 * @module
 */
import {
  type Clock,
  InvalidGrantError,
  InvalidRequestError,
  InvalidScopeError,
  type Issuer,
  JWT_BEARER_GRANT,
  JwtError,
  type Logger,
  MAX_JWT_BYTES,
  newJti,
  signAccessToken,
  type VerifiedAssertion,
  verifyAssertion,
} from '@latchkey/shared';
import type { FormParameters } from '../../http/form-body.js';
import type { Registry } from '../../registry/registry.js';
import type { SigningKeys } from '../../signing-keys.js';
import { jwtRefusal } from '../jwt-refusal.js';
import { chooseResource } from '../resource.js';
import { grantScope } from '../scope-grant.js';
import type { Grant, NoteClient, TokenAnswer } from './grant.js';

export interface JwtBearerDeps {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
  readonly logger: Logger;
}

const NOT_VALID = 'the assertion is not valid';

export function createJwtBearerGrant(deps: JwtBearerDeps): Grant {
  const { issuer, registry, signingKeys, clock, logger } = deps;

  const verify = async (form: FormParameters, noteClient: NoteClient) => {
    const assertion = form.get('assertion');
    if (assertion === undefined) throw new InvalidRequestError('assertion is missing');
    try {
      return await verifyAssertion(assertion, {
        issuer,
        use: 'grant',
        now: clock.now(),
        findKey: (clientId, kid) => {
          noteClient(clientId);
          return registry.activeKey(clientId, kid);
        },
      });
    } catch (error) {
      throw error instanceof JwtError ? jwtRefusal(error, NOT_VALID) : error;
    }
  };

  const refuseOtherClient = (form: FormParameters, { clientId }: VerifiedAssertion) => {
    if (form.has('client_id') && form.get('client_id') !== clientId) {
      throw new InvalidGrantError(NOT_VALID, { detail: 'client_id names another client' });
    }
  };

  /** After the signature is verified, or strangers could fill the table; before anything is issued. */
  const spend = async (assertion: VerifiedAssertion) => {
    if (!(await registry.spendAssertion(assertion))) {
      throw new InvalidGrantError(NOT_VALID, { detail: `replay of jti ${assertion.jti}` });
    }
  };

  const handle = async (form: FormParameters, noteClient: NoteClient): Promise<TokenAnswer> => {
    const assertion = await verify(form, noteClient);
    refuseOtherClient(form, assertion);
    await spend(assertion);
    const { clientId } = assertion;
    const rights = await registry.rights(clientId);
    if (rights === undefined) {
      throw new InvalidGrantError(NOT_VALID, { detail: 'the client is not active any more' });
    }
    const resource = chooseResource(rights, clientId, form.get('resource'));
    const scope = grantScope(resource.granted, form.get('scope'));
    const issuedAt = clock.now();
    const token = {
      issuer,
      clientId,
      audience: resource.identifier,
      issuedAt,
      expiresAt: issuedAt + resource.tokenTtlSeconds,
      jti: newJti(),
      scope,
    };
    const accessToken = await signAccessToken(signingKeys.active, token);
    if (accessToken.length > MAX_JWT_BYTES) {
      throw new InvalidScopeError('the scope is too long for one token: ask for a part of it');
    }
    logger.info(
      {
        event: 'token.issued',
        clientId,
        kid: assertion.kid,
        jti: token.jti,
        resource: token.audience,
        scope,
        expiresAt: token.expiresAt,
      },
      'token issued',
    );
    return {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: resource.tokenTtlSeconds,
      scope,
    };
  };

  return { grantType: JWT_BEARER_GRANT, handle };
}
