import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { askSocket } from '../helpers/local-api.ts';

const RESOURCE = 'https://api.example';

async function setUp() {
  const setup = await setUpAgent();
  const socketPath = join(setup.stateDir, 'agent.sock');
  const ask = (body: unknown) => askSocket(socketPath, 'POST', '/token', body);
  return { ...setup, socketPath, ask };
}

test('a token for another resource, cached until it is near its end, and in no log', async () => {
  const { authority, clock, logger, startAgent, socketPath, ask } = await setUp();
  await startAgent();
  const body = { resource: RESOURCE, scope: 'orders:read' };
  const first = await ask(body);
  const issued = authority.issued.at(-1);
  expect(issued).toMatchObject({ resource: RESOURCE, scope: 'orders:read' });
  expect(first).toMatchObject({
    status: 200,
    headers: { 'cache-control': 'no-store' },
    body: {
      access_token: issued?.text,
      token_type: 'Bearer',
      expires_in: 900,
      expires_at: clock.now() + 900,
      scope: 'orders:read',
    },
  });
  const requests = authority.issued.length;
  await clock.advance(400_000);
  expect((await ask(body)).body).toMatchObject({ access_token: issued?.text, expires_in: 500 });
  expect(authority.issued.length).toBe(requests);
  await clock.advance(470_000); // 30 s before its end
  expect((await ask(body)).body.access_token).not.toBe(issued?.text);
  const status = await askSocket(socketPath, 'GET', '/status');
  const metrics = await askSocket(socketPath, 'GET', '/metrics');
  const said = logger.text() + status.text + metrics.text;
  for (const { text } of authority.issued) expect(said).not.toContain(text);
});

test('another scope is another token; many that ask at once share one request', async () => {
  const { authority, startAgent, ask } = await setUp();
  await startAgent();
  const before = authority.issued.length;
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask({ resource: RESOURCE })));
  expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(1);
  expect(authority.issued.length).toBe(before + 1);
  await ask({ resource: RESOURCE, scope: 'a' });
  expect(authority.issued.length).toBe(before + 2);
});

test("the broker's own token is given to nobody", async () => {
  const { authority, broker, startAgent, ask } = await setUp();
  await startAgent();
  const { status, text } = await ask({ resource: broker.url });
  expect(status).toBe(403);
  expect(text).not.toContain(authority.issued[0]!.text);
  expect(authority.issued.length).toBe(1);
});

test.each([
  { name: 'no resource', body: {}, status: 400 },
  { name: 'a resource that is no URI', body: { resource: 'x' }, status: 400 },
  { name: 'a scope with two spaces', body: { resource: RESOURCE, scope: 'a  b' }, status: 400 },
  { name: 'an empty scope', body: { resource: RESOURCE, scope: '' }, status: 400 },
  { name: 'a long scope', body: { resource: RESOURCE, scope: 'a'.repeat(4097) }, status: 400 },
  { name: 'an unknown member', body: { resource: RESOURCE, audience: 'x' }, status: 400 },
  { name: 'no object', body: 'x', status: 400 },
])('refuses $name before the authority is asked', async ({ body, status }) => {
  const { authority, startAgent, ask } = await setUp();
  await startAgent();
  expect((await ask(body)).status).toBe(status);
  expect(authority.issued.length).toBe(1);
});

test('what the authority refuses is answered with its code, and for 30 s it is not asked again', async () => {
  const { authority, clock, startAgent, ask } = await setUp();
  await startAgent();
  authority.answer = (path, response) => {
    if (path !== '/token') return false;
    response.writeHead(400, { 'content-type': 'application/json' });
    response.end('{"error":"invalid_target"}');
    return true;
  };
  const requests = () => authority.requests.filter((line) => line.endsWith('/token')).length;
  const before = requests();
  for (let count = 0; count < 5; count += 1) {
    expect(await ask({ resource: RESOURCE })).toMatchObject({
      status: 403,
      body: { error: 'invalid_target' },
    });
  }
  expect(requests()).toBe(before + 1);
  await clock.advance(29_000);
  await ask({ resource: RESOURCE });
  expect(requests()).toBe(before + 1);
  authority.answer = () => false;
  await clock.advance(1000);
  expect((await ask({ resource: RESOURCE })).status).toBe(200);
});

test('while the authority cannot be reached the answer is 503, and says when to come again', async () => {
  const { authority, clock, startAgent, ask } = await setUp();
  await startAgent();
  await authority.stop();
  expect(await ask({ resource: RESOURCE })).toMatchObject({
    status: 503,
    headers: { 'retry-after': '2' },
    body: { error: 'temporarily_unavailable' },
  });
  await authority.start();
  await clock.advance(2000);
  expect((await ask({ resource: RESOURCE })).status).toBe(200);
});

test("tokens of programs never push the broker's out of the cache", async () => {
  const { authority, broker, startAgent, ask } = await setUp();
  await startAgent();
  for (let count = 0; count < 40; count += 1) await ask({ resource: RESOURCE, scope: `s${count}` });
  const issued = authority.issued.length;
  broker.kick();
  await broker.connected(1);
  expect(authority.issued.length).toBe(issued);
});
