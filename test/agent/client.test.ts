import { createServer } from 'node:http';
import { join } from 'node:path';
import { AgentError, connectAgent, type Subscription } from '@latchkey/agent';
import { expect, onTestFinished, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { askSocket } from '../helpers/local-api.ts';
import { runCommand, temporaryDir } from '../helpers/processes.ts';

const TOPIC = 'devices/t-42/telemetry/x';
const FILTER = 'devices/t-42/commands/#';
const COMMAND = 'devices/t-42/commands/power';

async function setUp() {
  const setup = await setUpAgent();
  const socketPath = join(setup.stateDir, 'agent.sock');
  const connect = (timeoutMs = 30_000) => {
    const client = connectAgent({ socketPath, timeoutMs });
    onTestFinished(client.close);
    return client;
  };
  return { ...setup, socketPath, connect };
}

async function take(subscription: Subscription, count: number): Promise<string[]> {
  const payloads: string[] = [];
  for await (const { payload } of subscription) {
    payloads.push(payload.toString());
    if (payloads.length === count) break;
  }
  return payloads;
}

test('publishes text and bytes, stored or delivered', async () => {
  const { broker, startAgent, connect } = await setUp();
  await startAgent();
  const client = connect();
  expect(await client.publish(TOPIC, 'é')).toEqual({ isDelivered: false });
  const options = { qos: 2, isRetained: true, until: 'delivered' } as const;
  expect(await client.publish(TOPIC, Buffer.from('b'), options)).toEqual({ isDelivered: true });
  await broker.published(TOPIC, 2);
  expect(broker.publishes).toMatchObject([
    { payload: 'é', qos: 1, retain: false },
    { payload: 'b', qos: 2, retain: true },
  ]);
});

test('2000 messages at once arrive in their order', async () => {
  const { broker, startAgent, connect } = await setUp();
  await startAgent();
  const client = connect();
  const numbers = Array.from({ length: 2000 }, (_, i) => String(i));
  await Promise.all(numbers.map((payload) => client.publish(TOPIC, payload)));
  await broker.published(TOPIC, 2000);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(numbers);
});

test('large messages are spread over requests; one that is too large fails alone', async () => {
  const { broker, startAgent, connect } = await setUp();
  await startAgent();
  const client = connect();
  const large = 'x'.repeat(300_000);
  const published = [large, large, 'x'.repeat(600_000), 'last'].map((text) =>
    client.publish(TOPIC, text),
  );
  const outcomes = await Promise.allSettled(published);
  expect(outcomes.map(({ status }) => status)).toEqual([
    ...['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  ]);
  await expect(published[2]).rejects.toMatchObject({ code: 'invalid' });
  await broker.published(TOPIC, 3);
});

test('a refused or malformed message fails alone, and says why', async () => {
  const { authority, broker, startAgent, connect } = await setUp();
  authority.scope = 'pub:devices/t-42/#';
  await startAgent();
  const client = connect();
  const [good, refused, malformed, second] = [TOPIC, 'other', 'a/#', TOPIC].map((topic) =>
    client.publish(topic, 'x'),
  );
  await expect(refused).rejects.toMatchObject({ name: 'AgentError', code: 'refused' });
  await expect(malformed).rejects.toMatchObject({ code: 'invalid' });
  await Promise.all([good, second]);
  await broker.published(TOPIC, 2);
});

test('a publication waits for an agent that restarts', async () => {
  const { broker, startAgent, connect } = await setUp();
  const first = await startAgent();
  const client = connect();
  await client.publish(TOPIC, '1');
  await first.stop();
  const second = client.publish(TOPIC, '2');
  await startAgent();
  await second;
  await broker.published(TOPIC, 2);
});

test('without an agent a request fails when its time is over, and a closed client at once', async () => {
  const { connect } = await setUp();
  await expect(connect(100).publish(TOPIC, 'x')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(connect(0).status()).rejects.toThrow(/no agent runs on/);
  const client = connect();
  const waiting = client.publish(TOPIC, 'x');
  client.close();
  await expect(waiting).rejects.toMatchObject({ code: 'closed' });
});

test('subscribes: ready, then messages with their bytes, until the loop ends', async () => {
  const { broker, startAgent, connect } = await setUp();
  await startAgent();
  const subscription = connect().subscribe(FILTER);
  await subscription.ready;
  await broker.send(COMMAND, 'on', { retain: true });
  await broker.send(COMMAND, Buffer.from([0xff]) as never, { qos: 0 });
  const messages = [];
  const ended = broker.unsubscribed(FILTER);
  for await (const message of subscription) {
    messages.push(message);
    if (messages.length === 2) break;
  }
  expect(messages).toEqual([
    { topic: COMMAND, payload: Buffer.from('on'), qos: 1, isRetained: false },
    { topic: COMMAND, payload: Buffer.from([0xff]), qos: 0, isRetained: false },
  ]);
  await ended;
});

test('a subscription comes back when the agent restarts', async () => {
  const { broker, startAgent, connect, socketPath } = await setUp();
  const first = await startAgent();
  const subscription = connect().subscribe([FILTER, 'other']);
  await subscription.ready;
  await broker.send(COMMAND, '1');
  const taken = take(subscription, 2);
  await first.stop();
  await startAgent();
  const metrics = async () => (await askSocket(socketPath, 'GET', '/metrics')).text;
  while (!(await metrics()).includes('latchkey_agent_subscribers 1\n')) {
    await new Promise(setImmediate);
  }
  await broker.send(COMMAND, '2');
  expect(await taken).toEqual(['1', '2']);
});

test('a refused filter ends the loop and the promise with the reason', async () => {
  const { authority, startAgent, connect } = await setUp();
  authority.scope = 'sub:devices/t-42/#';
  await startAgent();
  const subscription = connect().subscribe('devices/t-43/#');
  await expect(subscription.ready).rejects.toMatchObject({ code: 'refused' });
  await expect(take(subscription, 1)).rejects.toBeInstanceOf(AgentError);
  await expect(connect().subscribe('a/#/b').ready).rejects.toMatchObject({ code: 'invalid' });
});

test.each(['close', 'signal', 'client'] as const)('a subscription ends by %s', async (by) => {
  const { startAgent, connect } = await setUp();
  await startAgent();
  const client = connect();
  const ending = new AbortController();
  const subscription = client.subscribe(FILTER, { signal: ending.signal });
  await subscription.ready;
  const taken = take(subscription, 1);
  if (by === 'close') subscription.close();
  else if (by === 'signal') ending.abort();
  else client.close();
  expect(await taken).toEqual([]);
});

test('a program that takes nothing misses messages, and learns how many', async () => {
  const { broker, startAgent, connect, logger } = await setUp();
  const agent = await startAgent();
  const subscription = connect().subscribe(FILTER);
  await subscription.ready;
  const payload = 'x'.repeat(50_000);
  let sent = 0;
  while (agent.status().counters.droppedDeliveries < 2) {
    await broker.send(COMMAND, payload);
    sent += 1;
    while (agent.status().counters.received < sent) await new Promise(setImmediate);
  }
  expect(sent).toBeLessThan(300);
  expect(logger.all('subscriber.slow').length).toBe(1);
  let received = 0;
  const reading = (async () => {
    for await (const message of subscription) {
      if (message.payload.toString() === 'last') return;
      received += 1;
    }
  })();
  while (subscription.missed === 0) await new Promise(setImmediate);
  await broker.send(COMMAND, 'last');
  await reading;
  expect(received + subscription.missed).toBe(sent);
});

test('a token for another resource, and the status, in camel case', async () => {
  const { authority, clock, startAgent, connect } = await setUp();
  await startAgent();
  const client = connect();
  expect(await client.token('https://api.example', { scope: 'orders:read' })).toEqual({
    accessToken: authority.issued.at(-1)?.text,
    expiresAt: clock.now() + 900,
    scope: 'orders:read',
  });
  await expect(client.token('x')).rejects.toMatchObject({ code: 'invalid' });
  expect(await client.status()).toMatchObject({
    state: 'online',
    clientId: 't-42',
    outbox: { messages: 0, bytes: 0 },
    counters: { droppedReadings: 0 },
  });
});

test('an answer that is not what the agent says is a failure, not a crash', async () => {
  const socketPath = join(temporaryDir(), 's');
  const server = createServer((_request, response) => response.end('{}')).listen(socketPath);
  onTestFinished(() => void server.close());
  const client = connectAgent({ socketPath, timeoutMs: 0 });
  await expect(client.publish(TOPIC, 'x')).rejects.toBeInstanceOf(AgentError);
  await expect(client.token('https://api.example')).rejects.toMatchObject({ code: 'failed' });
  client.close();
});

test('the library loads nothing but itself and what Node has', async () => {
  const script = `
    import { register } from 'node:module';
    const code = "export async function load(url, context, next) { if (url.startsWith('file:')) process._rawDebug(url); return next(url, context); }";
    register('data:text/javascript,' + encodeURIComponent(code));
    await import('@latchkey/agent');`;
  const { stderr, exitCode } = await runCommand(process.execPath, [
    ...['--no-warnings', '--input-type=module', '--eval', script],
  ]);
  const loaded = stderr.trim().split('\n');
  expect(exitCode).toBe(0);
  expect(loaded[0]).toMatch(/agent\/dist\/index\.js$/);
  for (const url of loaded) expect(url).toMatch(/agent\/dist\/(index|client\/[a-z-]+)\.js$/);
});
