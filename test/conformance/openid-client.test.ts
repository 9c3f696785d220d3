/** openid-client, the library that most Node programs use, configured by discovery alone. */
import { JWT_BEARER_GRANT } from '@latchkey/shared';
import * as client from 'openid-client';
import { expect, test } from 'vitest';
import {
  type ListeningAuthority,
  ORDERS,
  startAuthority,
  webKey,
} from '../helpers/listening-authority.ts';
import type { TestService } from '../helpers/oauth-requests.ts';

const options = { execute: [client.allowInsecureRequests], algorithm: 'oauth2' } as const;

const discover = ({ authority }: ListeningAuthority, id: string, auth: client.ClientAuth) =>
  client.discovery(new URL(authority.issuer), id, undefined, auth, {
    ...options,
    execute: [...options.execute],
  });

test.each<{ method: string; auth: (service: TestService) => Promise<client.ClientAuth> }>([
  {
    method: 'private_key_jwt',
    auth: async ({ key }) =>
      client.PrivateKeyJwt({ key: await webKey(key), kid: key.publicKey.kid }),
  },
  { method: 'client_secret_basic', auth: async ({ secret }) => client.ClientSecretBasic(secret) },
  { method: 'client_secret_post', auth: async ({ secret }) => client.ClientSecretPost(secret) },
])('$method: client_credentials, introspection, revocation', async ({ auth }) => {
  const stack = await startAuthority();
  const shop = await discover(stack, 'shop', await auth(stack.shop));
  const api = await discover(stack, 'orders', await auth(stack.orders));
  const granted = await client.clientCredentialsGrant(shop, { resource: ORDERS });
  expect(granted.scope).toBe('orders:read orders:write');
  expect(granted.expiresIn()).toBeGreaterThan(890);
  const { access_token } = granted;
  expect(await client.tokenIntrospection(api, access_token)).toMatchObject({
    active: true,
    client_id: 'shop',
  });
  await client.tokenRevocation(shop, access_token);
  expect(await client.tokenIntrospection(api, access_token)).toEqual({ active: false });
});

test('jwt-bearer', async () => {
  const stack = await startAuthority();
  const device = await discover(stack, 't-42', client.None());
  const assertion = await stack.device.assertion();
  const granted = await client.genericGrantRequest(device, JWT_BEARER_GRANT, { assertion });
  expect(granted.token_type).toBe('bearer');
  await expect(
    client.genericGrantRequest(device, JWT_BEARER_GRANT, { assertion }),
  ).rejects.toMatchObject({ error: 'invalid_grant', status: 400 });
});
