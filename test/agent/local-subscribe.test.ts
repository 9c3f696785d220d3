import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { askSocket, openEvents } from '../helpers/local-api.ts';

const FILTER = 'devices/t-42/commands/#';
const TOPIC = 'devices/t-42/commands/power';

async function setUp() {
  const setup = await setUpAgent();
  const socketPath = join(setup.stateDir, 'agent.sock');
  /** Opens a stream and waits until the broker sends what matches. */
  const listen = async (filter = FILTER, more = '') => {
    const stream = await openEvents(socketPath, `filter=${encodeURIComponent(filter)}${more}`);
    expect(await stream.next()).toEqual({ event: 'subscribed', data: { filter } });
    return stream;
  };
  const metric = async (name: string) => {
    const { text } = await askSocket(socketPath, 'GET', '/metrics');
    return Number(new RegExp(`^latchkey_agent_${name} (.+)$`, 'm').exec(text)?.[1]);
  };
  /** Waits until the agent has seen a reader go. */
  const subscribers = async (count: number) => {
    while ((await metric('subscribers')) !== count) await new Promise(setImmediate);
  };
  return { ...setup, socketPath, listen, metric, subscribers };
}

test('messages arrive as events, text as it is and other bytes in base64', async () => {
  const { broker, startAgent, listen } = await setUp();
  await startAgent();
  const stream = await listen();
  expect(stream.status).toBe(200);
  await broker.send(TOPIC, 'é\n');
  expect(await stream.next()).toEqual({
    event: 'message',
    data: { topic: TOPIC, qos: 1, retain: false, payload: 'é\n' },
  });
  await broker.send(TOPIC, Buffer.from([0xff, 0x00]) as never, { qos: 0 });
  expect(await stream.next()).toEqual({
    event: 'message',
    data: { topic: TOPIC, qos: 0, retain: false, payload_base64: '/wA=' },
  });
});

test('a message comes once to a program with several filters that match, and not to others', async () => {
  const { broker, startAgent, socketPath, listen } = await setUp();
  await startAgent();
  const other = await listen('devices/t-42/other');
  const stream = await openEvents(socketPath, `filter=${TOPIC}&filter=devices/t-42/commands/%2B`);
  await stream.next();
  await stream.next();
  await broker.send(TOPIC, '1');
  await broker.send(TOPIC, '2');
  await broker.send('devices/t-42/other', '3');
  expect([(await stream.next()).data.payload, (await stream.next()).data.payload]).toEqual([
    '1',
    '2',
  ]);
  expect((await other.next()).data.payload).toBe('3');
});

test('programs share one subscription at the broker; it ends with the last of them', async () => {
  const { broker, startAgent, listen, subscribers } = await setUp();
  await startAgent();
  const first = await listen();
  const second = await listen();
  first.close();
  await subscribers(1);
  await broker.send(TOPIC, 'x');
  expect((await second.next()).data.payload).toBe('x');
  const ended = broker.unsubscribed(FILTER);
  second.close();
  await ended;
});

test('a newcomer gets retained messages, who has them already does not, and an action does not run again', async () => {
  const { broker, logger, startAgent, listen } = await setUp();
  await broker.send(TOPIC, 'kept', { retain: true });
  await startAgent(`[[action]]\nname = "a"\nfilter = "${TOPIC}"\ncommand = ["true"]\n`);
  await logger.event('action.run');
  const first = await listen();
  expect((await first.next()).data).toMatchObject({ payload: 'kept', retain: true });
  const second = await listen();
  expect((await second.next()).data).toMatchObject({ payload: 'kept', retain: true });
  await broker.send(TOPIC, 'new');
  expect((await first.next()).data).toMatchObject({ payload: 'new', retain: false });
  expect((await second.next()).data).toMatchObject({ payload: 'new', retain: false });
  await logger.event('action.run', {}, logger.lines.length - 1);
  expect(logger.all('action.run').length).toBe(2);
});

test('after the broker lost its sessions the filter is subscribed to again, retained messages too', async () => {
  const { broker, clock, startAgent, listen } = await setUp();
  await startAgent('clean_session = true\n');
  const stream = await listen();
  await broker.send(TOPIC, 'before', { retain: true });
  expect((await stream.next()).data.payload).toBe('before');
  await broker.stop();
  await broker.send(TOPIC, 'while away', { retain: true });
  await broker.start();
  const event = stream.next();
  let isThere = false;
  void event.then(() => {
    isThere = true;
  });
  while (!isThere) await clock.advance(1000);
  expect((await event).data).toMatchObject({ payload: 'while away', retain: true });
});

test('a program may listen while the broker cannot be reached; it is told when it is subscribed', async () => {
  const { broker, clock, createAgent, logger, socketPath } = await setUp();
  await broker.stop();
  const ending = new AbortController();
  const run = createAgent().run(ending.signal);
  await logger.event('agent.state', { state: 'backing-off' });
  const stream = await openEvents(socketPath, `filter=${TOPIC}`);
  await broker.start();
  const subscribed = stream.next();
  let isThere = false;
  void subscribed.then(() => {
    isThere = true;
  });
  while (!isThere) await clock.advance(1000);
  expect((await subscribed).event).toBe('subscribed');
  ending.abort();
  await run;
  expect(await stream.next()).toMatchObject({ event: 'closed', data: { error: 'stopping' } });
  await stream.ended;
});

test('a filter that an earlier run left at the broker is given up, one that is wanted again is not', async () => {
  const { broker, startAgent, listen, stateDir } = await setUp();
  const first = await startAgent();
  await listen(FILTER);
  await listen('devices/t-42/other');
  await first.stop();
  expect(JSON.parse(readFileSync(join(stateDir, 'subscriptions.json'), 'utf8'))).toEqual({
    filters: [FILTER, 'devices/t-42/other'],
  });
  const ended = broker.unsubscribed('devices/t-42/other');
  const action = `[[action]]\nname = "a"\nfilter = "${FILTER}"\ncommand = ["true"]\n`;
  const second = await startAgent(action);
  await ended;
  await broker.send(TOPIC, 'x');
  while (second.status().counters.received === 0) await new Promise(setImmediate);
  expect(JSON.parse(readFileSync(join(stateDir, 'subscriptions.json'), 'utf8'))).toEqual({
    filters: [FILTER],
  });
});

test.each([
  { name: 'a filter beyond the rights', query: 'filter=devices/t-43/%23', error: 'refused' },
  { name: 'a wider filter', query: 'filter=devices/%23', error: 'refused' },
  { name: 'one of two filters', query: `filter=${TOPIC}&filter=x`, error: 'refused' },
  { name: 'a QoS beyond the rights', query: 'filter=devices/t-42/low&qos=1', error: 'refused' },
])('$name is refused with 403 at once, and never asked of the broker', async ({ query, error }) => {
  const { authority, broker, startAgent, socketPath } = await setUp();
  authority.scope = 'sub:devices/t-42/commands/# sub;qos=0:devices/t-42/low';
  await startAgent();
  const { status, body } = await askSocket(socketPath, 'GET', `/subscribe?${query}`);
  expect([status, body.error]).toEqual([403, error]);
  expect(body.error_description).toMatch(/no right to subscribe/);
  expect(broker.subscribes).toEqual([]);
});

test('a filter that the broker refuses ends the stream with the reason, and is not asked again', async () => {
  const { broker, startAgent, socketPath } = await setUp();
  broker.canSubscribe = () => false;
  await startAgent();
  const stream = await openEvents(socketPath, `filter=${TOPIC}`);
  expect(await stream.next()).toMatchObject({ event: 'closed', data: { error: 'refused' } });
  await stream.ended;
  expect((await askSocket(socketPath, 'GET', `/subscribe?filter=${TOPIC}`)).status).toBe(403);
  expect(broker.subscribes.length).toBe(1);
});

test('a renewed token that covers the filter no more ends the stream', async () => {
  const { authority, clock, startAgent, listen } = await setUp();
  authority.scope = 'sub:devices/t-42/commands/#';
  await startAgent();
  const stream = await listen();
  authority.scope = 'pub:devices/t-42/telemetry/#';
  const closed = stream.next();
  let isThere = false;
  void closed.then(() => {
    isThere = true;
  });
  while (!isThere) await clock.advance(10_000);
  expect(await closed).toMatchObject({ event: 'closed', data: { error: 'refused' } });
});

test.each([
  { name: 'no filter', query: '' },
  { name: 'an empty filter', query: 'filter=' },
  { name: 'a malformed filter', query: 'filter=a/%23/b' },
  { name: 'QoS 3', query: 'filter=a&qos=3' },
  { name: 'two QoS', query: 'filter=a&qos=0&qos=1' },
  { name: 'an unknown parameter', query: 'filter=a&topic=b' },
  { name: '17 filters', query: Array.from({ length: 17 }, (_, i) => `filter=${i}`).join('&') },
])('refuses $name with 400', async ({ query }) => {
  const { broker, startAgent, socketPath } = await setUp();
  await startAgent();
  expect((await askSocket(socketPath, 'GET', `/subscribe?${query}`)).status).toBe(400);
  expect(broker.subscribes).toEqual([]);
});

test('48 programs may listen, the next is told to wait, and other requests are still answered', async () => {
  const { dir, startAgent, socketPath, listen, metric, subscribers } = await setUp();
  await startAgent('[[socket]]\npath = "app.sock"\nsubscribe = ["#"]\n');
  const streams = [];
  for (let count = 0; count < 48; count += 1) streams.push(await listen());
  expect((await askSocket(socketPath, 'GET', `/subscribe?filter=${TOPIC}`)).status).toBe(503);
  expect(await metric('subscribers')).toBe(48);
  const elsewhere = await openEvents(join(dir, 'app.sock'), `filter=${TOPIC}`);
  expect(elsewhere.status).toBe(200); // each socket has its own places
  elsewhere.close();
  await subscribers(48);
  streams[0]?.close();
  await subscribers(47);
  await listen();
});

test('a slow reader misses messages, is told how many, and holds up nobody', async () => {
  const { broker, logger, startAgent, listen, metric } = await setUp();
  await startAgent();
  const [slow, quick] = [await listen(), await listen()];
  slow.pause();
  const payload = 'x'.repeat(100_000);
  let sent = 0;
  while ((await metric('dropped_deliveries_total')) < 3) {
    await broker.send(TOPIC, payload);
    sent += 1;
    expect((await quick.next()).data.payload).toBe(payload);
  }
  expect(sent).toBeLessThan(30); // what the agent and the kernel keep is bounded
  expect(logger.all('subscriber.slow').length).toBe(1);
  slow.resume();
  let received = 0;
  let event = await slow.next();
  for (; event.event === 'message'; event = await slow.next()) received += 1;
  expect(event).toEqual({ event: 'dropped', data: { messages: sent - received } });
  await broker.send(TOPIC, 'last');
  expect((await slow.next()).data.payload).toBe('last');
});

test('a reader that takes nothing for two minutes is ended; another one sees a comment every 15 s', async () => {
  const { broker, clock, logger, startAgent, listen, metric, subscribers } = await setUp();
  await startAgent();
  const [stuck, idle] = [await listen(), await listen('other')];
  stuck.pause();
  while ((await metric('dropped_deliveries_total')) === 0) {
    await broker.send(TOPIC, 'x'.repeat(100_000));
  }
  for (let beats = 1; beats < 8; beats += 1) {
    await clock.advance(15_000);
    expect(await metric('subscribers')).toBe(2);
  }
  await clock.advance(15_000);
  await subscribers(1);
  expect(logger.all('subscriber.stalled').length).toBe(1);
  while (idle.comments < 8) await new Promise(setImmediate);
});
