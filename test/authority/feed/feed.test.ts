import { dataDirPaths, openSqliteRegistry } from '@latchkey/authority';
import {
  FEED_MEDIA_TYPE,
  feedQuery,
  importIssuerJwk,
  newFeedNonce,
  parseClientId,
  parseResourceId,
  parseRoleName,
  type TokenAlgorithm,
  verifyFeedPage,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { createNetworkReader, type NetworkReader } from '../../helpers/feed-reader.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

const RESOURCE = parseResourceId(BROKER);

async function get(
  { authority, operatorToken }: TestAuthority,
  query: URLSearchParams | string,
  authorization?: string,
) {
  return authority.app.inject({
    url: `/feed?${query}`,
    headers: { authorization: authorization ?? `Bearer ${await operatorToken()}` },
  });
}

/** Keys as anybody gets them, from the JWKS. */
async function jwks({ authority }: TestAuthority) {
  const { keys } = (await authority.app.inject('/jwks')).json() as {
    keys: { alg: TokenAlgorithm }[];
  };
  return keys.map((jwk) => importIssuerJwk(jwk.alg, jwk));
}

function readerOf(authority: TestAuthority, resource = RESOURCE): NetworkReader {
  return createNetworkReader({
    issuer: authority.issuer,
    resource,
    trusted: () => jwks(authority),
    fetchPage: async (query) => {
      const response = await get(authority, query);
      expect(response.statusCode).toBe(200);
      return response.rawPayload;
    },
  });
}

async function setup(devices: readonly string[] = ['t-1', 't-2']) {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  for (const id of devices) await addDevice(authority, id);
  return { authority, reader: readerOf(authority) };
}

const shown = ({ replica }: NetworkReader) =>
  [...replica.values()].map(({ id, status, scope }) => [id, status, scope === '' ? '' : 'scope']);

describe('a snapshot', () => {
  test('tells of every client what a broker needs', async () => {
    const { authority, reader } = await setup();
    const page = await reader.read();
    expect(page).toMatchObject({
      ...{ issuer: authority.issuer, resource: RESOURCE, kind: 'snapshot', from: 0, afterId: '' },
      ...{ hasMore: false, issuedAt: authority.clock.now() },
    });
    const { keys } = (await authority.registry.client(parseClientId('t-1')))!;
    expect(reader.replica.get(parseClientId('t-1'))).toEqual({
      ...{ id: 't-1', kind: 'device', status: 'active', mayMint: false, tokensNotBefore: 0 },
      keys: [{ kid: keys[0]!.kid, jwk: keys[0]!.jwk, notBefore: undefined, expiresAt: undefined }],
      scope: 'sub;qos=1:devices/t-1/commands/+ sub:devices/t-1/config pub:devices/t-1/telemetry/#',
    });
    expect(reader.replica.get(parseClientId('operator'))).toMatchObject({
      ...{ kind: 'service', status: 'active', scope: '' },
    });
    expect(reader.issuerKeys).toEqual(await jwks(authority));
  });

  test('gives the rights that the token endpoint gives', async () => {
    const { authority, reader } = await setup([]);
    const device = await addDevice(authority, 't-9');
    const { body } = await authority.token(await device.assertion());
    await reader.read();
    expect(reader.replica.get(device.clientId)?.scope).toBe((body as { scope: string }).scope);
  });

  test('is of one resource', async () => {
    const { authority } = await setup();
    await authority.api('POST', '/resources', {
      identifier: 'mqtts://other.example',
      kind: 'mqtt',
    });
    const reader = readerOf(authority, parseResourceId('mqtts://other.example'));
    await reader.read();
    expect(shown(reader)).toContainEqual(['t-1', 'active', '']);
  });

  test('comes in pages, and what changes while it is read is told again', async () => {
    const { authority, reader } = await setup([]);
    await authority.registry.createRole({ name: parseRoleName('r'), permissions: [] });
    for (let i = 0; i < 1200; i += 1) {
      const id = parseClientId(`c-${String(i).padStart(4, '0')}`);
      const labels = new Map();
      await authority.registry.createClient({
        id,
        kind: 'device',
        roles: [],
        labels,
        key: undefined,
      });
    }
    expect(await reader.read()).toMatchObject({ hasMore: true, clients: { length: 500 } });
    expect(reader.replica.size).toBe(0);
    await authority.registry.setClientStatus(parseClientId('c-0000'), 'suspended');
    await authority.registry.deleteClient(parseClientId('c-0001'));
    await authority.registry.deleteClient(parseClientId('c-1100'));
    await addDevice(authority, 'a-new');
    await reader.catchUp();
    expect(reader.replica.size).toBe(1200);
    await reader.catchUp();
    expect(reader.replica.size).toBe(1200);
    expect(reader.replica.get(parseClientId('c-0000'))?.status).toBe('suspended');
    expect(reader.replica.has(parseClientId('c-0001'))).toBe(false);
    expect(reader.replica.has(parseClientId('a-new'))).toBe(true);
  });
});

describe('changes', () => {
  const T1 = parseClientId('t-1');
  const patch = (sql: string) => (authority: TestAuthority) => execSql(authority, sql);

  test.each<{ name: string; make: (authority: TestAuthority) => unknown; client: object }>([
    {
      name: 'suspension: no keys and no rights',
      make: ({ registry }) => registry.setClientStatus(T1, 'suspended'),
      client: { status: 'suspended', keys: [], scope: '' },
    },
    {
      name: 'revocation: tokens of before are void',
      make: ({ registry }) => registry.setClientStatus(T1, 'revoked'),
      client: { status: 'revoked', tokensNotBefore: 1_760_000_000 },
    },
    {
      name: 'minting allowed',
      make: ({ registry }) => registry.patchClient(T1, { mayMint: true }),
      client: { mayMint: true },
    },
    {
      name: 'tokens voided',
      make: ({ registry }) => registry.patchClient(T1, { tokensNotBefore: 1_760_000_007 }),
      client: { tokensNotBefore: 1_760_000_007 },
    },
    {
      name: 'a role taken away',
      make: ({ registry }) => registry.patchClient(T1, { roles: [] }),
      client: { scope: '' },
    },
    {
      name: 'a permission taken from the role',
      make: ({ registry }) =>
        registry.patchRole(parseRoleName('thermostat'), { permissions: ['commands' as never] }),
      client: { scope: 'sub;qos=1:devices/t-1/commands/+ sub:devices/t-1/config' },
    },
    {
      name: 'scopes of a permission',
      make: ({ registry }) =>
        registry.patchPermission('telemetry' as never, { scopes: ['pub:x/{client_id}'] }),
      client: { scope: 'sub;qos=1:devices/t-1/commands/+ sub:devices/t-1/config pub:x/t-1' },
    },
    {
      name: 'a label',
      make: ({ registry }) => registry.patchClient(T1, { labels: new Map([['site', 'berlin']]) }),
      client: {},
    },
    {
      name: 'a key that ends',
      make: patch("UPDATE client_key SET expires_at = 1760000099 WHERE client = 't-1'"),
      client: { keys: [expect.objectContaining({ expiresAt: 1_760_000_099 })] },
    },
    {
      name: 'a key removed',
      make: patch("DELETE FROM client_key WHERE client = 't-1'"),
      client: { keys: [] },
    },
    {
      name: 'any column, by whatever statement',
      make: patch("UPDATE OR IGNORE client SET may_mint = 1 WHERE id = 't-1'"),
      client: { mayMint: true },
    },
    {
      name: 'an insert that ignores conflicts',
      make: patch(
        "INSERT OR IGNORE INTO client_label (client, key, value) VALUES ('t-1', 'a', 'b')",
      ),
      client: {},
    },
  ])('$name', async ({ make, client }) => {
    const { authority, reader } = await setup();
    await reader.read();
    await make(authority);
    const page = await reader.read();
    expect(page).toMatchObject({ kind: 'changes', hasMore: false });
    expect(page.clients.find(({ id }) => id === 't-1')).toMatchObject({ id: 't-1', ...client });
    const fresh = readerOf(authority);
    await fresh.read();
    expect(reader.replica).toEqual(fresh.replica);
  });

  test('a deleted client is told of once, and is in no snapshot', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    await authority.registry.deleteClient(T1);
    expect((await reader.read()).clients).toEqual([
      expect.objectContaining({
        id: 't-1',
        kind: 'device',
        status: 'deleted',
        keys: [],
        scope: '',
      }),
    ]);
    expect((await reader.read()).clients).toEqual([]);
    const fresh = readerOf(authority);
    await fresh.read();
    expect(fresh.replica.has(T1)).toBe(false);
  });

  test('a thousand changes of one client are one', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    for (let i = 1; i <= 1000; i += 1) {
      await authority.registry.setClientStatus(T1, i % 2 === 0 ? 'active' : 'suspended');
    }
    const page = await reader.read();
    expect(page.clients).toHaveLength(1);
    expect(page.to - page.from).toBeGreaterThanOrEqual(1000);
  });

  test('a reader that was away catches up in pages', async () => {
    const { authority, reader } = await setup([]);
    await reader.read();
    for (let i = 0; i < 1100; i += 1) {
      const [id, labels] = [parseClientId(`c-${i}`), new Map()];
      await authority.registry.createClient({
        id,
        kind: 'device',
        roles: [],
        labels,
        key: undefined,
      });
    }
    expect(await reader.read()).toMatchObject({ kind: 'changes', hasMore: true });
    await reader.catchUp();
    expect(reader.replica.size).toBe(1101);
  });

  test('what did not happen is not told', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    const before = reader.position;
    await authority.api('POST', '/devices', { client_id: 't-1', roles: ['thermostat'] });
    await expect(authority.registry.deleteClient(parseClientId('none'))).rejects.toThrow();
    await reader.read();
    expect(reader.position).toEqual(before);
  });
});

describe('a reader of another history', () => {
  test('gets a snapshot after a restore from a backup, and replaces its replica', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    await authority.registry.renewFeed();
    expect(await reader.read()).toMatchObject({ kind: 'snapshot' });
    expect(reader.position).toMatchObject({ at: 'changes' });
  });

  test('gets a snapshot when it is ahead of the registry', async () => {
    const { authority, reader } = await setup();
    const { to, feedId } = await reader.read();
    const query = feedQuery({
      ...{ resource: RESOURCE, nonce: newFeedNonce() },
      position: { at: 'changes', feedId, sequence: to + 1 },
    });
    const { rawPayload } = await get(authority, query);
    const page = await verifyFeedPage(rawPayload, (kid) =>
      reader.issuerKeys.find((key) => key.kid === kid),
    );
    expect(page).toMatchObject({ kind: 'snapshot', to, afterId: '' });
  });

  test('begins again in the middle of a snapshot', async () => {
    const { authority } = await setup();
    const nonce = newFeedNonce();
    const position = { at: 'snapshot', feedId: '0'.repeat(32), sequence: 1, afterId: 'm' } as const;
    const { rawPayload } = await get(authority, feedQuery({ resource: RESOURCE, nonce, position }));
    const keys = await jwks(authority);
    const page = await verifyFeedPage(rawPayload, (kid) => keys.find((key) => key.kid === kid));
    expect(page).toMatchObject({ kind: 'snapshot', afterId: '', nonce });
  });

  test('another registry has another feed', async () => {
    const [one, two] = [await setup([]), await setup([])];
    expect((await one.reader.read()).feedId).not.toBe((await two.reader.read()).feedId);
  });
});

describe('a request', () => {
  const good = { after: '0', resource: BROKER, nonce: 'A'.repeat(22) };

  test('is answered as COSE that nobody keeps', async () => {
    const { authority } = await setup([]);
    const response = await get(authority, new URLSearchParams(good));
    expect(response.headers).toMatchObject({
      'content-type': FEED_MEDIA_TYPE,
      'cache-control': 'no-store',
    });
  });

  test.each([
    { name: 'no after', query: { resource: BROKER, nonce: good.nonce } },
    { name: 'a negative after', query: { ...good, after: '-1' } },
    { name: 'a fractional after', query: { ...good, after: '0.5' } },
    { name: 'an after in another spelling', query: { ...good, after: '00' } },
    { name: 'an after that is too large', query: { ...good, after: '9007199254740992' } },
    { name: 'no resource', query: { after: '0', nonce: good.nonce } },
    { name: 'a resource that is no URI', query: { ...good, resource: 'x' } },
    { name: 'an unknown resource', query: { ...good, resource: 'mqtts://none.example' } },
    { name: 'no nonce', query: { after: '0', resource: BROKER } },
    { name: 'a nonce of 21 characters', query: { ...good, nonce: 'A'.repeat(21) } },
    { name: 'a nonce of 87 characters', query: { ...good, nonce: 'A'.repeat(87) } },
    { name: 'a nonce with another character', query: { ...good, nonce: `${'A'.repeat(21)}+` } },
    { name: 'a malformed feed_id', query: { ...good, feed_id: 'x' } },
    { name: 'a malformed snapshot_after', query: { ...good, snapshot_after: '/' } },
    { name: 'a wait of 31 s', query: { ...good, wait: '31' } },
    { name: 'an unknown parameter', query: { ...good, x: '1' } },
  ])('is refused with $name', async ({ query }) => {
    const { authority } = await setup([]);
    const response = await get(authority, new URLSearchParams(query));
    expect(response.statusCode).toBe(400);
    expect(response.headers['content-type']).toContain('application/problem+json');
  });

  test('is refused with a repeated parameter', async () => {
    const { authority } = await setup([]);
    const query = `${new URLSearchParams(good)}&after=1`;
    expect((await get(authority, query)).statusCode).toBe(400);
  });

  test('needs a token with the scope for the feed', async () => {
    const { authority } = await setup([]);
    const query = new URLSearchParams(good);
    const url = `/feed?${query}`;
    expect((await authority.authority.app.inject(url)).statusCode).toBe(401);
    expect((await get(authority, query, 'Bearer x.y.z')).statusCode).toBe(401);
    const api = `${authority.issuer}/api`;
    for (const [id, name] of [
      ['broker', 'feed:read'],
      ['other', 'roles:write'],
    ] as const) {
      await authority.api('POST', '/permissions', { name, resource: api });
      await authority.registry.createRole({
        name: parseRoleName(id),
        permissions: [name as never],
      });
      const device = await addDevice(authority, id, { roles: [] });
      await authority.registry.patchClient(device.clientId, { roles: [parseRoleName(id)] });
      const { body } = await authority.token(await device.assertion(), { resource: api });
      const bearer = `Bearer ${(body as { access_token: string }).access_token}`;
      const { statusCode } = await get(authority, query, bearer);
      expect(statusCode).toBe(name === 'feed:read' ? 200 : 403);
      await authority.registry.setClientStatus(device.clientId, 'suspended');
      expect((await get(authority, query, bearer)).statusCode).toBe(401);
    }
  });
});

describe('waiting', () => {
  /** Lets the authority come to its wait. */
  const waiting = (authority: TestAuthority) => authority.clock.untilSleeping(10_000);

  test('ends with the change, at once when this process made it', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    const answer = reader.read(10);
    await waiting(authority);
    await authority.registry.setClientStatus(parseClientId('t-1'), 'suspended');
    expect((await answer).clients).toMatchObject([{ id: 't-1', status: 'suspended' }]);
  });

  test('ends within 100 ms when another process made the change', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    const answer = reader.read(10);
    await waiting(authority);
    const path = dataDirPaths(authority.dataDir).registry;
    const other = openSqliteRegistry({ path, clock: authority.clock });
    await other.setClientStatus(parseClientId('t-1'), 'suspended');
    await other.close();
    await authority.clock.advance(100);
    expect((await answer).clients).toMatchObject([{ id: 't-1', status: 'suspended' }]);
  });

  test('ends with an empty page when nothing happens', async () => {
    const { authority, reader } = await setup();
    const { to } = await reader.read();
    const answer = reader.read(10);
    await waiting(authority);
    await authority.clock.advance(10_000);
    expect(await answer).toMatchObject({ kind: 'changes', from: to, to, clients: [] });
  });

  test('ends when the signing keys are rotated', async () => {
    const { authority, reader } = await setup();
    await authority.clock.advance(900_000);
    await reader.read();
    const answer = reader.read(10);
    await waiting(authority);
    await authority.signingKeys.rotate({ now: false });
    expect(await answer).toMatchObject({ kind: 'changes', clients: [] });
    expect(reader.issuerKeys).toHaveLength(3);
    expect(reader.issuerKeys).toEqual(await jwks(authority));
  });

  test('ends when the signing keys are replaced: the token is void, a new one reads the new keys', async () => {
    const { authority, reader } = await setup();
    const { to, feedId } = await reader.read();
    const before = reader.issuerKeys.map(({ kid }) => kid);
    const position = { at: 'changes', feedId, sequence: to } as const;
    const query = feedQuery({ resource: RESOURCE, nonce: newFeedNonce(), position }, 10);
    const answer = get(authority, query);
    await waiting(authority);
    await authority.signingKeys.rotate({ now: true });
    expect((await answer).statusCode).toBe(401);
    await reader.read();
    expect(reader.issuerKeys).toEqual(await jwks(authority));
    expect(reader.issuerKeys.some(({ kid }) => before.includes(kid))).toBe(false);
  });

  test('ends with a refusal when the reader was revoked meanwhile', async () => {
    const { authority, reader } = await setup();
    const { to, feedId } = await reader.read();
    const query = feedQuery(
      {
        resource: RESOURCE,
        nonce: newFeedNonce(),
        position: { at: 'changes', feedId, sequence: to },
      },
      10,
    );
    const answer = get(authority, query);
    await waiting(authority);
    execSql(authority, "UPDATE client SET status = 'revoked' WHERE id = 'operator'");
    await authority.clock.advance(100);
    expect((await answer).statusCode).toBe(401);
  });

  test('ends when the authority closes', async () => {
    const { authority, reader } = await setup();
    await reader.read();
    const answer = reader.read(10);
    await waiting(authority);
    const closed = authority.authority.close();
    await Promise.allSettled([answer]);
    await closed;
  });

  test('is for a bounded number of readers', async () => {
    const { authority, reader } = await setup();
    const { to, feedId } = await reader.read();
    const bearer = `Bearer ${await authority.operatorToken()}`;
    const ask = () =>
      get(
        authority,
        feedQuery(
          {
            ...{ resource: RESOURCE, nonce: newFeedNonce() },
            position: { at: 'changes', feedId, sequence: to },
          },
          10,
        ),
        bearer,
      );
    const answers = Array.from({ length: 257 }, ask);
    const { statusCode, headers } = await Promise.race(answers);
    expect([statusCode, headers['retry-after']]).toEqual([503, '5']);
    await authority.clock.advance(10_000);
    const codes = (await Promise.all(answers)).map((response) => response.statusCode);
    expect(codes.filter((code) => code === 200)).toHaveLength(256);
  });
});
