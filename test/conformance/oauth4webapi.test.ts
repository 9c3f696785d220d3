/** oauth4webapi, a strict client library that nobody here wrote, used as its documentation says. */
import { JWT_BEARER_GRANT } from '@latchkey/shared';
import * as oauth from 'oauth4webapi';
import { describe, expect, test } from 'vitest';
import {
  type ListeningAuthority,
  ORDERS,
  startAuthority,
  webKey,
} from '../helpers/listening-authority.ts';
import type { TestService } from '../helpers/oauth-requests.ts';

const insecure = { [oauth.allowInsecureRequests]: true };

async function discover({ authority }: ListeningAuthority): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(authority.issuer);
  const options = { ...insecure, algorithm: 'oauth2' } as const;
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
}

type Method = 'private_key_jwt' | 'client_secret_basic' | 'client_secret_post';
const METHODS: readonly Method[] = ['private_key_jwt', 'client_secret_basic', 'client_secret_post'];

async function clientAuth(method: Method, { key, secret }: TestService): Promise<oauth.ClientAuth> {
  if (method === 'client_secret_basic') return oauth.ClientSecretBasic(secret);
  if (method === 'client_secret_post') return oauth.ClientSecretPost(secret);
  return oauth.PrivateKeyJwt({ key: await webKey(key), kid: key.publicKey.kid });
}

test.each(['', '/tenant/eu'])('discovery of an issuer with the path "%s"', async (path) => {
  const stack = await startAuthority(path);
  const server = await discover(stack);
  const { issuer } = stack.authority;
  expect(server).toMatchObject({
    issuer,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    introspection_endpoint: `${issuer}/introspect`,
    revocation_endpoint: `${issuer}/revoke`,
    grant_types_supported: [JWT_BEARER_GRANT, 'client_credentials'],
    response_types_supported: [],
    token_endpoint_auth_signing_alg_values_supported: ['EdDSA', 'Ed25519'],
  });
  for (const member of ['token', 'introspection', 'revocation']) {
    expect(server[`${member}_endpoint_auth_methods_supported`]).toEqual(
      expect.arrayContaining([...METHODS]),
    );
  }
});

describe.each(METHODS)('%s', (method) => {
  test('client_credentials, introspection and revocation', async () => {
    const stack = await startAuthority();
    const server = await discover(stack);
    const client = { client_id: 'shop' };
    const auth = await clientAuth(method, stack.shop);
    const granted = await oauth.processClientCredentialsResponse(
      server,
      client,
      await oauth.clientCredentialsGrantRequest(
        server,
        client,
        auth,
        { resource: ORDERS, scope: 'orders:read' },
        insecure,
      ),
    );
    expect(granted).toMatchObject({ token_type: 'bearer', expires_in: 900, scope: 'orders:read' });

    const api = { client_id: 'orders' };
    const apiAuth = await clientAuth(method, stack.orders);
    const introspect = async () =>
      oauth.processIntrospectionResponse(
        server,
        api,
        await oauth.introspectionRequest(server, api, apiAuth, granted.access_token, insecure),
      );
    expect(await introspect()).toMatchObject({
      active: true,
      client_id: 'shop',
      aud: ORDERS,
      scope: 'orders:read',
    });

    const revoked = await oauth.revocationRequest(
      server,
      client,
      auth,
      granted.access_token,
      insecure,
    );
    await expect(oauth.processRevocationResponse(revoked)).resolves.toBeUndefined();
    expect(await introspect()).toEqual({ active: false });
  });
});

test('the jwt-bearer grant, without client authentication', async () => {
  const stack = await startAuthority();
  const server = await discover(stack);
  const client = { client_id: 't-42' };
  const assertion = await stack.device.assertion();
  const response = await oauth.genericTokenEndpointRequest(
    server,
    client,
    oauth.None(),
    JWT_BEARER_GRANT,
    { assertion },
    insecure,
  );
  const granted = await oauth.processGenericTokenEndpointResponse(server, client, response);
  expect(granted.scope).toContain('pub:devices/t-42/telemetry/#');
});

test('a resource server validates the token as RFC 9068 says, with the published keys', async () => {
  const stack = await startAuthority();
  const server = await discover(stack);
  const client = { client_id: 'shop' };
  const auth = await clientAuth('client_secret_basic', stack.shop);
  const parameters = { resource: ORDERS };
  const { access_token } = await oauth.processClientCredentialsResponse(
    server,
    client,
    await oauth.clientCredentialsGrantRequest(server, client, auth, parameters, insecure),
  );
  const request = () =>
    new Request('https://orders.example/', {
      headers: { authorization: `Bearer ${access_token}` },
    });
  const claims = await oauth.validateJwtAccessToken(server, request(), ORDERS, insecure);
  expect(claims).toMatchObject({ iss: server.issuer, sub: 'shop', client_id: 'shop' });
  await expect(
    oauth.validateJwtAccessToken(server, request(), 'https://other.example', insecure),
  ).rejects.toMatchObject({ code: oauth.JWT_CLAIM_COMPARISON });
});

describe('a refusal is understood:', () => {
  const ask = async (stack: ListeningAuthority, secret: string, more: Record<string, string>) => {
    const server = await discover(stack);
    const client = { client_id: 'shop' };
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      client,
      oauth.ClientSecretPost(secret),
      more,
      insecure,
    );
    return oauth.processClientCredentialsResponse(server, client, response);
  };

  test.each([
    { error: 'invalid_scope', more: { scope: 'orders:delete' } },
    { error: 'invalid_target', more: { resource: 'https://nowhere.example' } },
  ])('$error', async ({ error, more }) => {
    const stack = await startAuthority();
    await expect(ask(stack, stack.shop.secret, { ...more })).rejects.toMatchObject({
      code: oauth.RESPONSE_BODY_ERROR,
      error,
      status: 400,
    });
  });

  test('a wrong secret is a challenge of status 401', async () => {
    const stack = await startAuthority();
    await expect(ask(stack, 'wrong', {})).rejects.toMatchObject({
      code: oauth.WWW_AUTHENTICATE_CHALLENGE,
      status: 401,
      cause: [{ scheme: 'basic', parameters: { realm: 'latchkey' } }],
    });
  });
});
