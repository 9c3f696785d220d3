/**
 * `POST /key-rotation`: a client replaces its key by itself. The old key vouches for the new one, which
 * proves that it is held; both are valid until `POST /key-rotation/finish`, by the new key, ends the old.
 *
 * Both may be sent again after an answer was lost. The new key lives no longer than the old one would
 * have: what an operator bounded stays bounded.
 *
 * Units   NumericDate.
 * Errors  `invalid_request` for a key that cannot be registered and while another rotation is under way;
 *         `invalid_grant` for a voucher or proof that is refused, `invalid_client` for the finish.
 * Source  RFC 7523 2.2 and 3, RFC 7800 3.2; DESIGN 9 (I6, I9). The endpoint is ours.
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  FormatError,
  InvalidGrantError,
  InvalidRequestError,
  type Issuer,
  JwtError,
  type Kid,
  type Logger,
  UnavailableError,
  type VerifiedKeyRotation,
  verifyKeyRotation,
} from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Audit } from '../audit/audit.js';
import { type Attempt, auditChanges } from '../audit/request-audit.js';
import {
  acceptForm,
  acceptJsonParameters,
  type RequestParameters,
  readParameters,
} from '../http/parameters.js';
import type { RequestLimits } from '../http/request-limits.js';
import { MAX_OAUTH_BODY_BYTES } from '../http/server.js';
import { MissingError, VersionError } from '../registry/lifecycle.js';
import { type Client, ConflictError, type Registry } from '../registry/registry.js';
import type { ClientAuthentication } from './client-authentication.js';
import { createOAuthErrorHandler } from './error-reply.js';
import { jwtRefusal } from './jwt-refusal.js';

const NOT_VALID = 'voucher or proof is not valid for this client and authority';
const NOT_THE_NEW_KEY = 'the key is not the new one of a rotation';
const UNDER_WAY =
  'another rotation of this client is under way: an operator has to finish or cancel it';

const describeRotation = ({ auditFacts, url }: FastifyRequest): Attempt => ({
  type: 'key-rotation',
  action: url.endsWith('/finish') ? 'finish' : 'start',
  target: undefined,
  ...auditFacts,
});

/** A change that came to nothing because of another one at the same time. */
async function orRefused<Result>(change: Promise<Result>, message: string): Promise<Result> {
  try {
    return await change;
  } catch (error) {
    if (error instanceof VersionError) {
      throw new UnavailableError('the client was changed meanwhile: try again');
    }
    if (error instanceof ConflictError || error instanceof MissingError) {
      throw new InvalidGrantError(message, { detail: error.message });
    }
    throw error;
  }
}

function needed(parameters: RequestParameters, name: string): string {
  const value = parameters.get(name);
  if (value === undefined) throw new InvalidRequestError(`${name} is missing`);
  return value;
}

export function keyRotationEndpoint(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
  /** Counts against the client's limit. */
  readonly authentication: Pick<ClientAuthentication, 'require'>;
  readonly limits: Pick<RequestLimits, 'limitClient'>;
  readonly clock: Clock;
  readonly audit: Audit;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { issuer, registry, authentication, limits, clock, audit, logger } = deps;

  const verify = async (request: FastifyRequest): Promise<VerifiedKeyRotation> => {
    const parameters = readParameters(request);
    const voucher = needed(parameters, 'voucher');
    const proof = needed(parameters, 'proof');
    const findKey = (clientId: ClientId, kid: string | undefined) => {
      request.clientId = clientId;
      return registry.activeKey(clientId, kid);
    };
    try {
      return await verifyKeyRotation({ voucher, proof }, { issuer, now: clock.now(), findKey });
    } catch (error) {
      if (error instanceof FormatError) throw new InvalidRequestError(error.message);
      throw error instanceof JwtError ? jwtRefusal(error, NOT_VALID) : error;
    }
  };

  const activeClient = async (id: ClientId, message: string): Promise<Client> => {
    const client = await registry.client(id);
    if (client?.status === 'active') return client;
    throw new InvalidGrantError(message, { detail: 'the client is not active any more' });
  };

  const start = async ({ assertion, newKey: key }: VerifiedKeyRotation): Promise<void> => {
    const { clientId, kid: oldKid } = assertion;
    const client = await activeClient(clientId, NOT_VALID);
    const { keyRotation, version } = client;
    if (keyRotation?.old === oldKid && keyRotation.new === key.kid) return; // asked again
    if (keyRotation !== undefined) throw new InvalidRequestError(UNDER_WAY);
    const expiresAt = client.keys.find(({ kid }) => kid === oldKid)?.expiresAt;
    // Of the version that was looked at: it is still active, and has both the old key and its end.
    const rotation = { key, oldKid, expiresAt };
    const change = registry.startKeyRotation(clientId, rotation, { versions: [version] });
    await orRefused(change, 'the new key cannot be registered');
    logger.info({ event: 'key-rotation.started', clientId, kid: key.kid, oldKid }, 'key added');
  };

  const finish = async (clientId: ClientId, kid: Kid): Promise<void> => {
    const { keyRotation, version } = await activeClient(clientId, NOT_THE_NEW_KEY);
    if (keyRotation === undefined) return; // asked again: the key that asks is registered
    if (keyRotation.new !== kid) {
      throw new InvalidGrantError(NOT_THE_NEW_KEY, { detail: 'it is the old one, or neither' });
    }
    const change = registry.endKeyRotation(clientId, 'finish', { versions: [version] });
    await orRefused(change, NOT_THE_NEW_KEY);
    const oldKid = keyRotation.old;
    logger.info({ event: 'key-rotation.finished', clientId, kid, oldKid }, 'old key ended');
  };

  return async (app) => {
    acceptForm(app);
    acceptJsonParameters(app);
    app.setErrorHandler(createOAuthErrorHandler({ logger, event: 'key-rotation.refused' }));
    auditChanges(app, { audit, log: registry, logger, describe: describeRotation });
    const options = { bodyLimit: MAX_OAUTH_BODY_BYTES };

    app.post('/key-rotation', options, async (request, reply) => {
      const rotation = await verify(request);
      const { assertion, newKey } = rotation;
      const { clientId, jti } = assertion;
      limits.limitClient(clientId);
      request.auditFacts = { actor: clientId, kid: newKey.kid };
      // Before anything is answered: of any number of requests with it, one is heard (I6).
      if (!(await registry.spendAssertion(assertion))) {
        throw new InvalidGrantError(NOT_VALID, { detail: `replay of jti ${jti}` });
      }
      await start(rotation);
      reply.code(201).header('cache-control', 'no-store');
      return { client_id: clientId, kid: newKey.kid };
    });

    app.post('/key-rotation/finish', options, async (request, reply) => {
      const { clientId, kid } = await authentication.require({
        authorization: request.headers.authorization,
        parameters: readParameters(request),
        noteClient: (id) => {
          request.clientId = id;
        },
      });
      request.auditFacts = { actor: clientId, ...(kid && { kid }) };
      if (kid === undefined) {
        throw new InvalidGrantError(NOT_THE_NEW_KEY, { detail: 'it is a secret' });
      }
      await finish(clientId, kid);
      reply.header('cache-control', 'no-store');
      return { client_id: clientId, kid };
    });
  };
}
