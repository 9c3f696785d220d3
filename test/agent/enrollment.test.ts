import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { enroll, openIdentity, readIdentity } from '@latchkey/agent/daemon';
import {
  createHttpClient,
  newEnrollmentCode,
  parseClientId,
  parseIssuer,
  TokenRequestError,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { temporaryDir } from '../helpers/processes.ts';
import { startTokenServer } from '../helpers/token-server.ts';

async function setUp() {
  const clock = createDrivenClock();
  const authority = await startTokenServer(clock);
  const stateDir = join(temporaryDir(), 'state');
  const request = {
    stateDir,
    issuer: authority.issuer,
    clientId: parseClientId('t-42'),
    readCode: async () => `${authority.code}\n`,
  };
  const http = createHttpClient();
  const run = (change: Partial<typeof request> = {}) =>
    enroll({ ...request, ...change }, { http, clock });
  return { authority, stateDir, run, file: (name: string) => join(stateDir, name) };
}

const modeOf = (path: string) => statSync(path).mode & 0o777;

test('makes a private folder, key and identity, and proves the key', async () => {
  const { authority, stateDir, run, file } = await setUp();
  const { identity, isRepeated } = await run();
  expect(isRepeated).toBe(false);
  expect(authority.enrolled.get('t-42')?.kid).toBe(identity.kid);
  expect(await readIdentity(stateDir)).toEqual(identity);
  expect(JSON.parse(readFileSync(file('identity.json'), 'utf8'))).toEqual({
    issuer: authority.issuer,
    client_id: 't-42',
    kid: identity.kid,
    key_since: identity.keySince,
  });
  expect(modeOf(stateDir)).toBe(0o700);
  expect(modeOf(file('device-key.pem'))).toBe(0o600);
  expect(modeOf(file('identity.json'))).toBe(0o600);
  expect(readdirSync(stateDir).sort()).toEqual(['device-key.pem', 'identity.json']);
});

test('enrolling again as the same client asks for no code and sends nothing', async () => {
  const { authority, run } = await setUp();
  const first = await run();
  const before = authority.requests.length;
  const readCode = () => Promise.reject(new Error('the code was asked for'));
  expect(await run({ readCode })).toEqual({ identity: first.identity, isRepeated: true });
  expect(authority.requests.length).toBe(before);
});

test.each([
  { name: 'another client id', change: { clientId: parseClientId('t-43') } },
  { name: 'another issuer', change: { issuer: parseIssuer('https://other.example') } },
])('enrolling again as $name is refused and changes nothing', async ({ change }) => {
  const { authority, run, file } = await setUp();
  await run();
  const before = ['identity.json', 'device-key.pem'].map((name) =>
    readFileSync(file(name), 'utf8'),
  );
  const requests = authority.requests.length;
  await expect(run(change)).rejects.toThrow(UsageError);
  expect(
    ['identity.json', 'device-key.pem'].map((name) => readFileSync(file(name), 'utf8')),
  ).toEqual(before);
  expect(authority.requests.length).toBe(requests);
});

test('a crash between the key and the answer is mended by the same command, with the same key', async () => {
  const { authority, run, file } = await setUp();
  authority.answer = (path, response) => {
    if (path !== '/enroll') return false;
    response.destroy(); // the answer is lost
    return true;
  };
  await expect(run()).rejects.toThrow(UnreachableError);
  expect(existsSync(file('identity.json'))).toBe(false);
  const key = readFileSync(file('device-key.pem'), 'utf8');
  authority.answer = () => false;
  const { identity } = await run();
  expect(readFileSync(file('device-key.pem'), 'utf8')).toBe(key);
  expect(authority.enrolled.get('t-42')?.kid).toBe(identity.kid);
});

test('the key is on disk before the first byte is sent', async () => {
  const { authority, run, file } = await setUp();
  const keys: boolean[] = [];
  authority.answer = () => {
    keys.push(existsSync(file('device-key.pem')));
    return false;
  };
  await run();
  expect(keys).toEqual([true, true]);
});

test('two enrollments at once use one key', async () => {
  const { authority, run } = await setUp();
  const [a, b] = await Promise.all([run(), run()]);
  expect(a?.identity).toEqual(b?.identity);
  expect(authority.enrolled.size).toBe(1);
});

test('metadata that names another issuer is refused before the code is sent', async () => {
  const { authority, run } = await setUp();
  authority.answer = (path, response) => {
    if (!path.startsWith('/.well-known')) return false;
    const { issuer } = authority;
    response.end(
      JSON.stringify({
        issuer: 'https://honest.example',
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        enrollment_endpoint: `${issuer}/enroll`,
      }),
    );
    return true;
  };
  await expect(run()).rejects.toThrow(UnreachableError);
  expect(authority.requests).toEqual(['GET /.well-known/oauth-authorization-server']);
});

test.each([
  { name: 'of the metadata', at: '/.well-known/oauth-authorization-server' },
  { name: 'of the enrollment', at: '/enroll' },
])('a redirect $name is not followed', async ({ at }) => {
  const { authority, run, file } = await setUp();
  authority.answer = (path, response) => {
    if (path !== at) return false;
    response.writeHead(307, { location: `${authority.issuer}/elsewhere` }).end();
    return true;
  };
  await expect(run()).rejects.toThrow(UnreachableError);
  expect(authority.requests.some((request) => request.includes('elsewhere'))).toBe(false);
  expect(existsSync(file('identity.json'))).toBe(false);
});

test.each([
  { name: 'another key', body: { client_id: 't-42', kid: 'x'.repeat(43) } },
  { name: 'another client', body: { client_id: 't-43' } },
  { name: 'another issuer', body: { issuer: 'https://other.example' } },
  { name: 'nothing', body: { kid: 1 } },
])('an answer about $name is refused', async ({ body }) => {
  const { authority, run, file } = await setUp();
  authority.answer = (path, response) => {
    if (path !== '/enroll') return false;
    const answer = { client_id: 't-42', kid: 'k', issuer: authority.issuer, ...body };
    response.writeHead(201).end(JSON.stringify(answer));
    return true;
  };
  await expect(run()).rejects.toThrow(UnreachableError);
  expect(existsSync(file('identity.json'))).toBe(false);
});

test('a refused code is told by its error code and never printed', async () => {
  const { run } = await setUp();
  const code = newEnrollmentCode();
  const error = await run({ readCode: async () => code }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TokenRequestError);
  expect(error).toMatchObject({ error: 'invalid_grant' });
  expect(String((error as Error).stack)).not.toContain(code);
});

test('a text that is no code is refused before anything is made or sent', async () => {
  const { authority, run, file } = await setUp();
  await expect(run({ readCode: async () => 'lke_short' })).rejects.toThrow(/must be lke_/);
  expect(authority.requests).toEqual([]);
  expect(existsSync(file('device-key.pem'))).toBe(false);
});

test('http is refused beyond loopback', () => {
  expect(() => parseIssuer('http://id.example')).toThrow(/https/);
});

test.each([
  { name: 'key read by the group', file: 'device-key.pem', mode: 0o640 },
  { name: 'key read by others', file: 'device-key.pem', mode: 0o604 },
  { name: 'key written by the group', file: 'device-key.pem', mode: 0o620 },
  { name: 'identity written by others', file: 'identity.json', mode: 0o602 },
])('$name: refused with the command that mends it', async ({ file: name, mode }) => {
  const { stateDir, run, file } = await setUp();
  await run();
  chmodSync(file(name), mode);
  await expect(openIdentity(stateDir)).rejects.toThrow(`run: chmod 600 ${file(name)}`);
  chmodSync(file(name), 0o600);
  await openIdentity(stateDir);
});

test.each([
  { mode: 0o700, ok: true },
  { mode: 0o710, ok: true },
  { mode: 0o755, ok: false },
  { mode: 0o740, ok: false },
  { mode: 0o701, ok: false },
  { mode: 0o720, ok: false },
])('a state folder of mode $mode: $ok', async ({ mode, ok }) => {
  const { stateDir, run } = await setUp();
  await run();
  chmodSync(stateDir, mode);
  const opened = openIdentity(stateDir);
  if (ok) await opened;
  else await expect(opened).rejects.toThrow(`run: chmod 700 ${stateDir}`);
});

test('an open state folder is refused before a key is made in it', async () => {
  const { authority, stateDir, run, file } = await setUp();
  mkdirSync(stateDir, { mode: 0o755 });
  await expect(run()).rejects.toThrow(/chmod 700/);
  expect(existsSync(file('device-key.pem'))).toBe(false);
  expect(authority.requests).toEqual([]);
});

test.each([
  { name: 'no key', change: (path: string) => writeFileSync(path, '') },
  { name: 'no PEM', change: (path: string) => writeFileSync(path, 'hello') },
])('a key file with $name is refused without echo', async ({ change }) => {
  const { stateDir, run, file } = await setUp();
  await run();
  change(file('device-key.pem'));
  await expect(openIdentity(stateDir)).rejects.toThrow(/is not an unencrypted PKCS#8/);
});

test('a key that is not the enrolled one is refused', async () => {
  const [a, b] = [await setUp(), await setUp()];
  await a.run();
  await b.run();
  writeFileSync(a.file('device-key.pem'), readFileSync(b.file('device-key.pem')));
  await expect(openIdentity(a.stateDir)).rejects.toThrow(/was enrolled/);
});
