/**
 * A real authorization server of others, oidc-provider: client_credentials with a secret, access tokens
 * as JWTs for the resource asked for, keys that a test can replace.
 *
 * @module
 */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { VerifyingAlgorithm } from '@latchkey/shared';
import { Provider } from 'oidc-provider';
import { onTestFinished } from 'vitest';
import { BROKER } from './issuer-server.ts';
import { makeKey } from './third-party.ts';

/** Seconds from the issue of a token to its end. */
export const OIDC_TOKEN_SECONDS = 900;
const SECRET = 'a-secret-of-the-test-that-is-long-enough';

export interface OidcProvider {
  readonly issuer: string;
  /** A token of the client for the resource, by default the broker. */
  token(request: {
    readonly clientId: string;
    readonly scope?: string;
    readonly resource?: string;
  }): Promise<string>;
  /** Signs with new keys from now on, and publishes no others. */
  rotate(): void;
  /** Ends it: connections are refused. */
  stop(): Promise<void>;
}

/** JWTs are not stored, and the clients are in the configuration: there is nothing to keep. */
class NothingKept {
  async upsert(): Promise<void> {}
  async find(): Promise<undefined> {}
}

/** Clients by id, each with the algorithm of its tokens. */
export async function startOidcProvider(
  clients: Readonly<Record<string, VerifyingAlgorithm>>,
): Promise<OidcProvider> {
  let handle: RequestListener = () => undefined;
  const server = createServer((request, response) => void handle(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const algorithms = [...new Set(Object.values(clients))];
  let generation = 0;

  const rotate = (): void => {
    generation += 1;
    const keys = algorithms.map((alg) => {
      const { privateKey, kid } = makeKey(alg, `${alg}-${generation}`);
      return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
    });
    const provider = new Provider(issuer, {
      clients: Object.keys(clients).map((clientId) => ({
        client_id: clientId,
        client_secret: SECRET,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        id_token_signed_response_alg: algorithms[0],
      })),
      adapter: NothingKept,
      ttl: { ClientCredentials: OIDC_TOKEN_SECONDS },
      enabledJWA: { idTokenSigningAlgValues: algorithms },
      jwks: { keys },
      scopes: ['telemetry:write', 'commands:read', 'other'],
      responseTypes: [],
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => BROKER,
          useGrantedResource: () => true,
          getResourceServerInfo: (
            _context: unknown,
            resource: string,
            { clientId }: { readonly clientId: string },
          ) => ({
            scope: 'telemetry:write commands:read other',
            audience: resource,
            accessTokenTTL: OIDC_TOKEN_SECONDS,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: clients[clientId] } },
          }),
        },
      },
    });
    handle = provider.callback();
  };
  rotate();

  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  onTestFinished(stop);

  return {
    issuer,
    token: async ({ clientId, scope = 'telemetry:write commands:read', resource = BROKER }) => {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`${clientId}:${SECRET}`).toString('base64')}`,
        },
        body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource }),
      });
      const answer = (await response.json()) as { readonly access_token?: string };
      if (answer.access_token === undefined) throw new Error(JSON.stringify(answer));
      return answer.access_token;
    },
    rotate,
    stop,
  };
}
