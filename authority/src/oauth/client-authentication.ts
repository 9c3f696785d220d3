/**
 * Client authentication: who sends a request to the token, introspection or revocation endpoint.
 *
 * Credentials that are present are always verified, needed or not, and only one kind of them may be.
 *
 * Units   NumericDate.
 * Errors  `InvalidClientError` with one message for unknown, suspended, revoked, wrong secret, bad
 *         signature and replay; only the holder of a key learns that its clock is wrong.
 *         `InvalidRequestError` for a request that cannot be understood.
 * Source  RFC 6749 2.3 and 5.2, RFC 7521 4.2, RFC 7523 2.2 and 3.2; STANDARDS 2.1 and 2.3.
 *
 * @module
 */
import {
  CLIENT_ASSERTION_TYPE,
  type ClientId,
  type Clock,
  InvalidClientError,
  InvalidRequestError,
  type Issuer,
  JwtError,
  type Kid,
  parseClientId,
  verifyAssertion,
} from '@latchkey/shared';
import type { RequestParameters } from '../http/parameters.js';
import type { Registry } from '../registry/registry.js';
import { readBasicCredentials, type SentCredentials } from './basic-credentials.js';
import { jwtRefusal } from './jwt-refusal.js';

/** As RFC 8414 metadata names them. */
export const CLIENT_AUTHENTICATION_METHODS = [
  'private_key_jwt',
  'client_secret_basic',
  'client_secret_post',
] as const;
type Method = (typeof CLIENT_AUTHENTICATION_METHODS)[number];

/** Tells the endpoint which client the request names as soon as it is known, for the log. */
export type NoteClient = (clientId: ClientId) => void;

export interface AuthenticatedClient {
  readonly clientId: ClientId;
  /** The key that signed the assertion; `undefined` for a secret. */
  readonly kid: Kid | undefined;
}

export interface ClientRequest {
  /** The Authorization header. */
  readonly authorization: string | undefined;
  readonly parameters: RequestParameters;
  readonly noteClient: NoteClient;
}

export interface ClientAuthentication {
  /** `undefined` when the request has no credentials; a `client_id` alone is none. */
  authenticate(request: ClientRequest): Promise<AuthenticatedClient | undefined>;
  /** For endpoints that strangers may not use. */
  require(request: ClientRequest): Promise<AuthenticatedClient>;
}

const FAILED = 'client authentication failed';
/** Whose secret is compared for an id that cannot be one, so that it takes as long; the result is not used. */
const NOBODY = parseClientId('0');

function methodsOf({ authorization, parameters }: ClientRequest): readonly Method[] {
  const hasAssertion =
    parameters.has('client_assertion') || parameters.has('client_assertion_type');
  return CLIENT_AUTHENTICATION_METHODS.filter(
    (method) =>
      ({
        private_key_jwt: hasAssertion,
        client_secret_basic: authorization !== undefined,
        client_secret_post: parameters.has('client_secret'),
      })[method],
  );
}

/** RFC 7521 4.2.1 wants `invalid_client` when one of them is an assertion, RFC 6749 5.2 the other. */
function refuseSeveral(methods: readonly Method[]): void {
  if (methods.length < 2) return;
  const message = `the request has more than one kind of client authentication: ${methods.join(', ')}`;
  if (methods.includes('private_key_jwt')) throw new InvalidClientError(message);
  throw new InvalidRequestError(message);
}

/** RFC 7521 4.2: `client_id` is not needed beside other credentials, but must name the same client. */
function refuseOtherClientId(parameters: RequestParameters, clientId: string): void {
  if (parameters.has('client_id') && parameters.get('client_id') !== clientId) {
    throw new InvalidClientError(FAILED, { detail: 'client_id names another client' });
  }
}

function clientIdOf(text: string): ClientId | undefined {
  try {
    return parseClientId(text);
  } catch {
    return undefined;
  }
}

export function createClientAuthentication(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly clock: Clock;
}): ClientAuthentication {
  const { issuer, registry, clock } = deps;

  const bySecret = async ({ id, secret }: SentCredentials, { noteClient }: ClientRequest) => {
    const clientId = clientIdOf(id);
    if (clientId !== undefined) noteClient(clientId);
    // The registry compares hashes even for a client that it does not have.
    const isGood = await registry.verifySecret(clientId ?? NOBODY, secret);
    if (clientId === undefined || !isGood) {
      throw new InvalidClientError(FAILED, { detail: 'unknown client or wrong secret' });
    }
    return { clientId, kid: undefined };
  };

  const byBasic = async (request: ClientRequest) => {
    const credentials = readBasicCredentials(request.authorization ?? '');
    if (credentials === undefined) {
      throw new InvalidClientError(FAILED, { detail: 'the authorization header is malformed' });
    }
    refuseOtherClientId(request.parameters, credentials.id);
    return bySecret(credentials, request);
  };

  const byPost = async (request: ClientRequest) => {
    const id = request.parameters.get('client_id');
    if (id === undefined) throw new InvalidRequestError('client_id is missing');
    return bySecret({ id, secret: request.parameters.get('client_secret') ?? '' }, request);
  };

  const verifyClientAssertion = async (assertion: string, noteClient: NoteClient) => {
    try {
      return await verifyAssertion(assertion, {
        issuer,
        use: 'client-authentication',
        now: clock.now(),
        findKey: (clientId, kid) => {
          noteClient(clientId);
          return registry.activeKey(clientId, kid);
        },
      });
    } catch (error) {
      throw error instanceof JwtError ? jwtRefusal(error, FAILED, InvalidClientError) : error;
    }
  };

  const byAssertion = async ({ parameters, noteClient }: ClientRequest) => {
    const assertion = parameters.get('client_assertion');
    if (assertion === undefined) throw new InvalidRequestError('client_assertion is missing');
    if (parameters.get('client_assertion_type') !== CLIENT_ASSERTION_TYPE) {
      throw new InvalidRequestError(`client_assertion_type must be ${CLIENT_ASSERTION_TYPE}`);
    }
    const verified = await verifyClientAssertion(assertion, noteClient);
    const { clientId, kid, jti } = verified;
    refuseOtherClientId(parameters, clientId);
    // Last, or strangers could spend what they do not hold; before anything is answered (I6).
    if (!(await registry.spendAssertion(verified))) {
      throw new InvalidClientError(FAILED, { detail: `replay of jti ${jti}` });
    }
    return { clientId, kid };
  };

  const byMethod: Readonly<
    Record<Method, (request: ClientRequest) => Promise<AuthenticatedClient>>
  > = {
    private_key_jwt: byAssertion,
    client_secret_basic: byBasic,
    client_secret_post: byPost,
  };

  const authenticate = async (request: ClientRequest) => {
    const methods = methodsOf(request);
    refuseSeveral(methods);
    const [method] = methods;
    return method && byMethod[method](request);
  };

  return {
    authenticate,
    require: async (request) => {
      const client = await authenticate(request);
      if (client === undefined) throw new InvalidClientError('client authentication is required');
      return client;
    },
  };
}
