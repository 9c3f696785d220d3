/** Keys of the issuer: STANDARDS 6, group 18. */
import { join } from 'node:path';
import {
  createHttpClient,
  generateKey,
  importIssuerJwk,
  type PrivateKey,
  SIGNING_ALGORITHMS,
} from '@latchkey/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  createIssuerKeys,
  createMetadataLocator,
  type IssuerKeys,
} from '../../broker-plugin/src/trust/jwks.ts';
import { createKeyCopies, type KeyCopies } from '../../broker-plugin/src/trust/key-copies.ts';
import { openStateFile } from '../../broker-plugin/src/trust/state-file.ts';
import { type CapturedLog, createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock, type DrivenClock } from '../helpers/driven-clock.ts';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket } from '../helpers/mqtt-wire.ts';
import { temporaryDir } from '../helpers/processes.ts';

interface Setup {
  readonly clock: DrivenClock;
  readonly log: CapturedLog;
  readonly server: IssuerServer;
  readonly keys: IssuerKeys;
}

async function setup(): Promise<Setup> {
  const clock = createDrivenClock();
  return begin({ clock, server: await startIssuer(clock) });
}

/** Keys of a server, with a state file if there is one. */
function begin({
  clock,
  server,
  copies,
}: Pick<Setup, 'clock' | 'server'> & { readonly copies?: KeyCopies }): Setup {
  const log = createCapturedLog();
  const http = createHttpClient({ timeoutMs: 1000, maxBodyBytes: 64 * 1024 });
  const { issuer } = server;
  const keys = createIssuerKeys({
    ...{ issuer, http, clock, logger: log, algorithms: SIGNING_ALGORITHMS },
    ...{ locate: createMetadataLocator(http, issuer), copies },
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

function newCopies(): KeyCopies {
  const db = openStateFile(join(temporaryDir(), 'state.db'));
  onTestFinished(() => void db.close());
  return createKeyCopies(db);
}
const asFed = (key: PrivateKey) => importIssuerJwk('EdDSA', key.publicKey.jwk);

describe('a copy of the keys', () => {
  test('serves a broker that starts while the issuer is down', async () => {
    const { server, clock, keys } = await setup();
    const copies = newCopies();
    const { kid } = server.key.publicKey;
    await begin({ clock, server, copies }).keys.findKey(kid);
    server.answer = failing;
    const later = begin({ clock, server, copies });
    expect(later.keys.size).toBe(1);
    expect((await later.keys.findKey(kid))?.kid).toBe(kid);
    await expect(later.keys.findKey('unknown')).rejects.toEqual(unavailable);
    await expect(keys.findKey(kid)).rejects.toEqual(unavailable); // without a copy
  });

  test('serves only once the issuer was asked, so that a key that was taken back is not in it', async () => {
    const { server, clock } = await setup();
    const copies = newCopies();
    const old = server.key.publicKey.kid;
    await begin({ clock, server, copies }).keys.findKey(old);
    server.keys = [jwkOf(generateKey())];
    const later = begin({ clock, server, copies });
    expect(await later.keys.findKey(old)).toBeUndefined();
    expect(copies.load(server.issuer)).toHaveLength(1);
  });

  test('is of one issuer, and is checked like what an issuer sends', async () => {
    const { server, clock } = await setup();
    server.answer = failing;
    const copies = newCopies();
    const { kid, jwk } = server.key.publicKey;
    copies.save('https://other.example', [{ ...jwk, kid }], 1);
    expect(begin({ clock, server, copies }).keys.size).toBe(0);
    copies.save(server.issuer, [{ ...jwk, kid, d: 'AAAA' }, { kty: 'RSA' }], 1);
    expect(begin({ clock, server, copies }).keys.size).toBe(0);
  });

  test('that cannot be written keeps nobody out', async () => {
    const { server, clock } = await setup();
    const full = () => {
      throw new Error('database or disk is full');
    };
    const copies = { ...newCopies(), save: full };
    const { keys, log } = begin({ clock, server, copies });
    const { kid } = server.key.publicKey;
    expect((await keys.findKey(kid))?.kid).toBe(kid);
    expect(log.all('keys.not-saved')).toHaveLength(1);
  });
});

describe('keys that the trust feed tells', () => {
  test('are all: a key that is not among them is trusted no more, at once', async () => {
    const { server, keys, log } = await setup();
    const old = server.key.publicKey.kid;
    await keys.findKey(old);
    const next = generateKey();
    keys.adopt([asFed(next)]);
    expect(keys.findKey(next.publicKey.kid)).toMatchObject({ kid: next.publicKey.kid });
    server.keys = [jwkOf(next)];
    expect(await keys.findKey(old)).toBeUndefined();
    expect(log.all('keys.updated')).toHaveLength(2);
    expect(server.fetches).toBe(1);
  });

  test('count more than an old key set: it brings back nothing that the feed dropped', async () => {
    const { server, clock } = await setup();
    const copies = newCopies();
    const { keys, log } = begin({ clock, server, copies });
    const [stolen, next] = [server.key, generateKey()];
    const feed = (...all: PrivateKey[]) => {
      const issuerKeys = all.map(asFed);
      copies.replace(server.issuer, issuerKeys, 1);
      keys.adopt(issuerKeys);
    };
    await keys.findKey(stolen.publicKey.kid);
    feed(stolen, next);
    feed(next);
    // Long after the feed fell silent, a cache still has the key set of before.
    server.keys = [jwkOf(stolen), jwkOf(next)];
    for (const ms of [30_000, 90_000]) {
      await clock.advance(ms);
      expect(await keys.findKey(stolen.publicKey.kid)).toBeUndefined();
    }
    expect(keys.findKey(next.publicKey.kid)).toBeDefined();
    server.keys = [jwkOf(stolen)];
    await clock.advance(30_000);
    await expect(keys.findKey('unknown')).rejects.toEqual(unavailable);
    expect(log.all('keys.unavailable')).toMatchObject([{ keptKeys: 1 }]);
    const later = begin({ clock, server, copies });
    expect(await later.keys.findKey(next.publicKey.kid)).toBeDefined();
    await expect(later.keys.findKey(stolen.publicKey.kid)).rejects.toEqual(unavailable);
  });

  test('are joined by what is new in the key set, and not cut by what is missing there', async () => {
    const { server, keys, clock } = await setup();
    const [fed, added] = [generateKey(), generateKey()];
    keys.adopt([asFed(fed)]);
    server.keys = [jwkOf(added)];
    expect((await keys.findKey(added.publicKey.kid))?.kid).toBe(added.publicKey.kid);
    expect(keys.findKey(fed.publicKey.kid)).toMatchObject({ kid: fed.publicKey.kid });
    // Once the feed was silent for 90 s, the key set counts again.
    await clock.advance(90_000);
    await keys.findKey('unknown');
    expect(await keys.findKey(fed.publicKey.kid)).toBeUndefined();
  });

  test('make fetching the key set every ten minutes unnecessary', async () => {
    const { server, keys, clock, log } = await setup();
    const stop = new AbortController();
    const running = keys.run(stop.signal);
    await log.event('keys.updated');
    await clock.untilSleeping(600_000);
    await clock.advance(599_999);
    keys.adopt([asFed(server.key)]);
    await clock.advance(1);
    await clock.untilSleeping(600_000);
    expect(server.fetches).toBe(1);
    await clock.advance(600_000);
    await clock.untilSleeping(600_000);
    await keys.findKey('unknown');
    expect(server.fetches).toBe(2);
    stop.abort();
    await running;
  });

  test('a page signed by a new key is looked for once a second, whatever strangers ask for', async () => {
    const { server, keys, clock } = await setup();
    await keys.findKey('unknown');
    const next = generateKey();
    server.keys.push(jwkOf(next));
    expect(await keys.findKey(next.publicKey.kid)).toBeUndefined();
    await clock.advance(999);
    expect(await keys.findPageKey(next.publicKey.kid)).toBeUndefined();
    await clock.advance(1);
    expect((await keys.findPageKey(next.publicKey.kid))?.kid).toBe(next.publicKey.kid);
    expect(server.fetches).toBe(2);
  });
});
