/** Finding the keys of another authorization server: RFC 8414 3, OpenID Connect Discovery 4; groups 12, 18. */
import { createHttpClient, generateKey, type HttpClient } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { createIssuerKeys, type IssuerKeys } from '../../broker-plugin/src/trust/jwks.ts';
import { createKeySetDiscovery } from '../../broker-plugin/src/trust/key-set-discovery.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { startThirdParty, type ThirdPartyServer } from '../helpers/third-party.ts';

const OAUTH = '/.well-known/oauth-authorization-server';
const OPENID = '/.well-known/openid-configuration';
const http = createHttpClient({ timeoutMs: 1000, maxBodyBytes: 64 * 1024 });
const locate = ({ issuer }: { readonly issuer: string }, client: HttpClient = http) =>
  createKeySetDiscovery(client, issuer)();

test.each([
  { path: '', metadata: 'oauth', asked: [OAUTH] },
  { path: '', metadata: 'openid', asked: [OAUTH, OPENID] },
  { path: '/', metadata: 'oauth', asked: [OAUTH] },
  { path: '/', metadata: 'openid', asked: [OAUTH, OPENID] },
  { path: '/realms/a', metadata: 'oauth', asked: [`${OAUTH}/realms/a`] },
  { path: '/realms/a', metadata: 'openid', asked: [`${OAUTH}/realms/a`, `/realms/a${OPENID}`] },
  { path: '/oidc/', metadata: 'openid', asked: [`${OAUTH}/oidc`, `/oidc${OPENID}`] },
] as const)('an issuer with path "$path" and $metadata metadata', async (row) => {
  const server = await startThirdParty(createDrivenClock(), row);
  const base = row.path.replace(/\/$/, '');
  expect(await locate(server)).toBe(`${new URL(server.issuer).origin}${base}/keys`);
  expect(server.requests).toEqual(row.asked);
});

type Metadata = Record<string, unknown>;
const saying =
  (metadata: (issuer: string) => Metadata | string, status = 200) =>
  (server: ThirdPartyServer): ThirdPartyServer['answer'] =>
  (path, response) => {
    if (!path.includes('.well-known')) return false;
    const said = metadata(server.issuer);
    response.writeHead(status, { location: '/elsewhere' });
    response.end(typeof said === 'string' ? said : JSON.stringify(said));
    return true;
  };
const good = (issuer: string): Metadata => ({ issuer, jwks_uri: `${issuer}/keys` });

test.each([
  {
    name: 'another issuer',
    answer: saying((issuer) => ({ ...good(issuer), issuer: 'https://x' })),
  },
  {
    name: 'the same issuer with a slash at the end',
    answer: saying((issuer) => ({ ...good(issuer), issuer: `${issuer}/` })),
  },
  { name: 'no issuer', answer: saying((issuer) => ({ ...good(issuer), issuer: undefined })) },
  { name: 'no jwks_uri', answer: saying((issuer) => ({ issuer })) },
  {
    name: 'a jwks_uri that is no URL',
    answer: saying((issuer) => ({ issuer, jwks_uri: '/keys' })),
  },
  { name: 'a page in HTML', answer: saying(() => '<html>') },
  { name: 'a redirect', answer: saying(good, 302) },
  { name: 'status 500', answer: saying(good, 500) },
  { name: 'more than 64 KiB', answer: saying((i) => ({ ...good(i), pad: 'x'.repeat(65_536) })) },
])('metadata with $name are not taken', async ({ answer }) => {
  const server = await startThirdParty(createDrivenClock());
  server.answer = answer(server);
  await expect(locate(server)).rejects.toMatchObject({ name: 'UnreachableError' });
  expect(server.requests).not.toContain('/elsewhere');
});

test('metadata of RFC 8414 that name another issuer do not hide good ones of OpenID', async () => {
  const server = await startThirdParty(createDrivenClock(), { path: '/realms/a' });
  server.answer = (path, response) => {
    if (!path.startsWith(OAUTH)) return false;
    response.end(JSON.stringify(good('https://other.example')));
    return true;
  };
  expect(await locate(server)).toMatch(/\/realms\/a\/keys$/);
});

describe('an issuer on https', () => {
  const issuer = 'https://id.example';
  const answering = (jwksUri: string): HttpClient => ({
    request: async () => ({
      ...{ status: 200, headers: {}, bytes: Buffer.alloc(0) },
      body: JSON.stringify({ issuer, jwks_uri: jwksUri }),
    }),
  });

  test('may have its keys on another host', async () => {
    const client = answering('https://keys.example/jwks');
    expect(await locate({ issuer }, client)).toBe('https://keys.example/jwks');
  });

  test.each([
    'http://id.example/jwks',
    'http://127.0.0.1/jwks',
    'ftp://id.example/jwks',
    'file:///x',
  ])('may not send us to %s', async (uri) => {
    await expect(locate({ issuer }, answering(uri))).rejects.toMatchObject({
      name: 'UnreachableError',
    });
  });
});

describe('keys of a third party', () => {
  const setup = async (): Promise<{
    server: ThirdPartyServer;
    keys: IssuerKeys;
    clock: ReturnType<typeof createDrivenClock>;
  }> => {
    const clock = createDrivenClock();
    const server = await startThirdParty(clock);
    const keys = createIssuerKeys({
      ...{ issuer: server.issuer, locate: createKeySetDiscovery(http, server.issuer) },
      ...{ algorithms: ['RS256', 'ES256'], http, clock, logger: createCapturedLog() },
    });
    return { server, keys, clock };
  };

  test('those of the allowed algorithms are taken', async () => {
    const { keys } = await setup();
    expect((await keys.findKey('key-RS256'))?.alg).toBe('RS256');
    expect((await keys.findKey('key-ES256'))?.alg).toBe('ES256');
    expect(await keys.findKey('key-EdDSA')).toBeUndefined();
    expect(keys.size).toBe(2);
  });

  test('I11: a flood of unknown key ids is one fetch in 30 s', async () => {
    const { server, keys, clock } = await setup();
    const ask = () => Promise.all(Array.from({ length: 200 }, (_, i) => keys.findKey(`x-${i}`)));
    await ask();
    await ask();
    expect(server.fetches).toBe(1);
    await clock.advance(30_000);
    await ask();
    expect(server.fetches).toBe(2);
  });

  test('a set that has nothing for us any more keeps what was there', async () => {
    const { server, keys, clock } = await setup();
    await keys.findKey('key-RS256');
    server.keys = [{ ...generateKey().publicKey.jwk, kid: 'new' }];
    await clock.advance(30_000);
    await expect(keys.findKey('new')).rejects.toMatchObject({ error: 'temporarily_unavailable' });
    expect(keys.findKey('key-RS256')).toMatchObject({ alg: 'RS256' });
  });
});
