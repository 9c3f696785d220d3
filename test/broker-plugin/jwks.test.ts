/** Keys of the issuer: STANDARDS 6, group 18. */
import {
  createHttpClient,
  generateKey,
  type PrivateKey,
  SIGNING_ALGORITHMS,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import {
  createIssuerKeys,
  createMetadataLocator,
  type IssuerKeys,
} from '../../broker-plugin/src/trust/jwks.ts';
import { type CapturedLog, createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock, type DrivenClock } from '../helpers/driven-clock.ts';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket } from '../helpers/mqtt-wire.ts';

interface Setup {
  readonly clock: DrivenClock;
  readonly log: CapturedLog;
  readonly server: IssuerServer;
  readonly keys: IssuerKeys;
}

async function setup(): Promise<Setup> {
  const clock = createDrivenClock();
  const log = createCapturedLog();
  const server = await startIssuer(clock);
  const http = createHttpClient({ timeoutMs: 1000, maxBodyBytes: 64 * 1024 });
  const { issuer } = server;
  const keys = createIssuerKeys({
    ...{ issuer, http, clock, logger: log, algorithms: SIGNING_ALGORITHMS },
    locate: createMetadataLocator(http, issuer),
  });
  return { clock, log, server, keys };
}

const failing: IssuerServer['answer'] = (_path, response) => {
  response.writeHead(503).end();
  return true;
};
const jwkOf = (key: PrivateKey) => ({ ...key.publicKey.jwk });
const unavailable = expect.objectContaining({ error: 'temporarily_unavailable' });

test('the first question fetches the keys, and later ones are answered from memory', async () => {
  const { server, keys } = await setup();
  const { kid } = server.key.publicKey;
  expect((await keys.findKey(kid))?.kid).toBe(kid);
  expect(keys.findKey(kid)).toMatchObject({ kid });
  expect(server.fetches).toBe(1);
});

test('a token without a key id finds no key and fetches nothing', async () => {
  const { server, keys } = await setup();
  expect(await keys.findKey(undefined)).toBeUndefined();
  expect(server.fetches).toBe(0);
});

test('I11: a flood of unknown key ids is one fetch in 30 s, however many ask at once', async () => {
  const { server, keys, clock } = await setup();
  const ask = () =>
    Promise.all(Array.from({ length: 200 }, (_, i) => keys.findKey(`unknown-${i}`)));
  expect((await ask()).every((key) => key === undefined)).toBe(true);
  await ask();
  expect(server.fetches).toBe(1);
  await clock.advance(29_999);
  await ask();
  expect(server.fetches).toBe(1);
  await clock.advance(1);
  await ask();
  expect(server.fetches).toBe(2);
});

test('a clock that is set back does not stop the look for a new key', async () => {
  const { server, keys, clock } = await setup();
  await keys.findKey(server.key.publicKey.kid);
  const next = generateKey();
  server.keys.push(jwkOf(next));
  clock.set(clock.now() - 86_400);
  expect((await keys.findKey(next.publicKey.kid))?.kid).toBe(next.publicKey.kid);
});

test('a new key is found, and one that left the set is trusted no more', async () => {
  const { server, keys, clock } = await setup();
  const old = server.key.publicKey.kid;
  await keys.findKey(old);
  const next = generateKey();
  server.keys = [jwkOf(next)];
  await clock.advance(30_000);
  expect((await keys.findKey(next.publicKey.kid))?.kid).toBe(next.publicKey.kid);
  expect(await keys.findKey(old)).toBeUndefined();
});

test('an outage keeps the keys that are there, and one line tells of it', async () => {
  const { server, keys, clock, log } = await setup();
  const stop = new AbortController();
  const running = keys.run(stop.signal);
  await log.event('keys.updated');
  server.answer = failing;
  await clock.untilSleeping(600_000);
  await clock.advance(600_000);
  await log.event('keys.unavailable');
  await clock.untilSleeping(30_000);
  await clock.advance(30_000);
  const { kid } = server.key.publicKey;
  expect(keys.findKey(kid)).toMatchObject({ kid });
  await expect(keys.findKey('unknown')).rejects.toEqual(unavailable);
  const warnings = log.lines.filter(({ level }) => level === 'warn');
  expect(warnings.map(({ fields }) => fields.event)).toEqual(['keys.unavailable']);
  stop.abort();
  await running;
});

test('without any key the answer is "unavailable", and it is asked again every 2 s', async () => {
  const { server, keys, clock, log } = await setup();
  server.answer = failing;
  const stop = new AbortController();
  const running = keys.run(stop.signal);
  await log.event('keys.unavailable');
  await expect(keys.findKey(server.key.publicKey.kid)).rejects.toEqual(unavailable);
  server.answer = () => false;
  await clock.untilSleeping(2000);
  await clock.advance(2000);
  await log.event('keys.updated');
  expect(await keys.findKey(server.key.publicKey.kid)).toBeDefined();
  stop.abort();
  await running;
});

const answerWith =
  (body: (server: IssuerServer) => string, of = '/jwks') =>
  (server: IssuerServer): IssuerServer['answer'] =>
  (path, response) => {
    if (path !== of) return false;
    response.end(body(server));
    return true;
  };
const METADATA = '/.well-known/oauth-authorization-server';

test.each([
  { name: 'no JSON', answer: answerWith(() => '<html>') },
  { name: 'no list', answer: answerWith(() => '{}') },
  { name: 'an empty list', answer: answerWith(() => '{"keys":[]}') },
  {
    name: '33 keys',
    answer: answerWith((server) => JSON.stringify({ keys: Array(33).fill(server.keys[0]) })),
  },
  {
    name: 'more than 64 KiB',
    answer: answerWith((server) => JSON.stringify({ keys: server.keys, pad: 'x'.repeat(65_536) })),
  },
  {
    name: 'metadata of another issuer',
    answer: answerWith(
      ({ issuer }) =>
        JSON.stringify({
          issuer: 'https://other.example',
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/jwks`,
        }),
      METADATA,
    ),
  },
  {
    name: 'keys beyond plain http',
    answer: answerWith(
      ({ issuer }) =>
        JSON.stringify({
          issuer,
          token_endpoint: `${issuer}/token`,
          jwks_uri: 'http://192.0.2.1/jwks',
        }),
      METADATA,
    ),
  },
  {
    name: 'a redirect',
    answer: (): IssuerServer['answer'] => (path, response) => {
      if (path !== '/jwks') return false;
      response.writeHead(302, { location: '/elsewhere' }).end();
      return true;
    },
  },
  {
    name: 'no answer at all',
    answer: (): IssuerServer['answer'] => (path) => path === '/jwks',
  },
])('a key set with $name is not taken', async ({ answer }) => {
  const { server, keys } = await setup();
  server.answer = answer(server);
  await expect(keys.findKey(server.key.publicKey.kid)).rejects.toEqual(unavailable);
});

test.each([
  { name: 'an RSA key', jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' }, isLogged: false },
  { name: 'an encryption key', jwk: { ...jwkOf(generateKey()), use: 'enc' }, isLogged: false },
  { name: 'a private key', jwk: { ...jwkOf(generateKey()), d: 'AAAA' }, isLogged: true },
  {
    name: 'a weak point',
    jwk: { kty: 'OKP', crv: 'Ed25519', x: `AQ${'A'.repeat(41)}` },
    isLogged: true,
  },
  { name: 'a short key', jwk: { kty: 'OKP', crv: 'Ed25519', x: 'AAAA' }, isLogged: true },
])('I9: $name in the set is left out, and its good neighbour serves', async ({ jwk, isLogged }) => {
  const { server, keys, log } = await setup();
  server.keys.unshift({ ...jwk, kid: 'bad' });
  expect(await keys.findKey(server.key.publicKey.kid)).toBeDefined();
  expect(await keys.findKey('bad')).toBeUndefined();
  expect(log.all('keys.ignored')).toHaveLength(isLogged ? 1 : 0);
});

test('I9: a key that was good and comes back with its private part is trusted no more', async () => {
  const { server, keys, clock, log } = await setup();
  const { kid } = server.key.publicKey;
  await keys.findKey(kid);
  const next = generateKey();
  server.keys = [{ ...jwkOf(server.key), d: 'AAAA' }, jwkOf(next)];
  await clock.advance(30_000);
  await keys.findKey(next.publicKey.kid);
  expect(await keys.findKey(kid)).toBeUndefined();
  expect(log.all('keys.ignored')).toHaveLength(1);
});

test('a broker whose authority is down answers CONNACK 3, and lets clients in when it is back', async () => {
  const broker = await startGuardedBroker({
    options: { http: { request: () => Promise.reject(new Error('down')) } },
  });
  await broker.log.event('keys.unavailable');
  const { connack } = await broker.connect();
  expect(connack).toMatchObject({ returnCode: 3 });
  expect(await broker.log.event('connect.refused')).toMatchObject({
    reason: 'temporarily_unavailable',
    returnCode: 3,
  });
});

test('a broker that has the keys does not need the authority', async () => {
  const broker = await startGuardedBroker();
  await broker.log.event('keys.updated');
  broker.issuer.answer = failing;
  expect((await broker.connect()).connack).toMatchObject({ returnCode: 0 });
});

test('I11: forged tokens with made-up key ids cost the authority one request', async () => {
  const broker = await startGuardedBroker();
  await broker.log.event('keys.updated');
  await broker.clock.advance(30_000);
  const before = broker.issuer.fetches;
  const answers = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const client = await broker.wire();
      client.send(connectPacket(await broker.issuer.token({ key: generateKey() })));
      return (await client.next('connack')).returnCode;
    }),
  );
  expect(new Set(answers)).toEqual(new Set([4]));
  expect(broker.issuer.fetches - before).toBe(1);
});
