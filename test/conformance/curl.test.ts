/** curl: what an operator types, with a form and with JSON. Secrets go through stdin, never in argv. */
import { execFile } from 'node:child_process';
import { expect, test } from 'vitest';
import { type ListeningAuthority, ORDERS, startAuthority } from '../helpers/listening-authority.ts';

/** Runs curl with options read from stdin; gives the status and the body. */
function curl(url: string, config: readonly string[]): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const args = [
      '--silent',
      '--show-error',
      '--write-out',
      '\n%{http_code}',
      '--config',
      '-',
      url,
    ];
    const child = execFile('curl', args, (error, stdout) => {
      if (error !== null) return reject(error);
      const at = stdout.lastIndexOf('\n');
      const text = stdout.slice(0, at);
      resolve({ status: Number(stdout.slice(at)), body: text === '' ? '' : JSON.parse(text) });
    });
    child.stdin?.end(config.join('\n'));
  });
}

const GRANTED = {
  access_token: expect.any(String),
  token_type: 'Bearer',
  expires_in: 900,
  scope: 'orders:read',
};

test.each<{ name: string; config: (stack: ListeningAuthority) => readonly string[] }>([
  {
    name: 'a form and Basic',
    config: ({ shop }) => [
      `user = "shop:${shop.secret}"`,
      'data-urlencode = "grant_type=client_credentials"',
      `data-urlencode = "resource=${ORDERS}"`,
      'data-urlencode = "scope=orders:read"',
    ],
  },
  {
    name: 'a form alone',
    config: ({ shop }) => [
      'data-urlencode = "grant_type=client_credentials"',
      'data-urlencode = "client_id=shop"',
      `data-urlencode = "client_secret=${shop.secret}"`,
      `data-urlencode = "audience=${ORDERS}"`,
      'data-urlencode = "scope=orders:read"',
    ],
  },
  {
    name: 'JSON',
    config: ({ shop }) => {
      const body = {
        grant_type: 'client_credentials',
        client_id: 'shop',
        client_secret: shop.secret,
        audience: ORDERS,
        scope: 'orders:read',
      };
      return [
        'header = "Content-Type: application/json"',
        `data = ${JSON.stringify(JSON.stringify(body))}`,
      ];
    },
  },
])('a token with $name', async ({ config }) => {
  const stack = await startAuthority();
  const answer = await curl(`${stack.authority.issuer}/token`, config(stack));
  expect(answer).toEqual({ status: 200, body: GRANTED });
});

test('metadata, keys, health and metrics', async () => {
  const { authority } = await startAuthority();
  const { issuer } = authority;
  const metadata = await curl(`${issuer}/.well-known/oauth-authorization-server`, []);
  expect(metadata).toMatchObject({ status: 200, body: { issuer } });
  expect(await curl(`${issuer}/jwks`, [])).toMatchObject({
    status: 200,
    body: { keys: expect.arrayContaining([expect.objectContaining({ kty: 'OKP', alg: 'EdDSA' })]) },
  });
  expect(await curl(`${issuer}/readyz`, [])).toEqual({ status: 200, body: { status: 'ready' } });
});

test('introspection and revocation', async () => {
  const stack = await startAuthority();
  const { issuer } = stack.authority;
  const user = (id: string, secret: string) => `user = "${id}:${secret}"`;
  const { body } = await curl(`${issuer}/token`, [
    user('shop', stack.shop.secret),
    'data = "grant_type=client_credentials"',
  ]);
  const token = `data-urlencode = "token=${(body as { access_token: string }).access_token}"`;
  const ask = () => curl(`${issuer}/introspect`, [user('orders', stack.orders.secret), token]);
  expect(await ask()).toMatchObject({ status: 200, body: { active: true, client_id: 'shop' } });
  const revoked = await curl(`${issuer}/revoke`, [user('shop', stack.shop.secret), token]);
  expect(revoked).toEqual({ status: 200, body: '' });
  expect(await ask()).toEqual({ status: 200, body: { active: false } });
});
