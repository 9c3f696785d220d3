import { expect, test } from 'vitest';
import { type AgentSetup, setUpAgent } from '../helpers/agent-setup.ts';

const TOPIC = 'devices/t-42/telemetry/temperature';
const message = (topic: string, payload = 'x', qos: 0 | 1 | 2 = 1) => ({
  topic,
  payload: Buffer.from(payload),
  qos,
  isRetained: false,
});
/** Longer than any test drives the clock. */
const LONG_MS = 1e9;
const ACTION = '[[action]]\nname = "a"\nfilter = "devices/t-42/commands/+"\ncommand = ["true"]\n';

/** Waits for the next line of this state after what was logged so far. */
const nextState = ({ logger }: AgentSetup, state: string) =>
  logger.event('agent.state', { state }, logger.lines.length);

/** Lets what is on the wire arrive while the clock stands still. */
async function settle({ logger }: AgentSetup) {
  do await new Promise(setImmediate);
  while (['obtaining', 'connecting'].includes(String(logger.all('agent.state').at(-1)?.state)));
}

/** Moves the clock past every wait until `done`. */
async function driveUntil(setup: AgentSetup, done: Promise<unknown>, stepMs = 1000) {
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  while (!isDone) {
    await setup.clock.advance(stepMs);
    await settle(setup);
  }
}

test('connects with user name and client identifier = client id, password = token, persistent session', async () => {
  const { broker, authority, startAgent } = await setUpAgent();
  const agent = await startAgent();
  expect(broker.connects).toEqual([
    { clientId: 't-42', username: 't-42', password: authority.issued[0]!.text, clean: false },
  ]);
  await agent.publishAndWait(message(TOPIC, '21.5'), LONG_MS);
  expect(broker.publishes).toMatchObject([{ payload: '21.5', qos: 1 }]);
  expect(agent.status()).toMatchObject({ state: 'online', counters: { published: 1 } });
  expect(await agent.stop()).toBe('aborted');
  expect(agent.status().state).toBe('offline');
});

test.each([0, 1, 2] as const)('publishes with QoS %i', async (qos) => {
  const { broker, startAgent } = await setUpAgent();
  const agent = await startAgent();
  for (const payload of ['a', 'b', 'c']) await agent.publish(message(TOPIC, payload, qos));
  await broker.published(TOPIC, 3);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(['a', 'b', 'c']);
});

test('passes through obtaining, connecting, online, and logs each', async () => {
  const { logger, startAgent } = await setUpAgent();
  const agent = await startAgent();
  await agent.stop();
  expect(logger.all('agent.state').map(({ state }) => state)).toEqual([
    'obtaining',
    'connecting',
    'online',
    'offline',
  ]);
  expect(logger.all('token.obtained')).toMatchObject([{ expiresAt: 1_760_000_900 }]);
});

test('renews before exp and reconnects with the new token; what waits meanwhile arrives', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, startAgent } = setup;
  const agent = await startAgent();
  await clock.untilSleeping(2000);
  await clock.advance(629_000);
  expect(authority.issued.length).toBe(1); // renewal at 60 + 20 * 0.5 % of 900 s
  const connecting = nextState(setup, 'connecting');
  await clock.advance(1000);
  await connecting;
  const online = nextState(setup, 'online');
  const waiting = ['a', 'b', 'c'].map((payload) => agent.publish(message(TOPIC, payload)));
  await online;
  await Promise.all(waiting);
  await broker.published(TOPIC, 3);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(['a', 'b', 'c']);
  expect(broker.connects.map(({ password }) => password)).toEqual(
    authority.issued.map(({ text }) => text),
  );
  expect(agent.status()).toMatchObject({ state: 'online', counters: { connections: 2 } });
});

const RENEW = '$latchkey/renew';

test('renews in the session where the broker can: each token is published once, the connection stays', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, logger, startAgent } = setup;
  const agent = await startAgent(`renewal = "session"\n${ACTION}`);
  for (const round of [1, 2, 3]) {
    const online = nextState(setup, 'online');
    await clock.untilSleeping(2000);
    await clock.advance(630_000);
    expect((await broker.published(RENEW, round)).payload).toBe(authority.issued[round]?.text);
    await online;
    await agent.publishAndWait(message(TOPIC), LONG_MS);
  }
  expect(broker.connects.length).toBe(1);
  expect(broker.subscribes.length).toBe(1);
  expect(broker.publishes.filter(({ topic }) => topic === RENEW)).toMatchObject([
    ...Array(3).fill({ qos: 1, retain: false }),
  ]);
  expect(agent.status()).toMatchObject({ counters: { connections: 1, renewals: 3 } });
  const said = logger.text() + JSON.stringify(agent.status());
  for (const { text } of authority.issued) expect(said).not.toContain(text);
});

test('a broker that refuses the renewal in the session gets the token by a new connection', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, startAgent } = setup;
  broker.canPublish = (topic) => topic !== RENEW;
  const agent = await startAgent('renewal = "session"\n');
  await clock.untilSleeping(2000);
  await clock.advance(630_000);
  await broker.published(RENEW);
  await driveUntil(setup, nextState(setup, 'online'), 100);
  expect(broker.connects.map(({ password }) => password)).toEqual(
    authority.issued.map(({ text }) => text),
  );
  expect(agent.status()).toMatchObject({ counters: { connections: 2, renewals: 0 } });
});

test('a filter that was refused is asked for again after a renewal in the session', async () => {
  const setup = await setUpAgent();
  const { broker, clock, startAgent } = setup;
  broker.canSubscribe = () => false;
  await startAgent(`renewal = "session"\n${ACTION}`);
  expect(broker.subscribes.length).toBe(1);
  broker.canSubscribe = () => true;
  const online = nextState(setup, 'online');
  await clock.untilSleeping(2000);
  await clock.advance(630_000);
  await online;
  expect(broker.subscribes.length).toBe(2);
});

test('a message of QoS 1 that comes during the renewal reaches its action', async () => {
  const setup = await setUpAgent();
  const { broker, clock, logger, startAgent } = setup;
  await startAgent(ACTION);
  broker.returnCode = () => {
    void broker.send('devices/t-42/commands/x', 'queued'); // between DISCONNECT and CONNACK
    return 0;
  };
  await clock.untilSleeping(2000);
  await clock.advance(630_000);
  await logger.event('action.run', { exitCode: 0 });
  expect(broker.subscribes.filter((filter) => filter.endsWith('+')).length).toBeGreaterThan(0);
});

test('a session that the broker kept is not subscribed again: retained messages do not come twice', async () => {
  const setup = await setUpAgent();
  const { broker, logger, startAgent } = setup;
  await broker.send('devices/t-42/commands/x', 'on', { retain: true });
  const agent = await startAgent(ACTION);
  await logger.event('action.run');
  broker.kick();
  await driveUntil(setup, nextState(setup, 'online'));
  await agent.publishAndWait(message(TOPIC), LONG_MS);
  expect(agent.status().counters.received).toBe(1);
});

test('an expired token is never presented, whatever fails when', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, startAgent } = setup;
  authority.ttlSeconds = 60;
  const secondsLeft: number[] = [];
  broker.returnCode = ({ password }) => {
    const token = authority.issued.find(({ text }) => text === password);
    secondsLeft.push((token?.expiresAt ?? 0) - clock.now());
    return 0;
  };
  await startAgent();
  const step = async () => {
    await clock.advance(3000);
    await settle(setup);
  };
  for (let round = 0; round < 8; round += 1) {
    if (round % 2 === 1) await authority.stop();
    for (let i = 0; i < 60; i += 1) {
      await step();
      if (i % 8 === round) broker.kick();
    }
    if (round % 2 === 1) await authority.start();
    broker.kick();
    const count = broker.connects.length;
    while (broker.connects.length === count) await step();
  }
  expect(secondsLeft.length).toBeGreaterThan(8);
  expect(Math.min(...secondsLeft)).toBeGreaterThan(0);
});

test('authority down at renewal: the session goes on, tries go on, and the first answer renews', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, logger, startAgent } = setup;
  const agent = await startAgent();
  await authority.stop();
  await clock.untilSleeping(2000);
  await clock.advance(630_000);
  await logger.event('agent.state', { state: 'renewing' });
  await driveUntil(
    setup,
    (async () => {
      while (!agent.status().detail?.includes('cannot reach')) await new Promise(setImmediate);
    })(),
    0,
  );
  await agent.publishAndWait(message(TOPIC), LONG_MS);
  expect(agent.status().state).toBe('renewing');
  expect(broker.connects.length).toBe(1);
  await authority.start();
  await driveUntil(setup, broker.connected(2));
  await logger.event('agent.state', { state: 'online' }, logger.lines.length - 1);
});

test('authority down beyond exp: backs off without a token, and comes back with a new one', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, startAgent } = setup;
  const agent = await startAgent();
  await authority.stop();
  const backingOff = nextState(setup, 'backing-off');
  await clock.advance(900_000);
  broker.kick(); // as the plugin does at exp
  await driveUntil(setup, backingOff);
  await clock.advance(600_000);
  expect(broker.connects.length).toBe(1);
  await agent.publish(message(TOPIC));
  await authority.start();
  await driveUntil(setup, broker.published(TOPIC), 10_000);
  expect(broker.connects[1]!.password).not.toBe(broker.connects[0]!.password);
});

test('broker restarted: reconnects with the same token and subscribes again', async () => {
  const setup = await setUpAgent();
  const { broker, authority, startAgent } = setup;
  const agent = await startAgent(ACTION);
  const backingOff = nextState(setup, 'backing-off');
  await broker.stop();
  await backingOff;
  await broker.start();
  await driveUntil(setup, nextState(setup, 'online'));
  await agent.publishAndWait(message(TOPIC), LONG_MS);
  expect(authority.issued.length).toBe(1);
});

test('broker lost its sessions: subscribes again', async () => {
  const setup = await setUpAgent();
  const { broker, startAgent } = setup;
  await startAgent(`clean_session = true\n${ACTION}`);
  const before = broker.subscribes.length;
  broker.kick();
  await driveUntil(setup, nextState(setup, 'online'));
  expect(broker.subscribes.length).toBe(before + 1);
});

test('a refused publish is told once, dropped, and not repeated any more; others go on', async () => {
  const setup = await setUpAgent();
  const { broker, logger, startAgent } = setup;
  broker.canPublish = (topic) => topic !== 'secret/x';
  const agent = await startAgent();
  const refused = agent.publishAndWait(message('secret/x'), LONG_MS).catch((error) => error);
  await driveUntil(setup, refused, 100);
  expect(await refused).toMatchObject({ name: 'PublishRefusedError' });
  await driveUntil(setup, agent.publishAndWait(message(TOPIC), LONG_MS), 100);
  expect(broker.publishes.map(({ topic }) => topic)).toEqual([...Array(3).fill('secret/x'), TOPIC]);
  expect(logger.all('message.refused')).toMatchObject([{ topic: 'secret/x' }]);
  expect(agent.status().counters).toMatchObject({ refused: 1, published: 1 });
});

test('only the refused message of a burst fails, and the others keep their order', async () => {
  const setup = await setUpAgent();
  const { broker, startAgent } = setup;
  broker.canPublish = (topic) => topic !== 'secret/x';
  const agent = await startAgent();
  const burst = Promise.allSettled(
    ['a', 'b', 'secret/x', 'c', 'd'].map((text) =>
      agent.publishAndWait(message(text === 'secret/x' ? text : TOPIC, text), LONG_MS),
    ),
  );
  await driveUntil(setup, burst, 100);
  expect((await burst).map(({ status }) => status)).toEqual([
    ...['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  ]);
  const payloads = broker.publishes.filter(({ topic }) => topic === TOPIC).map((p) => p.payload);
  expect([...new Set(payloads)]).toEqual(['a', 'b', 'c', 'd']);
});

test('a broker that closes twice by chance costs no message', async () => {
  const setup = await setUpAgent();
  const { broker, startAgent } = setup;
  let closes = 0;
  broker.canPublish = () => {
    closes += 1;
    return closes > 2;
  };
  const agent = await startAgent();
  await driveUntil(setup, agent.publishAndWait(message(TOPIC), LONG_MS), 100);
  expect(agent.status().counters).toMatchObject({ refused: 0, published: 1 });
});

test('what the token does not allow is refused at once and never sent', async () => {
  const setup = await setUpAgent();
  const { authority, broker, clock, startAgent } = setup;
  authority.scope = 'pub;qos=1;retain=0:devices/t-42/telemetry/#';
  const agent = await startAgent();
  for (const wrong of [
    message('secret/x'),
    message(TOPIC, 'x', 2),
    { ...message(TOPIC), isRetained: true },
  ]) {
    await expect(agent.publish(wrong)).rejects.toMatchObject({ name: 'PublishRefusedError' });
  }
  await agent.publishAndWait(message(TOPIC), LONG_MS);
  expect(broker.publishes.map(({ topic }) => topic)).toEqual([TOPIC]);
  expect(agent.status().counters.refused).toBe(3);
  authority.scope = 'pub:secret/x'; // with the next token
  await clock.untilSleeping(2000);
  const online = nextState(setup, 'online');
  await driveUntil(setup, online, 10_000);
  await agent.publishAndWait(message('secret/x'), LONG_MS);
  await expect(agent.publish(message(TOPIC))).rejects.toMatchObject({
    name: 'PublishRefusedError',
  });
});

test('what waits and is not allowed any more by the next token is dropped, not sent', async () => {
  const setup = await setUpAgent();
  const { authority, broker, clock, startAgent } = setup;
  authority.scope = 'pub:devices/#';
  const agent = await startAgent();
  await broker.stop();
  const [lost, kept] = [message('devices/other', 'lost'), message(TOPIC, 'kept')];
  await agent.publish(lost);
  await agent.publish(kept);
  authority.scope = 'pub:devices/t-42/#';
  await clock.advance(900_000); // the token ends while the broker is down
  await broker.start();
  await driveUntil(setup, broker.published(TOPIC), 10_000);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(['kept']);
  expect(agent.status().counters).toMatchObject({ refused: 1 });
});

test('a close long after a message of QoS 0 is not taken for its refusal', async () => {
  const setup = await setUpAgent();
  const { broker, clock, logger, startAgent } = setup;
  const agent = await startAgent();
  await agent.publishAndWait(message(TOPIC, 'x', 0), LONG_MS);
  await broker.published(TOPIC);
  await clock.advance(2001);
  broker.kick();
  await driveUntil(setup, nextState(setup, 'online'));
  expect(logger.all('message.refused')).toEqual([]);
});

test('a refused subscription is told, and tried again with the next token only', async () => {
  const setup = await setUpAgent();
  const { broker, clock, logger, startAgent } = setup;
  broker.canSubscribe = () => false;
  await startAgent(ACTION);
  expect(logger.all('subscription.refused')).toMatchObject([{ filter: 'devices/t-42/commands/+' }]);
  const before = broker.subscribes.length;
  broker.kick();
  await driveUntil(setup, nextState(setup, 'online'));
  expect(broker.subscribes.length).toBe(before);
  broker.canSubscribe = () => true;
  const online = nextState(setup, 'online');
  await clock.advance(900_000);
  await online;
  expect(broker.subscribes.length).toBeGreaterThan(before);
});

test('CONNACK 4: the token is discarded and a new one tried at once', async () => {
  const setup = await setUpAgent();
  const { broker, authority, startAgent } = setup;
  broker.returnCode = (_connect, count) => (count === 1 ? 4 : 0);
  await startAgent(); // comes online without the clock being moved
  expect(broker.connects.map(({ password }) => password)).toEqual(
    authority.issued.map(({ text }) => text),
  );
  expect(authority.issued.length).toBe(2);
});

test.each([
  { returnCode: 4, limitMs: 1000 },
  { returnCode: 5, limitMs: 60_000 },
])(
  'CONNACK $returnCode again: backs off below $limitMs ms, then a new token',
  async ({ returnCode, limitMs }) => {
    const setup = await setUpAgent();
    const { broker, authority, clock, logger, createAgent } = setup;
    broker.returnCode = () => returnCode;
    const agent = createAgent();
    const ending = new AbortController();
    const end = agent.run(ending.signal);
    await logger.event('agent.state', { state: 'backing-off' });
    expect([broker.connects.length, authority.issued.length]).toEqual([2, 2]);
    await clock.advance(limitMs / 2 - 1);
    expect(broker.connects.length).toBe(2);
    await clock.advance(1); // random is 0.5
    await broker.connected(3);
    expect(authority.issued.length).toBe(3);
    ending.abort();
    expect(await end).toBe('aborted');
  },
);

test('CONNACK 3: backs off and keeps the token', async () => {
  const setup = await setUpAgent();
  const { broker, authority, startAgent } = setup;
  broker.returnCode = (_connect, count) => (count <= 3 ? 3 : 0);
  const online = startAgent();
  await driveUntil(setup, online);
  expect(broker.connects.length).toBe(4);
  expect(authority.issued.length).toBe(1);
});

test('CONNACK 2: stops and says so', async () => {
  const { broker, createAgent } = await setUpAgent();
  broker.returnCode = () => 2;
  const agent = createAgent();
  expect(await agent.run(new AbortController().signal)).toBe('stopped');
  expect(agent.status()).toMatchObject({
    state: 'stopped',
    detail: expect.stringContaining('client identifier refused'),
  });
  expect(broker.connects.length).toBe(1);
});

test('a device that the authority refuses tries slowly and says what to do', async () => {
  const setup = await setUpAgent();
  const { authority, clock, logger, createAgent } = setup;
  authority.answer = (path, response) => {
    if (path !== '/token') return false;
    response.writeHead(400).end('{"error":"invalid_grant","error_description":"not accepted"}');
    return true;
  };
  const agent = createAgent();
  const ending = new AbortController();
  const end = agent.run(ending.signal);
  await logger.event('agent.state', { state: 'backing-off' });
  expect(agent.status().detail).toMatch(/ask the operator.*; next try in 30 s$/);
  await clock.advance(7_200_000);
  const tries = authority.requests.filter((request) => request.includes('/token')).length;
  expect(tries).toBeLessThan(12);
  ending.abort();
  await end;
});

test('an agent that is not enrolled does not start', async () => {
  const { createAgent, stateDir } = await setUpAgent();
  const { rmSync } = await import('node:fs');
  rmSync(`${stateDir}/identity.json`);
  await expect(createAgent().run(new AbortController().signal)).rejects.toThrow(/not enrolled/);
});

test('no failure of a session puts a token or an assertion into log or status', async () => {
  const setup = await setUpAgent();
  const { broker, authority, clock, logger, startAgent } = setup;
  broker.returnCode = (_connect, count) => [4, 5, 3, 0][Math.min(count - 1, 3)]!;
  broker.canPublish = () => false;
  broker.canSubscribe = () => false;
  const starting = startAgent(ACTION);
  await driveUntil(setup, starting);
  const agent = await starting;
  agent.publishAndWait(message(TOPIC), LONG_MS).catch(() => undefined);
  await broker.published(TOPIC);
  await authority.stop();
  await clock.advance(1_000_000);
  broker.kick();
  await clock.advance(100_000);
  const said = logger.text() + JSON.stringify(agent.status());
  for (const { text } of authority.issued) expect(said).not.toContain(text);
  for (const assertion of authority.assertions) expect(said).not.toContain(assertion);
  expect(said).not.toContain('PRIVATE KEY');
});
