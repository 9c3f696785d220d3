/** Tokens that the device mints while the authority is away: DESIGN 3 and 7, I8. */
import { createPublicKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTokenSource, openIdentity, openTokenCache } from '@latchkey/agent/daemon';
import { createHttpClient, parseResourceId, verifyAccessToken } from '@latchkey/shared';
import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';

const RESOURCE = parseResourceId('mqtts://broker.example');
const SCOPE = 'pub:devices/t-42/telemetry/#';

async function setUp(mayMint = true) {
  const setup = await setUpAgent();
  const { authority, clock, logger, stateDir } = setup;
  authority.mayMint = mayMint;
  authority.scope = SCOPE;
  const open = async () => {
    const { identity, signer } = await openIdentity(stateDir);
    const cache = await openTokenCache(stateDir);
    const http = createHttpClient();
    return createTokenSource({ identity, signer, cache, http, clock, logger });
  };
  return { ...setup, tokens: await open(), open };
}

const purpose = { resource: RESOURCE };

test('with the authority away it mints: own key, own issuer, the scope and lifetime it had last', async () => {
  const { authority, clock, stateDir, tokens } = await setUp();
  const issued = await tokens.get(purpose);
  await authority.stop();
  clock.set(clock.now() + 900);
  const minted = await tokens.get(purpose);
  expect(minted).toMatchObject({ scope: SCOPE, issuedAt: clock.now(), mayMint: true });
  expect(minted.expiresAt - minted.issuedAt).toBe(issued.expiresAt - issued.issuedAt);
  const issuer = `${authority.issuer}/clients/t-42` as never;
  const pem = readFileSync(join(stateDir, 'device-key.pem'), 'utf8');
  const verified = await verifyAccessToken(minted.accessToken, {
    issuer,
    audience: RESOURCE,
    now: clock.now(),
    findKey: () => ({ keyObject: createPublicKey(pem) }),
  });
  expect(verified).toMatchObject({ clientId: 't-42' });
  expect(decodeJwt(minted.accessToken)).toMatchObject({ iss: issuer, scope: SCOPE });
});

test('a minted token is used until it is nearly over, also by the next run; then another is minted', async () => {
  const { authority, clock, open, tokens } = await setUp();
  await tokens.get(purpose);
  await authority.stop();
  clock.set(clock.now() + 900);
  const first = await tokens.get(purpose);
  expect((await tokens.get(purpose)).accessToken).toBe(first.accessToken);
  expect((await (await open()).get(purpose)).accessToken).toBe(first.accessToken);
  clock.set(clock.now() + 900);
  expect((await (await open()).get(purpose)).accessToken).not.toBe(first.accessToken);
});

test('a renewal asks the authority first, each time', async () => {
  const { authority, clock, tokens } = await setUp();
  await tokens.get(purpose);
  await authority.stop();
  clock.set(clock.now() + 900);
  await tokens.get(purpose);
  await authority.start();
  const { accessToken } = await tokens.renew(purpose);
  expect(accessToken).toBe(authority.issued.at(-1)?.text);
});

test.each([
  { name: 'the authority does not allow it', mayMint: false },
  { name: 'it never had a token', isFirst: true },
  { name: 'it had one for another resource', other: parseResourceId('mqtts://other.example') },
  { name: 'it does not say what the token is for', other: undefined, isGeneral: true },
  { name: 'the last token was refused', isDiscarded: true },
])('mints nothing when $name', async (row) => {
  const { authority, clock, logger, tokens } = await setUp(row.mayMint ?? true);
  if (!row.isFirst) {
    const first = await tokens.get(row.isGeneral ? {} : { resource: row.other ?? RESOURCE });
    if (row.isDiscarded) await tokens.discard(first);
  }
  await authority.stop();
  clock.set(clock.now() + 900);
  const asked = row.isGeneral ? {} : purpose;
  await expect(tokens.get(asked)).rejects.toMatchObject({ name: 'UnreachableError' });
  expect(logger.all('token.minted')).toEqual([]);
});

test('a minted token that was refused is not minted again until the authority answers', async () => {
  const { authority, clock, tokens } = await setUp();
  await tokens.get(purpose);
  await authority.stop();
  clock.set(clock.now() + 900);
  await tokens.discard(await tokens.get(purpose));
  await expect(tokens.get(purpose)).rejects.toMatchObject({ name: 'UnreachableError' });
  await authority.start();
  await tokens.get(purpose);
  await authority.stop();
  clock.set(clock.now() + 900);
  await tokens.get(purpose);
});

test('a refusal of the authority is the last word: nothing is minted then, nor after it has gone', async () => {
  const { authority, clock, tokens } = await setUp();
  await tokens.get(purpose);
  clock.set(clock.now() + 900);
  authority.answer = (path, response) => {
    if (path !== '/token') return false;
    response.writeHead(400).end('{"error":"invalid_grant"}');
    return true;
  };
  await expect(tokens.get(purpose)).rejects.toMatchObject({ error: 'invalid_grant' });
  await authority.stop();
  await expect(tokens.get(purpose)).rejects.toMatchObject({ name: 'UnreachableError' });
});

test('a token cache that says more than it should mints with what it says, and the broker decides', async () => {
  const { authority, clock, open, stateDir, tokens } = await setUp();
  await tokens.get(purpose);
  const path = join(stateDir, 'tokens.json');
  writeFileSync(path, readFileSync(path, 'utf8').replace(SCOPE, 'pubsub:#'));
  await authority.stop();
  clock.set(clock.now() + 900);
  expect((await (await open()).get(purpose)).scope).toBe('pubsub:#');
});

test('I1: neither log nor status holds a minted token', async () => {
  const { authority, clock, logger, broker, startAgent } = await setUp();
  const agent = await startAgent();
  await authority.stop();
  await clock.untilSleeping(2000);
  await clock.advance(630_000);
  await broker.connected(2);
  const { password } = broker.connects[1] as { password: string };
  expect(decodeJwt(password).iss).toBe(`${authority.issuer}/clients/t-42`);
  const said = logger.text() + JSON.stringify(agent.status());
  expect(said).toContain('token.minted');
  expect(said).not.toContain(password);
  expect(said).not.toContain(password.split('.')[2]);
});
