import { existsSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { type AgentSetup, setUpAgent } from '../helpers/agent-setup.ts';
import { runCommand } from '../helpers/processes.ts';

const TOPIC = 'devices/t-42/telemetry/x';

async function setUp() {
  const setup = await setUpAgent();
  const socketPath = join(setup.stateDir, 'agent.sock');
  const ask = (method: string, path: string, body?: string) =>
    new Promise<{ status: number; body: Record<string, unknown> }>((resolve, reject) => {
      const outgoing = request({ socketPath, method, path }, (response) => {
        text(response).then(
          (answer) => resolve({ status: response.statusCode!, body: JSON.parse(answer) }),
          reject,
        );
      });
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  const publish = (value: object) => ask('POST', '/publish', JSON.stringify(value));
  return { ...setup, socketPath, ask, publish };
}

const offline = async ({ broker, logger }: AgentSetup) => {
  const lost = logger.event('agent.state', { state: 'backing-off' });
  await broker.stop();
  await lost;
};

test('publishes, and answers after the acknowledgement when asked to wait', async () => {
  const { broker, startAgent, socketPath, publish } = await setUp();
  await startAgent();
  expect(statSync(socketPath).mode & 0o777).toBe(0o660);
  expect(await publish({ topic: TOPIC, payload: 'é', retain: true, wait: true })).toEqual({
    status: 200,
    body: { topic: TOPIC, qos: 1, is_acknowledged: true },
  });
  expect(broker.publishes).toMatchObject([{ topic: TOPIC, payload: 'é', qos: 1, retain: true }]);
});

test.each([0, 1, 2])('publishes bytes with QoS %i', async (qos) => {
  const { broker, startAgent, publish } = await setUp();
  await startAgent();
  const answer = await publish({ topic: TOPIC, payload_base64: 'AAH/', qos });
  expect(answer).toEqual({ status: 202, body: { topic: TOPIC, qos, is_acknowledged: false } });
  expect((await broker.published(TOPIC)).payload).toBe(Buffer.from('0001ff', 'hex').toString());
});

test('a refused message answers 403 with a reason', async () => {
  const { authority, startAgent, publish } = await setUp();
  authority.scope = 'pub:devices/t-42/#';
  await startAgent();
  const { status, body } = await publish({ topic: 'secret/x', payload: '' });
  expect([status, body.error]).toEqual([403, 'refused']);
  expect(body.error_description).toMatch(/no right to publish/);
});

test('offline the message is kept, and whoever waits is told so after 30 s', async () => {
  const setup = await setUp();
  const { broker, clock, ask, publish, startAgent } = setup;
  await startAgent();
  await offline(setup);
  expect((await publish({ topic: TOPIC, payload: 'a' })).status).toBe(202);
  const waiting = publish({ topic: TOPIC, payload: 'b', wait: true });
  await clock.untilSleeping(30_000);
  await clock.advance(30_000);
  expect(await waiting).toMatchObject({ status: 202, body: { is_acknowledged: false } });
  const { body } = await ask('GET', '/outbox');
  expect(body).toMatchObject({
    messages: 2,
    oldest: [{ topic: TOPIC, bytes: 1, lane: 'telemetry' }, {}],
  });
  await broker.start();
  const arrived = broker.published(TOPIC, 2);
  let isThere = false;
  void arrived.then(() => {
    isThere = true;
  });
  while (!isThere) await clock.advance(100);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(['a', 'b']);
});

test('messages are dropped from the outbox by hand, one or all', async () => {
  const setup = await setUp();
  await setup.startAgent();
  await offline(setup);
  for (const payload of ['a', 'b', 'c']) await setup.publish({ topic: TOPIC, payload });
  const listed = async () =>
    (await setup.ask('GET', '/outbox')).body.oldest as { sequence: number }[];
  const [, second] = await listed();
  const path = `/outbox/${second?.sequence}`;
  expect(await setup.ask('DELETE', path)).toEqual({ status: 200, body: { dropped: 1 } });
  expect(await setup.ask('DELETE', path)).toEqual({ status: 200, body: { dropped: 0 } });
  expect((await listed()).length).toBe(2);
  expect(await setup.ask('DELETE', '/outbox')).toEqual({ status: 200, body: { dropped: 2 } });
  expect(await setup.ask('GET', '/outbox')).toEqual({
    status: 200,
    body: { messages: 0, bytes: 0, oldest: [] },
  });
});

test('status tells state, broker, token and counters, never the token', async () => {
  const { authority, clock, startAgent, ask, broker, publish } = await setUp();
  await startAgent();
  await publish({ topic: TOPIC, wait: true });
  const { status, body } = await ask('GET', '/status');
  expect(status).toBe(200);
  expect(body).toMatchObject({
    state: 'online',
    since: clock.now(),
    client_id: 't-42',
    issuer: authority.issuer,
    broker: broker.url,
    resource: broker.url,
    token: { expires_at: clock.now() + 900 },
    last_error: null,
    outbox: { messages: 0 },
    counters: { published: 1, dropped_readings: 0 },
  });
  expect(JSON.stringify(body)).not.toContain(authority.issued[0]!.text);
});

test.each([
  { name: 'no JSON', method: 'POST', path: '/publish', body: 'x', status: 400 },
  { name: 'no topic', method: 'POST', path: '/publish', body: '{}', status: 400 },
  { name: 'a wildcard', method: 'POST', path: '/publish', body: '{"topic":"a/#"}', status: 400 },
  {
    name: 'an unknown key',
    method: 'POST',
    path: '/publish',
    body: '{"topic":"a","ttl":1}',
    status: 400,
  },
  { name: 'QoS 3', method: 'POST', path: '/publish', body: '{"topic":"a","qos":3}', status: 400 },
  {
    name: 'two payloads',
    method: 'POST',
    path: '/publish',
    body: '{"topic":"a","payload":"","payload_base64":""}',
    status: 400,
  },
  {
    name: 'bad base64',
    method: 'POST',
    path: '/publish',
    body: '{"topic":"a","payload_base64":"?"}',
    status: 400,
  },
  {
    name: 'too large',
    method: 'POST',
    path: '/publish',
    body: 'x'.repeat(512 * 1024 + 1),
    status: 413,
  },
  { name: 'wrong method', method: 'GET', path: '/publish', body: '', status: 405 },
  { name: 'wrong method for status', method: 'POST', path: '/status', body: '', status: 405 },
  { name: 'POST to the outbox', method: 'POST', path: '/outbox', body: '', status: 405 },
  { name: 'GET of one message', method: 'GET', path: '/outbox/1', body: '', status: 405 },
  { name: 'no number', method: 'DELETE', path: '/outbox/x', body: '', status: 404 },
  { name: 'unknown path', method: 'GET', path: '/tokens', body: '', status: 404 },
  { name: 'GET of a token', method: 'GET', path: '/token', body: '', status: 405 },
  { name: 'no messages', method: 'POST', path: '/publish', body: '[]', status: 400 },
])('refuses $name', async ({ method, path, body, status }) => {
  const { broker, startAgent, ask } = await setUp();
  await startAgent();
  expect((await ask(method, path, body)).status).toBe(status);
  expect(broker.publishes).toEqual([]);
});

test('a second agent on the state folder is refused, and the first one goes on', async () => {
  const { createAgent, startAgent, publish } = await setUp();
  await startAgent();
  const second = createAgent().run(new AbortController().signal);
  await expect(second).rejects.toThrow(/another agent runs/);
  expect((await publish({ topic: TOPIC, wait: true })).status).toBe(200);
});

test('of two agents that start at once on a stale socket one runs', async () => {
  const { createAgent, socketPath, logger } = await setUp();
  await leaveStaleSocket(socketPath);
  const ending = new AbortController();
  const runs = [createAgent().run(ending.signal), createAgent().run(ending.signal)];
  for (const run of runs) run.catch(() => undefined);
  await logger.event('agent.state', { state: 'online' });
  ending.abort();
  const ends = await Promise.allSettled(runs);
  expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
});

/** A process that dies without removing its socket. */
async function leaveStaleSocket(path: string) {
  const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  await runCommand(process.execPath, ['-e', script, path]);
  expect(existsSync(path)).toBe(true);
}

test('a socket that a killed agent left is taken over; a clean end removes it', async () => {
  const { startAgent, socketPath, publish } = await setUp();
  await leaveStaleSocket(socketPath);
  const agent = await startAgent();
  expect((await publish({ topic: TOPIC, wait: true })).status).toBe(200);
  await agent.stop();
  expect(existsSync(socketPath)).toBe(false);
});

test('a file in the place of the socket that is no socket stays, and the agent does not start', async () => {
  const { createAgent, socketPath } = await setUp();
  writeFileSync(socketPath, 'x');
  await expect(createAgent().run(new AbortController().signal)).rejects.toThrow();
  expect(existsSync(socketPath)).toBe(true);
});

test('a foreign server on the socket is not removed', async () => {
  const { createAgent, socketPath } = await setUp();
  const server = createServer().listen(socketPath);
  await expect(createAgent().run(new AbortController().signal)).rejects.toThrow(/another agent/);
  expect(existsSync(socketPath)).toBe(true);
  server.close();
});
