import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createIssuedTokenSource, openIdentity, openTokenCache } from '@latchkey/agent/daemon';
import {
  createHttpClient,
  parseResourceId,
  TokenRequestError,
  UnreachableError,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';

const BROKER = { resource: parseResourceId('mqtt://localhost:1883') };
const API = { resource: parseResourceId('https://api.example') };

async function setUp() {
  const { clock, logger, authority, stateDir } = await setUpAgent();
  const { identity, signer } = await openIdentity(stateDir);
  const open = async () => {
    const cache = await openTokenCache(stateDir);
    const http = createHttpClient();
    return createIssuedTokenSource({ identity, signer, cache, http, clock, logger });
  };
  const file = join(stateDir, 'tokens.json');
  return { clock, logger, authority, stateDir, file, open };
}

test('obtains a token once and serves it from memory and, after a restart, from the file', async () => {
  const { authority, file, open } = await setUp();
  const source = await open();
  const token = await source.get(BROKER);
  expect(await source.get(BROKER)).toBe(token);
  expect(await (await open()).get(BROKER)).toEqual(token);
  expect(authority.issued.length).toBe(1);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('resource and scope keep tokens apart', async () => {
  const { authority, open } = await setUp();
  const source = await open();
  const purposes = [{}, BROKER, API, { ...API, scope: 'orders:read' }, { scope: 'orders:read' }];
  const texts = [];
  for (const purpose of purposes) texts.push((await source.get(purpose)).accessToken);
  expect(new Set(texts).size).toBe(5);
  expect(authority.issued.map(({ resource, scope }) => [resource, scope])).toEqual([
    [null, null],
    ['mqtt://localhost:1883', null],
    ['https://api.example', null],
    ['https://api.example', 'orders:read'],
    [null, 'orders:read'],
  ]);
});

test('many who ask at once share one request', async () => {
  const { authority, open } = await setUp();
  const source = await open();
  const asked = [source.get(BROKER), source.get(BROKER), source.renew(BROKER), source.get(BROKER)];
  const tokens = await Promise.all(asked);
  expect(new Set(tokens).size).toBe(1);
  expect(authority.issued.length).toBe(1);
});

test('each request has its own assertion', async () => {
  const { authority, open } = await setUp();
  const source = await open();
  await source.renew(BROKER);
  await source.renew(BROKER);
  expect(new Set(authority.assertions).size).toBe(2);
});

test.each([
  { name: 'one second before the margin', atSeconds: 869, isNew: false },
  { name: 'at the margin', atSeconds: 870, isNew: true },
  { name: 'at exp', atSeconds: 900, isNew: true },
  { name: 'long after', atSeconds: 90_000, isNew: true },
  { name: 'the clock went backwards', atSeconds: -1, isNew: true },
])('$name: a new token is $isNew', async ({ atSeconds, isNew }) => {
  const { clock, open } = await setUp();
  const start = clock.now();
  const [source, token] = await open().then(async (s) => [s, await s.get(BROKER)] as const);
  clock.set(start + atSeconds);
  for (const each of [source, await open()]) {
    const again = await each.get(BROKER);
    expect(again.accessToken !== token.accessToken).toBe(isNew);
    expect(again.expiresAt).toBeGreaterThan(clock.now());
  }
});

test('a token that cannot be renewed stays in use; one that was discarded does not', async () => {
  const { authority, file, open } = await setUp();
  const source = await open();
  const token = await source.get(BROKER);
  await authority.stop();
  await expect(source.renew(BROKER)).rejects.toThrow(UnreachableError);
  expect(await source.get(BROKER)).toBe(token);
  await source.discard(token);
  await expect(source.get(BROKER)).rejects.toThrow(UnreachableError);
  expect(readFileSync(file, 'utf8')).not.toContain(token.accessToken);
});

test('a failed request is not remembered', async () => {
  const { authority, open } = await setUp();
  const source = await open();
  await authority.stop();
  await expect(source.get(BROKER)).rejects.toThrow(UnreachableError);
  await authority.start();
  await source.get(BROKER);
  authority.answer = (path, response) => {
    if (path !== '/token') return false;
    response.writeHead(400).end('{"error":"invalid_target"}');
    return true;
  };
  await expect(source.get(API)).rejects.toThrow(TokenRequestError);
  authority.answer = () => false;
  await source.get(API);
});

test.each([
  { name: 'empty', text: '' },
  { name: 'cut off', text: '{"tokens":[{"resource":null,"acc' },
  { name: 'of another form', text: '[]' },
  { name: 'with a bad entry', text: '{"tokens":[{"resource":7}]}' },
])('a cache file that is $name is ignored and written anew', async ({ text }) => {
  const { authority, file, open } = await setUp();
  writeFileSync(file, text, { mode: 0o600 });
  const token = await (await open()).get(BROKER);
  expect(authority.issued.length).toBe(1);
  expect(await (await open()).get(BROKER)).toEqual(token);
});

test.each([0o640, 0o604])(
  'a cache file of mode %o is refused with the command that mends it',
  async (mode) => {
    const { file, open } = await setUp();
    await (await open()).get(BROKER);
    chmodSync(file, mode);
    await expect(open()).rejects.toThrow(`run: chmod 600 ${file}`);
  },
);

test('the cache file stays bounded', async () => {
  const { file, open } = await setUp();
  const source = await open();
  for (let i = 0; i < 40; i += 1) await source.get({ scope: `s${i}` });
  expect(JSON.parse(readFileSync(file, 'utf8')).tokens.length).toBe(32);
});

test('a cache that cannot be written costs a log line, not the token', async () => {
  const { logger, stateDir, open } = await setUp();
  const source = await open();
  rmSync(stateDir, { recursive: true });
  await source.get(BROKER);
  expect(existsSync(stateDir)).toBe(false);
  expect(logger.all('token.not-cached').length).toBe(1);
});

test('neither log nor error nor URL holds a token or an assertion', async () => {
  const { authority, logger, open } = await setUp();
  const source = await open();
  const { accessToken } = await source.get(BROKER);
  authority.answer = (_path, response) => {
    response.writeHead(400).end(`{"error":"invalid_grant","error_description":"no"}`);
    return true;
  };
  const error = await source.renew(BROKER).catch((thrown: Error) => thrown);
  const said = `${logger.text()} ${(error as Error).stack} ${authority.requests.join(' ')}`;
  for (const secret of [accessToken, ...authority.assertions]) expect(said).not.toContain(secret);
});
