/** Tokens of other authorization servers: STANDARDS 6, groups 1 to 4, 9, 10, 14 and 16; I7. */
import { createPublicKey } from 'node:crypto';
import type { LatchkeyOptions, ThirdPartyIssuerOptions } from '@latchkey/broker-plugin';
import { createKeySigner, signAccessToken, type VerifyingAlgorithm } from '@latchkey/shared';
import type { IConnackPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { createMemoryClients, feedClient, type MemoryClients } from '../helpers/memory-clients.ts';
import { publishPacket, subscribePacket, type WireClient } from '../helpers/mqtt-wire.ts';
import {
  makeKey,
  startThirdParty,
  type ThirdPartyServer,
  type TokenShape,
} from '../helpers/third-party.ts';

interface Setup extends GuardedBroker {
  readonly server: ThirdPartyServer;
  /** Connects as `keycloak:t-42`, or as another client. */
  enter(
    token: string,
    clientId?: string,
  ): Promise<WireClient & { readonly connack: IConnackPacket }>;
}

async function setup(
  changes: Partial<ThirdPartyIssuerOptions> = {},
  options: Partial<LatchkeyOptions> & {
    readonly server?: Parameters<typeof startThirdParty>[1];
  } = {},
): Promise<Setup> {
  const { server: shape, ...latchkey } = options;
  const server = await startThirdParty({ now: () => broker.clock.now() }, shape);
  const thirdParty: ThirdPartyIssuerOptions = {
    name: 'keycloak',
    issuer: server.issuer,
    algorithms: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    scopeAliases: {
      telemetry: ['pub:devices/{client_id}/telemetry/#'],
      commands: ['sub:devices/{client_id}/commands/+'],
    },
    ...changes,
  };
  const broker: GuardedBroker = await startGuardedBroker({
    options: { thirdPartyIssuers: [thirdParty], ...latchkey },
  });
  const enter: Setup['enter'] = (token, clientId = 'keycloak:t-42') =>
    broker.connect(token, { clientId, username: clientId });
  return Object.assign(broker, { server, enter });
}

test('a good token is accepted, and its rights are those of its aliases', async () => {
  const { server, enter, log, clock, aedes } = await setup();
  const client = await enter(server.token({ claims: { scope: 'telemetry commands email' } }));
  expect(client.connack).toMatchObject({ returnCode: 0 });
  expect(await log.event('connect.accepted')).toMatchObject({
    clientId: 'keycloak:t-42',
    jti: '1',
    expiresAt: clock.now() + 900,
  });
  client.send(
    subscribePacket({ 'devices/keycloak:t-42/commands/+': 1, 'devices/t-42/commands/+': 1 }),
  );
  expect(await client.next('suback')).toMatchObject({ granted: [1, 128] });
  client.send(publishPacket('devices/keycloak:t-42/telemetry/x', 1));
  expect(await client.next('puback')).toMatchObject({ messageId: 1 });
  client.send(publishPacket('devices/t-42/telemetry/x', 1, { messageId: 2 }));
  await client.closed;
  expect(client.packets.filter(({ cmd }) => cmd === 'puback')).toHaveLength(1);
  expect(aedes.closed).toBe(false);
});

test.each<VerifyingAlgorithm>(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'])(
  '%s is accepted',
  async (alg) => {
    const { server, enter } = await setup();
    expect((await enter(server.token({ alg }))).connack).toMatchObject({ returnCode: 0 });
  },
);

test('I7: a client of theirs and a device of ours with the same id are two clients', async () => {
  const { server, enter, issuer, connect } = await setup();
  const theirs = await enter(server.token());
  const ours = await connect(await issuer.token());
  expect([theirs.connack.returnCode, ours.connack.returnCode]).toEqual([0, 0]);
  theirs.send(publishPacket('devices/keycloak:t-42/telemetry/x', 1));
  await theirs.next('puback'); // it was not taken over
});

interface Refusal {
  readonly name: string;
  readonly returnCode?: number;
  readonly options?: Partial<ThirdPartyIssuerOptions>;
  readonly token: (broker: Setup) => string | Promise<string>;
  readonly clientId?: string;
  readonly detail: RegExp;
}
const shaped =
  (shape: TokenShape): Refusal['token'] =>
  ({ server }) =>
    server.token(shape);
const claims = (changes: object) => shaped({ claims: changes });
const PEM = (server: ThirdPartyServer) =>
  createPublicKey(server.keyFor('RS256').privateKey).export({ type: 'spki', format: 'pem' });

const SIGNATURES: readonly Refusal[] = [
  {
    name: 'alg none with an empty signature',
    token: (broker) => `${shapedText(broker, { header: { alg: 'none' } })}.`,
    detail: /^no JWT|malformed/,
  },
  {
    name: 'alg none with a signature',
    token: shaped({ header: { alg: 'none' } }),
    detail: /^algorithm/,
  },
  {
    name: 'a MAC keyed with the public key as PEM',
    token: ({ server }) =>
      server.token({ header: { alg: 'HS256' }, key: Buffer.from(PEM(server) as string) }),
    detail: /^malformed/,
  },
  {
    name: 'HS256 above a signature of the right length',
    token: shaped({ header: { alg: 'HS256' } }),
    detail: /^algorithm/,
  },
  { name: 'rs256', token: shaped({ header: { alg: 'rs256' } }), detail: /^algorithm/ },
  {
    name: 'an algorithm that is not allowed here',
    options: { algorithms: ['ES256'] },
    token: shaped({}),
    detail: /^malformed|^algorithm/,
  },
  {
    name: 'PS256 with the key for RS256',
    token: ({ server }) =>
      server.token({
        ...{ alg: 'PS256', key: server.keyFor('RS256').privateKey, header: { kid: 'key-RS256' } },
      }),
    detail: /^key: the key is of another algorithm/,
  },
  {
    name: 'RS256 with the key for PS256',
    token: ({ server }) =>
      server.token({ key: server.keyFor('PS256').privateKey, header: { kid: 'key-PS256' } }),
    detail: /^key: the key is of another algorithm/,
  },
  {
    name: 'RS256 by name, signed with PS256',
    token: shaped({ header: { alg: 'PS256' } }),
    detail: /^key/,
  },
  {
    name: 'ES256 with the kid of the RSA key',
    token: shaped({ alg: 'ES256', header: { kid: 'key-RS256' } }),
    detail: /^key/,
  },
  {
    name: 'EdDSA with the kid of the P-256 key',
    token: shaped({ alg: 'EdDSA', header: { kid: 'key-ES256' } }),
    detail: /^key/,
  },
  {
    name: 'the kid of a good key and the signature of a stranger',
    token: shaped({ key: makeKey('RS256', 'x').privateKey }),
    detail: /^signature/,
  },
  { name: 'an unknown kid', token: shaped({ header: { kid: 'other' } }), detail: /^key/ },
  { name: 'no kid', token: shaped({ header: { kid: undefined } }), detail: /^key/ },
  { name: 'a kid that is a list', token: shaped({ header: { kid: ['x'] } }), detail: /^header/ },
  {
    name: 'the key in the header',
    token: ({ server }) => {
      const { privateKey, jwk } = makeKey('RS256', 'x');
      return server.token({ key: privateKey, header: { jwk } });
    },
    detail: /^header/,
  },
  {
    name: 'the address of the key in the header',
    token: ({ server }) => server.token({ header: { jku: `${server.issuer}/keys` } }),
    detail: /^header/,
  },
  {
    name: 'the key of our own authority under its kid',
    token: ({ server, issuer }) =>
      server.token({
        ...{ alg: 'EdDSA', key: issuer.key.keyObject, header: { kid: issuer.key.publicKey.kid } },
      }),
    detail: /^key/,
  },
];

function shapedText({ server }: Setup, shape: TokenShape): string {
  return server.token(shape).split('.').slice(0, 2).join('.');
}

const KINDS: readonly Refusal[] = [
  { name: 'typ JWT', token: shaped({ header: { typ: 'JWT' } }), detail: /^type/ },
  { name: 'no typ', token: shaped({ header: { typ: undefined } }), detail: /^type/ },
  {
    name: 'no typ where JWT is accepted',
    options: { types: ['at+jwt', 'JWT'] },
    token: shaped({ header: { typ: undefined } }),
    detail: /^type/,
  },
  {
    name: 'a logout token',
    options: { types: ['JWT', 'absent'] },
    token: shaped({ header: { typ: 'logout+jwt' } }),
    detail: /^type/,
  },
  ...['nonce', 'at_hash', 'c_hash', 's_hash'].map((name) => ({
    name: `an ID token with ${name}, where JWT is accepted`,
    options: { types: ['JWT'] as const },
    token: shaped({ header: { typ: 'JWT' }, claims: { [name]: 'x' } }),
    detail: /^claim/,
  })),
  {
    name: 'an ID token, which is for the client itself',
    returnCode: 5,
    options: { types: ['JWT'] },
    token: shaped({ header: { typ: 'JWT' }, claims: { aud: 't-42' } }),
    detail: /^audience/,
  },
  ...['ID', 'Refresh', 'Offline', 1].map((typ) => ({
    name: `the claim typ ${typ}`,
    token: claims({ typ }),
    detail: /^claim/,
  })),
  {
    name: 'a security event',
    token: claims({ events: { x: {} } }),
    detail: /^claim/,
  },
  {
    name: 'a token that is bound to a key',
    token: claims({ cnf: { jkt: 'x' } }),
    detail: /^claim/,
  },
];

const CLAIMS: readonly Refusal[] = [
  ...['iss', 'sub', 'exp', 'iat', 'client_id'].map((name) => ({
    name: `no ${name}`,
    token: claims({ [name]: undefined }),
    detail: name === 'iss' ? /^malformed|^issuer/ : /^claim/,
  })),
  { name: 'no aud', returnCode: 5, token: claims({ aud: undefined }), detail: /^audience/ },
  {
    name: 'another aud',
    returnCode: 5,
    token: claims({ aud: ['mqtts://other.example'] }),
    detail: /^audience/,
  },
  {
    name: 'an aud list that holds more than text',
    returnCode: 5,
    token: claims({ aud: [BROKER, 1] }),
    detail: /^audience/,
  },
  {
    name: 'our own audience where another is configured',
    returnCode: 5,
    options: { audience: 'mqtt-api' },
    token: shaped({}),
    detail: /^audience/,
  },
  {
    name: 'exp now',
    token: ({ server, clock }) =>
      server.token({ claims: { exp: clock.now(), iat: clock.now() - 9 } }),
    detail: /^expired/,
  },
  { name: 'exp as text', token: claims({ exp: '1900000000' }), detail: /^claim/ },
  { name: 'exp of 1e400', token: claims({ exp: 1e308 }), detail: /^claim/ },
  {
    name: 'iat ahead by a second more than is tolerated',
    token: ({ server, clock }) => server.token({ claims: { iat: clock.now() + 61 } }),
    detail: /^not-yet-valid/,
  },
  {
    name: 'nbf ahead',
    token: ({ server, clock }) => server.token({ claims: { nbf: clock.now() + 61 } }),
    detail: /^not-yet-valid/,
  },
  {
    name: 'a lifetime that is a second too long',
    token: ({ server, clock }) => server.token({ claims: { exp: clock.now() + 86_401 } }),
    detail: /^claim/,
  },
  {
    name: 'a lifetime longer than the one configured',
    options: { maxTokenLifetimeSeconds: 600 },
    token: ({ server, clock }) => server.token({ claims: { exp: clock.now() + 601 } }),
    detail: /^claim/,
  },
  { name: 'a jti that is a number', token: claims({ jti: 1 }), detail: /^claim/ },
  { name: 'a jti with a line end', token: claims({ jti: 'a\nb' }), detail: /^claim/ },
  {
    name: 'a required claim that is missing',
    options: { requiredClaims: { gty: 'client-credentials' } },
    token: shaped({}),
    detail: /^claim/,
  },
  {
    name: 'a required claim with another value',
    options: { requiredClaims: { gty: 'client-credentials' } },
    token: claims({ gty: ['client-credentials'] }),
    detail: /^claim/,
  },
];

const SCOPES: readonly Refusal[] = [
  ...[{ telemetry: true }, 5, true, null, ['telemetry', 5], [['telemetry']]].map((scope) => ({
    name: `the scopes ${JSON.stringify(scope)}`,
    token: claims({ scope }),
    detail: /^scope/,
  })),
  {
    name: '1,025 values',
    token: claims({ scope: Array.from({ length: 1025 }, (_, i) => i.toString(36)) }),
    detail: /^scope/,
  },
  {
    name: 'a malformed topic scope where these are accepted',
    options: { acceptTopicScopes: true },
    token: claims({ scope: 'telemetry pub;qos=9:a' }),
    detail: /^scope/,
  },
];

const CLIENT_IDS: readonly Refusal[] = [
  ...['a/b', 'a+', '#', '$SYS', 'a\0', '', '-a', ':a', 'a b', 'ä', 'a'.repeat(56)].map((id) => ({
    name: `the client id ${JSON.stringify(id)}`,
    token: claims({ client_id: id }),
    detail: /^claim/,
  })),
  ...[5, ['t-42'], { id: 't-42' }, null].map((id) => ({
    name: `the client id ${JSON.stringify(id)}`,
    token: claims({ client_id: id }),
    detail: /^claim/,
  })),
  {
    name: 'I7: the id of a device of ours, asked for without the prefix',
    returnCode: 5,
    clientId: 't-42',
    token: shaped({}),
    detail: /^client-id/,
  },
  {
    name: 'I7: the prefix of its own choice',
    returnCode: 5,
    clientId: 'auth0:t-42',
    token: claims({ client_id: 'auth0:t-42' }),
    detail: /^client-id/,
  },
  {
    name: 'I7: a device of ours whose id is behind their prefix',
    returnCode: 5,
    token: ({ issuer }) => issuer.token({ clientId: 'keycloak:t-42' }),
    detail: /^client-id: keycloak:t-42 is for clients of another issuer/,
  },
  {
    name: 'I7: our issuer in a token that they signed',
    token: ({ server, issuer }) =>
      server.token({ alg: 'EdDSA', claims: { iss: issuer.issuer, jti: '0123456789abcdef' } }),
    detail: /^key/,
  },
  {
    name: 'I7: their issuer in a token that we signed',
    token: ({ server, issuer }) => issuer.token({ issuer: server.issuer as never }),
    detail: /^key/,
  },
  {
    name: 'an issuer that is theirs but for a slash at the end',
    token: ({ server }) => server.token({ claims: { iss: `${server.issuer}/` } }),
    detail: /^issuer/,
  },
];

test.each([...SIGNATURES, ...KINDS, ...CLAIMS, ...SCOPES, ...CLIENT_IDS])(
  'refused: $name',
  async ({ returnCode = 4, options, token, clientId, detail }) => {
    const broker = await setup(options);
    const client = await broker.enter(await token(broker), clientId);
    expect(client.connack).toMatchObject({ returnCode });
    await client.closed;
    expect(await broker.log.event('connect.refused')).toMatchObject({
      detail: expect.stringMatching(detail),
    });
    expect(broker.log.all('connect.accepted')).toEqual([]);
  },
);

test.each<{ name: string; options?: Partial<ThirdPartyIssuerOptions>; shape: TokenShape }>([
  { name: 'application/at+jwt', shape: { header: { typ: 'application/at+jwt' } } },
  { name: 'typ JWT when told', options: { types: ['JWT'] }, shape: { header: { typ: 'JWT' } } },
  {
    name: 'no typ when told',
    options: { types: ['at+jwt', 'absent'] },
    shape: { header: { typ: undefined } },
  },
  { name: 'no jti', shape: { claims: { jti: undefined } } },
  { name: 'a list of audiences', shape: { claims: { aud: ['https://x.example', BROKER] } } },
  {
    name: 'no scope at all: it may connect and nothing else',
    shape: { claims: { scope: undefined } },
  },
  { name: 'another sub', shape: { claims: { sub: 'b2f1-service-account' } } },
  {
    name: 'an id of 55 characters behind the prefix',
    shape: { claims: { client_id: 'a'.repeat(55) } },
  },
  {
    name: 'a required claim',
    options: { requiredClaims: { gty: 'client-credentials' } },
    shape: { claims: { gty: 'client-credentials' } },
  },
  { name: 'the claim typ Bearer', shape: { claims: { typ: 'Bearer' } } },
])('accepted: $name', async ({ options, shape }) => {
  const broker = await setup(options);
  const { client_id: id = 't-42' } = (shape.claims ?? {}) as { client_id?: string };
  const { connack } = await broker.enter(broker.server.token(shape), `keycloak:${id}`);
  expect(connack).toMatchObject({ returnCode: 0 });
});

test('a lifetime of exactly the most is accepted, also beyond a day when told', async () => {
  for (const maxTokenLifetimeSeconds of [600, 86_400, 2_592_000]) {
    const { server, clock, latchkey } = await setup({ maxTokenLifetimeSeconds });
    const token = server.token({ claims: { exp: clock.now() + maxTokenLifetimeSeconds } });
    expect(await latchkey.explain({ token, action: 'publish', topic: 'x' })).toMatchObject({
      clientId: 'keycloak:t-42',
    });
  }
});

describe('what a token gives', () => {
  const scopesOf = async (
    options: Partial<ThirdPartyIssuerOptions>,
    shape: TokenShape,
  ): Promise<Record<string, boolean>> => {
    const { server, latchkey } = await setup(options);
    const answers: Record<string, boolean> = {};
    for (const topic of ['devices/keycloak:t-42/telemetry/x', 'devices/t-42/telemetry/x', 'a']) {
      const token = server.token(shape);
      answers[topic] = (await latchkey.explain({ token, action: 'publish', topic })).allowed;
    }
    return answers;
  };
  const OWN = {
    'devices/keycloak:t-42/telemetry/x': true,
    'devices/t-42/telemetry/x': false,
    a: false,
  };
  const NOTHING = { ...OWN, 'devices/keycloak:t-42/telemetry/x': false };

  test.each<{
    name: string;
    options?: Partial<ThirdPartyIssuerOptions>;
    shape: TokenShape;
    gives: object;
  }>([
    { name: 'a scope string', shape: {}, gives: OWN },
    {
      name: 'blanks around',
      shape: { claims: { scope: ' openid  telemetry ' } },
      gives: OWN,
    },
    { name: 'a list', shape: { claims: { scope: ['openid', 'telemetry'] } }, gives: OWN },
    {
      name: 'scp as a list',
      options: { scopeClaim: 'scp' },
      shape: { claims: { scp: ['telemetry'], scope: undefined } },
      gives: OWN,
    },
    {
      name: 'scp as text',
      options: { scopeClaim: 'scp' },
      shape: { claims: { scp: 'telemetry', scope: undefined } },
      gives: OWN,
    },
    {
      name: 'a path',
      options: { scopeClaim: ['realm_access', 'roles'] },
      shape: { claims: { realm_access: { roles: ['telemetry'] } } },
      gives: OWN,
    },
    {
      name: 'a claim whose name has dots, taken as it stands',
      options: { scopeClaim: 'https://example.com/realm_access.roles' },
      shape: { claims: { 'https://example.com/realm_access.roles': ['telemetry'] } },
      gives: OWN,
    },
    {
      name: 'a name with a dot, which is no path',
      options: { scopeClaim: 'realm_access.roles' },
      shape: { claims: { realm_access: { roles: ['telemetry'] } } },
      gives: NOTHING,
    },
    {
      name: 'a path that ends in a list',
      options: { scopeClaim: ['realm_access', 'roles'] },
      shape: { claims: { realm_access: ['roles'] } },
      gives: NOTHING,
    },
    {
      name: 'a path through the prototype',
      options: { scopeClaim: ['constructor', 'name'] },
      shape: {},
      gives: NOTHING,
    },
    { name: 'a value that is no alias', shape: { claims: { scope: 'Telemetry' } }, gives: NOTHING },
    {
      name: 'a value that every object has',
      shape: { claims: { scope: 'constructor __proto__ toString' } },
      gives: NOTHING,
    },
    { name: 'a topic scope, not told to', shape: { claims: { scope: 'pub:#' } }, gives: NOTHING },
    {
      name: 'a malformed topic scope, not told to',
      shape: { claims: { scope: 'pub;qos=9:# telemetry' } },
      gives: OWN,
    },
    {
      name: 'a topic scope, told to',
      options: { acceptTopicScopes: true },
      shape: { claims: { scope: 'pub:a' } },
      gives: { ...NOTHING, a: true },
    },
    {
      name: 'the claim of another client',
      options: { clientIdClaim: 'azp' },
      shape: { claims: { azp: 't-42', client_id: 'other' } },
      gives: OWN,
    },
  ])('$name', async ({ options = {}, shape, gives }) => {
    expect(await scopesOf(options, shape)).toEqual(gives);
  });

  test('I11: more than 1,024 rights from few values are refused', async () => {
    const many = Array.from({ length: 100 }, (_, i) => `pub:a/${i}`);
    const names = Array.from({ length: 11 }, (_, i) => `r${i}`);
    const { server, latchkey } = await setup({
      scopeAliases: Object.fromEntries(names.map((name) => [name, many])),
    });
    const ask = (count: number) =>
      latchkey.explain({
        token: server.token({ claims: { scope: names.slice(0, count).join(' ') } }),
        ...{ action: 'publish', topic: 'a/1' },
      });
    expect(await ask(10)).toMatchObject({ allowed: true });
    expect(await ask(11)).toMatchObject({ allowed: false, reason: 'invalid_token' });
  });
});

describe('the only issuer', () => {
  const alone = (changes: Partial<ThirdPartyIssuerOptions> = {}) =>
    setup({ clientIdPrefix: '', ...changes }, { issuer: undefined });

  test('may go without a prefix when there is no authority of our own', async () => {
    const { server, enter, issuer, connect } = await alone();
    expect((await enter(server.token(), 't-42')).connack).toMatchObject({ returnCode: 0 });
    expect((await connect(await issuer.token())).connack).toMatchObject({ returnCode: 4 });
    expect(issuer.fetches).toBe(0);
  });

  test('is ready when it has its keys', async () => {
    const { latchkey, log } = await alone();
    await log.event('keys.updated');
    expect(latchkey.isReady()).toBe(true);
    expect(latchkey.metrics()).toMatch(/latchkey_issuer_keys\{issuer="[^"]+"\} 5\n/);
  });
});

test('a session of theirs is renewed, and only by a token of the same client', async () => {
  const { server, enter, clock, log } = await setup();
  const client = await enter(server.token());
  await clock.advance(60_000);
  const renewal = (token: string, messageId: number) =>
    publishPacket('$latchkey/renew', 1, { payload: token, messageId });
  client.send(renewal(server.token({ claims: { scope: 'commands', jti: undefined } }), 7));
  await client.next('puback');
  expect(await log.event('session.renewed')).toMatchObject({ expiresAt: clock.now() + 900 });
  client.send(subscribePacket({ 'devices/keycloak:t-42/commands/+': 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [0] });
  client.send(renewal(server.token({ claims: { client_id: 't-43' } }), 8));
  await client.closed;
});

test('I5: a session of theirs ends at exp', async () => {
  const { server, enter, clock, log } = await setup();
  const client = await enter(server.token());
  await clock.advance(900_000);
  await client.closed;
  expect(await log.event('session.expired')).toMatchObject({ clientId: 'keycloak:t-42' });
});

test('explain tells of a client of theirs that is connected', async () => {
  const { server, enter, latchkey } = await setup();
  await enter(server.token());
  const topic = 'devices/keycloak:t-42/telemetry/x';
  const clientId = 'keycloak:t-42';
  expect(await latchkey.explain({ clientId, action: 'publish', topic })).toMatchObject({
    ...{ allowed: true, scope: 'pub:devices/keycloak:t-42/telemetry/#', clientId },
  });
  expect(await latchkey.explain({ clientId: 't-42', action: 'publish', topic })).toMatchObject({
    ...{ allowed: false, reason: 'no-session' },
  });
});

test('two third parties: each has its own keys and its own clients', async () => {
  const other = await startThirdParty(createDrivenClock(), { algorithms: ['ES256'] });
  const stranger = makeKey('ES256', 'key-ES256');
  other.keys = [stranger.jwk]; // the same kid, another key
  const server = await startThirdParty(createDrivenClock(), { algorithms: ['ES256'] });
  const entry = { algorithms: ['ES256'], acceptTopicScopes: true } as const;
  const broker = await startGuardedBroker({
    options: {
      thirdPartyIssuers: [
        { ...entry, name: 'one', issuer: server.issuer },
        { ...entry, name: 'two', issuer: other.issuer },
      ],
    },
  });
  const enter = async (token: string, clientId: string) =>
    (await broker.connect(token, { clientId, username: clientId })).connack.returnCode;
  const ofOne = server.token({ alg: 'ES256' });
  const ofTwo = other.token({ alg: 'ES256', key: stranger.privateKey });
  expect(await enter(ofOne, 'one:t-42')).toBe(0);
  expect(await enter(ofTwo, 'two:t-42')).toBe(0);
  expect(await enter(ofOne, 'two:t-42')).toBe(5);
  expect(await enter(ofTwo, 'one:t-42')).toBe(5);
  // Signed by one in the name of the other.
  const forged = server.token({ alg: 'ES256', claims: { iss: other.issuer } });
  expect(await enter(forged, 'two:t-42')).toBe(4);
});

test('I1: nothing of a token is in the log, accepted or refused', async () => {
  const { server, enter, log } = await setup();
  const tokens = [
    server.token(),
    server.token({ claims: { aud: 'x' } }),
    server.token({ claims: { scope: 1 } }),
  ];
  for (const token of tokens) await enter(token);
  const text = JSON.stringify(log.lines);
  for (const token of tokens) {
    for (const part of token.split('.').slice(1)) expect(text).not.toContain(part);
  }
});

test('a token of ours is what it was: signed by us alone, without aliases', async () => {
  const { issuer, clock, latchkey } = await setup();
  const token = await signAccessToken(createKeySigner(issuer.key), {
    ...{ issuer: issuer.issuer, clientId: 't-1' as never, audience: BROKER, scope: 'telemetry' },
    ...{ issuedAt: clock.now(), expiresAt: clock.now() + 60, jti: '0123456789abcdef' },
  });
  const topic = 'devices/t-1/telemetry/x';
  expect(await latchkey.explain({ token, action: 'publish', topic })).toMatchObject({
    ...{ allowed: false, reason: 'no-scope', clientId: 't-1' },
  });
});

test.each<{ name: string; change: (clients: MemoryClients) => void }>([
  { name: 'a fresh snapshot', change: (clients) => clients.replaceAll(feedClient()) },
  {
    name: 'a client of our own by the same id, revoked',
    change: (clients) => clients.put(feedClient({ id: 'keycloak:t-42', status: 'revoked' })),
  },
  {
    name: 'a client of our own by the same id, without rights',
    change: (clients) => clients.put(feedClient({ id: 'keycloak:t-42', scope: '' })),
  },
])('I7: $name leaves a session of theirs, and what it stored, as it is', async ({ change }) => {
  const clients = createMemoryClients(feedClient());
  const broker = await setup({}, { clients });
  const token = broker.server.token({ claims: { scope: 'telemetry commands' } });
  const id = 'keycloak:t-42';
  const stay = { clientId: id, username: id, clean: false };
  const client = await broker.connect(token, stay);
  client.send(subscribePacket({ [`devices/${id}/commands/+`]: 1 }));
  await client.next('suback');
  change(clients);
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
  client.send(publishPacket(`devices/${id}/telemetry/x`, 1));
  await client.next('puback');
  client.send({ cmd: 'disconnect' });
  await client.closed;
  const again = await broker.connect(token, stay);
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: object): Promise<readonly object[]> };
  };
  expect(await persistence.subscriptionsByClient({ id })).toHaveLength(1);
});
