/** Tokens that were verified before: RFC 9068 4; I2, I5, I11. */
import { compileTopicRights, generateKey } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createKnownTokens } from '../../broker-plugin/src/known-tokens.ts';
import { createClientNamespaces } from '../../broker-plugin/src/trust/client-namespaces.ts';
import { createIssuedTokens } from '../../broker-plugin/src/trust/issued-token.ts';
import { createVerifyToken, type VerifiedToken } from '../../broker-plugin/src/verify-token.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { BROKER, startIssuer } from '../helpers/issuer-server.ts';

const TTL = 60;

function setup(maxEntries = 3) {
  const clock = createDrivenClock();
  const known = createKnownTokens({ clock, maxEntries });
  const verified: string[] = [];
  const contextOf = (text: string, ttlSeconds: number) =>
    ({ clientId: text, expiresAt: clock.now() + ttlSeconds }) as unknown as VerifiedToken;
  const find = (text: string, ttlSeconds = TTL) =>
    known.findOr(Buffer.from(text), async () => {
      verified.push(text);
      return contextOf(text, ttlSeconds);
    });
  return { clock, known, verified, find };
}

test('a known token is not verified again, and has the same context', async () => {
  const { verified, find } = setup();
  const first = await find('a');
  expect(await find('a')).toBe(first);
  expect(verified).toEqual(['a']);
});

test.each([
  { name: 'the last second before exp', offset: TTL - 1, times: 1 },
  { name: 'exp', offset: TTL, times: 2 },
  { name: 'the instant of its verification', offset: 0, times: 1 },
  { name: 'a second before its verification', offset: -1, times: 2 },
])('I5: at $name a known token is verified $times times in all', async ({ offset, times }) => {
  const { clock, verified, find } = setup();
  await find('a');
  clock.set(clock.now() + offset);
  await find('a');
  expect(verified).toHaveLength(times);
});

test('I2: a token that is refused is not remembered, nor is what it was before', async () => {
  const { known, clock, verified, find } = setup();
  const refuse = () => known.findOr(Buffer.from('a'), () => Promise.reject(new Error('refused')));
  await expect(refuse()).rejects.toThrow('refused');
  await find('a');
  clock.set(clock.now() + TTL);
  await expect(refuse()).rejects.toThrow('refused');
  expect(known.size).toBe(0);
  expect(verified).toEqual(['a']);
});

test('I11: the least recently used leaves first', async () => {
  const { known, verified, find } = setup(2);
  await find('a');
  await find('b');
  await find('a');
  await find('c');
  expect(known.size).toBe(2);
  await find('a');
  expect(verified).toEqual(['a', 'b', 'c']);
  await find('b');
  expect(verified).toEqual(['a', 'b', 'c', 'b']);
});

test('I11: never more entries than the bound, and never another answer than verifying', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ text: fc.constantFrom('a', 'b', 'c', 'd', 'e'), wait: fc.nat(40) })),
      async (steps) => {
        const { known, clock, find } = setup(3);
        for (const { text, wait } of steps) {
          clock.set(clock.now() + wait);
          const context = await find(text);
          expect(context.clientId).toBe(text);
          expect(context.expiresAt).toBeGreaterThan(clock.now());
          expect(known.size).toBeLessThanOrEqual(3);
        }
      },
    ),
  );
});

test('a token that was under way while everything was forgotten is not remembered', async () => {
  const { known, clock } = setup();
  let finish: ((context: VerifiedToken) => void) | undefined;
  const slow = known.findOr(Buffer.from('a'), () => new Promise((resolve) => (finish = resolve)));
  known.clear();
  finish?.({ expiresAt: clock.now() + TTL } as VerifiedToken);
  await slow;
  expect(known.size).toBe(0);
});

const jwk = (key: ReturnType<typeof generateKey>) => ({ ...key.publicKey.jwk });

test.each([
  { name: 'a key is added', isKept: true, keeps: true },
  { name: 'the key is taken back', isKept: false, keeps: false },
])('when $name, a known token is good: $keeps', async ({ isKept, keeps }) => {
  const broker = await startGuardedBroker();
  const { issuer, clock } = broker;
  const token = await issuer.token({ ttlSeconds: 3600 });
  const first = await broker.connect(token);
  expect(first.connack).toMatchObject({ returnCode: 0 });
  const next = generateKey();
  issuer.keys = [...(isKept ? issuer.keys : []), jwk(next)];
  await clock.untilSleeping(600_000);
  clock.set(clock.now() + 31);
  const other = await broker.connect({ clientId: 'other', key: next });
  expect(other.connack).toMatchObject({ returnCode: 0 });
  const again = await broker.connect(token);
  expect(again.connack).toMatchObject({ returnCode: keeps ? 0 : 4 });
});

test('a known token of one client lets no other in, and its will is judged each time', async () => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token();
  await broker.connect(token);
  const other = await broker.connect(token, { clientId: 't-43', username: 't-43' });
  expect(other.connack).toMatchObject({ returnCode: 5 });
  const will = {
    topic: 'devices/t-43/x',
    payload: Buffer.from('x'),
    qos: 0 as const,
    retain: false,
  };
  const withWill = await broker.connect(token, { will });
  expect(withWill.connack).toMatchObject({ returnCode: 5 });
});

test('a known token is let in without a look at the keys, another spelling of it is not', async () => {
  const clock = createDrivenClock();
  const server = await startIssuer(clock);
  let looks = 0;
  const verifyToken = createVerifyToken({
    namespaces: createClientNamespaces([], { hasOwnAuthority: true }),
    verifiers: [
      createIssuedTokens({
        issuer: server.issuer,
        audience: BROKER,
        clock,
        compileRights: compileTopicRights,
        findKey: () => {
          looks += 1;
          return server.key.publicKey;
        },
      }),
    ],
    admit: (context) => context,
    knownTokens: createKnownTokens({ clock, maxEntries: 10 }),
  });
  const token = await server.token();
  const first = await verifyToken(Buffer.from(token));
  expect(await verifyToken(Buffer.from(token))).toBe(first);
  expect(looks).toBe(1);
  // Whoever owns the bytes may use them again while the signature is checked.
  const next = await server.token();
  const bytes = Buffer.from(next);
  const verifying = verifyToken(bytes);
  bytes.write(token);
  const second = await verifying;
  expect(second).not.toBe(first);
  expect(await verifyToken(Buffer.from(next))).toBe(second);
  expect(await verifyToken(Buffer.from(token))).toBe(first);
  const [header, claims, signature = ''] = token.split('.');
  const forged = `${header}.${claims}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  // 64 bytes leave four bits of the last letter over: this one says the same and is not canonical.
  const last = signature.at(-1) as string;
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const respelled = `${token.slice(0, -1)}${letters[letters.indexOf(last) + 1]}`;
  expect(Buffer.from(respelled.split('.')[2] as string, 'base64url')).toEqual(
    Buffer.from(signature, 'base64url'),
  );
  for (const text of [forged, respelled, `${token}=`, ` ${token}`]) {
    await expect(verifyToken(Buffer.from(text))).rejects.toMatchObject({ error: 'invalid_token' });
  }
});
