/** Which broker the agent connects to, how it trusts it, its will, and brokers that do not answer. */
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { startAedesBroker } from '../helpers/aedes-broker.ts';
import { type AgentSetup, setUpAgent } from '../helpers/agent-setup.ts';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';
import { freePort } from '../helpers/processes.ts';

const TOPIC = 'devices/t-42/telemetry/temperature';
const ACTION = '[[action]]\nname = "a"\nfilter = "devices/t-42/commands/+"\ncommand = ["true"]\n';
const message = (topic: string, payload = 'x', qos: 0 | 1 | 2 = 1) => ({
  topic,
  payload: Buffer.from(payload),
  qos,
  isRetained: false,
});
const urls = (...values: readonly string[]) => `urls = ${JSON.stringify(values)}\n`;

const nextState = ({ logger }: AgentSetup, state: string) =>
  logger.event('agent.state', { state }, logger.lines.length);

/** Runs an agent that need not come online; ends with the test. */
function run({ createAgent }: AgentSetup, config: string) {
  const agent = createAgent(config);
  const ending = new AbortController();
  const end = agent.run(ending.signal);
  onTestFinished(async () => {
    ending.abort();
    await end;
  });
  return agent;
}

/** A server that takes every connection and says nothing. */
async function startMute(): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => void server.close());
  return `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Lets time pass until `done`; what is on the wire arrives in between. */
async function driveUntil({ clock, logger }: AgentSetup, done: Promise<unknown>, stepMs = 500) {
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  while (!isDone) {
    await clock.advance(stepMs);
    do await new Promise(setImmediate);
    while (['obtaining', 'connecting'].includes(String(logger.all('agent.state').at(-1)?.state)));
  }
}

test.each([
  { name: 'mqtt', isWebSocket: false, hasTls: false },
  { name: 'ws', isWebSocket: true, hasTls: false },
  { name: 'mqtts with an own CA', isWebSocket: false, hasTls: true },
  { name: 'wss with an own CA', isWebSocket: true, hasTls: true },
])('$name: connects, publishes, receives', async ({ isWebSocket, hasTls }) => {
  const setup = await setUpAgent();
  const certificate = selfSigned();
  const broker = await startAedesBroker({ isWebSocket, ...(hasTls && { certificate }) });
  writeFileSync(join(setup.dir, 'ca.pem'), certificate.cert);
  const ca = hasTls ? 'ca_file = "ca.pem"\n' : '';
  const agent = await setup.startAgent(`url = "${broker.url}"\n${ca}${ACTION}`);
  await agent.publishAndWait(message(TOPIC), 1e9);
  await broker.send('devices/t-42/commands/x', 'on');
  await setup.logger.event('action.run');
  expect(agent.status()).toMatchObject({ state: 'online', counters: { published: 1 } });
});

test.each([
  { name: 'the certificate is of nobody known', ca: '', says: /self-signed certificate/ },
  { name: 'the CA is another', ca: 'other', says: /self-signed certificate/ },
  {
    name: 'the CA file is missing',
    ca: 'missing',
    says: /broker.ca_file .* cannot be read \(ENOENT\)/,
  },
  { name: 'the name is another', ca: 'ca', host: '127.0.0.1', says: /does not match|altnames/ },
])('TLS: when $name, nothing is sent', async ({ ca, host = 'localhost', says }) => {
  const setup = await setUpAgent();
  const broker = await startAedesBroker({ certificate: selfSigned() });
  writeFileSync(join(setup.dir, 'ca'), selfSigned().cert);
  writeFileSync(join(setup.dir, 'other'), newSelfSigned().cert);
  const url = broker.url.replace('localhost', host);
  const agent = run(setup, `url = "${url}"\nca_file = "${ca}"\n`);
  await nextState(setup, 'backing-off');
  expect(agent.status().detail).toMatch(says);
  expect(broker.connects).toEqual([]);
});

test('a CA file that was mended is used at the next try', async () => {
  const setup = await setUpAgent();
  const broker = await startAedesBroker({ certificate: selfSigned() });
  writeFileSync(join(setup.dir, 'ca'), newSelfSigned().cert);
  run(setup, `url = "${broker.url}"\nca_file = "ca"\n`);
  await nextState(setup, 'backing-off');
  writeFileSync(join(setup.dir, 'ca'), selfSigned().cert);
  const online = nextState(setup, 'online');
  await driveUntil(setup, online);
});

test.each([
  { name: 'refuses connections', start: async () => `mqtt://127.0.0.1:${await freePort()}` },
  { name: 'does not exist', start: async () => 'mqtts://no-such-host.invalid' },
  { name: 'accepts and never answers', start: startMute },
  {
    name: 'cannot serve now (CONNACK 3)',
    start: async () => {
      const broker = await startAedesBroker();
      broker.returnCode = () => 3;
      return broker.url;
    },
  },
])(
  'a first broker that $name: the second is taken at once, with the same token',
  async ({ start }) => {
    const setup = await setUpAgent();
    const { authority, broker, logger, startAgent } = setup;
    const first = await start();
    const agent = await startAgent(`${urls(first, broker.url)}connect_timeout_seconds = 1\n`);
    expect(agent.status().broker?.href).toBe(broker.url);
    expect(logger.all('broker.skipped')).toMatchObject([{ host: new URL(first).host }]);
    expect(authority.issued.length).toBe(1);
    expect(logger.all('agent.state').some(({ state }) => state === 'backing-off')).toBe(false);
  },
);

test.each([4, 5])(
  'CONNACK %i of the first broker is an answer: no other is asked',
  async (code) => {
    const setup = await setUpAgent();
    const first = await startAedesBroker();
    first.returnCode = () => code;
    run(setup, urls(first.url, setup.broker.url));
    await nextState(setup, 'backing-off');
    expect(first.connects.length).toBe(2); // once more with a new token
    expect(setup.broker.connects).toEqual([]);
  },
);

test('no broker answers: one wait for all of them, then the first again', async () => {
  const setup = await setUpAgent();
  const { broker, logger } = setup;
  const second = await startAedesBroker();
  await second.stop();
  await broker.stop();
  run(setup, urls(broker.url, second.url));
  await nextState(setup, 'backing-off');
  expect(logger.all('broker.skipped').length).toBe(1);
  await broker.start();
  await driveUntil(setup, nextState(setup, 'online'));
  expect(broker.connects.length).toBe(1);
});

test('the next connection begins with the first broker again, which is back', async () => {
  const setup = await setUpAgent();
  const { broker: first, clock, startAgent } = setup;
  const second = await startAedesBroker();
  await first.stop();
  const agent = await startAgent(urls(first.url, second.url));
  expect(second.connects.length).toBe(1);
  await first.start();
  await clock.untilSleeping(2000);
  await clock.advance(631_000); // renewal by a new connection, at a quiet moment
  await first.connected(1);
  await agent.publishAndWait(message(TOPIC), 1e9);
  expect(first.publishes.length).toBe(1);
});

test('a first broker that lets go of everybody at once is passed over', async () => {
  const setup = await setUpAgent();
  const { broker: first } = setup;
  const second = await startAedesBroker();
  first.returnCode = () => {
    setImmediate(() => first.kick());
    return 0;
  };
  run(setup, urls(first.url, second.url));
  await driveUntil(setup, second.connected(1));
  expect(first.connects.length).toBe(1);
});

const WILL = '[broker.will]\ntopic = "devices/{client_id}/state/online"\npayload = "false"\n';
const WILL_TOPIC = 'devices/t-42/state/online';

test('the will is published when the device vanishes, and not when it is stopped or renews', async () => {
  const setup = await setUpAgent();
  const { broker, clock, startAgent } = setup;
  const agent = await startAgent(WILL);
  expect(broker.connects[0]?.will).toBe(WILL_TOPIC);
  await clock.untilSleeping(2000);
  await clock.advance(631_000);
  await broker.connected(2);
  await nextState(setup, 'online');
  expect(broker.publishes).toEqual([]);
  broker.kick();
  expect(await broker.published(WILL_TOPIC)).toMatchObject({
    payload: 'false',
    qos: 1,
    retain: false,
  });
  await driveUntil(setup, broker.connected(3));
  await agent.stop();
  expect(broker.publishes.length).toBe(1);
});

test.each([
  { name: 'covers it', scope: 'pub:devices/t-42/state/#', isSent: true },
  { name: 'says nothing of topics', scope: '', isSent: true },
  { name: 'covers another topic', scope: 'pub:devices/t-42/telemetry/#', isSent: false },
  { name: 'is for subscribing', scope: 'sub:devices/t-42/state/#', isSent: false },
  { name: 'allows QoS 0', scope: 'pub;qos=0:devices/t-42/state/#', isSent: false },
  { name: 'allows QoS 1', scope: 'pub;qos=1:devices/t-42/state/#', isSent: true },
  { name: 'forbids to retain', scope: 'pub;retain=0:devices/t-42/state/#', isSent: true },
  {
    name: 'forbids to retain what is to be retained',
    scope: 'pub;retain=0:devices/t-42/state/#',
    retain: true,
    isSent: false,
  },
])(
  'a will is sent when the right $name: $isSent; the device is online in any case',
  async ({ scope, retain, isSent }) => {
    const setup = await setUpAgent();
    setup.authority.scope = scope;
    const agent = await setup.startAgent(`${WILL}${retain ? 'retain = true\n' : ''}`);
    expect(setup.broker.connects[0]?.will).toBe(isSent ? WILL_TOPIC : undefined);
    expect(setup.logger.all('will.refused').length).toBe(isSent ? 0 : 1);
    if (!isSent) expect(agent.status().lastError?.message).toContain(WILL_TOPIC);
  },
);

test.each([
  { name: 'a message of QoS 1', qos: 1 as const },
  { name: 'a message of QoS 2', qos: 2 as const },
])('a broker that does not answer $name is left in time, and gets it again', async ({ qos }) => {
  const setup = await setUpAgent();
  const { broker, clock, startAgent } = setup;
  broker.canPublish = () => undefined;
  const agent = await startAgent('answer_timeout_seconds = 7\n');
  await agent.publish(message(TOPIC, 'x', qos));
  await clock.untilSleeping(7000);
  const backingOff = nextState(setup, 'backing-off');
  await clock.advance(6999);
  expect(agent.status().state).toBe('online');
  await clock.advance(1);
  await backingOff;
  expect(agent.status().detail).toMatch(/^the broker gave no answer within 7 s/);
  broker.canPublish = () => true;
  await driveUntil(setup, broker.published(TOPIC, 2));
  expect(agent.status().counters.refused).toBe(0);
});

test('a broker that does not answer a subscription is left in time', async () => {
  const setup = await setUpAgent();
  const { broker, clock } = setup;
  broker.canSubscribe = () => undefined;
  const agent = run(setup, `answer_timeout_seconds = 7\n${ACTION}`);
  await clock.untilSleeping(7000);
  const backingOff = nextState(setup, 'backing-off');
  await clock.advance(7000);
  await backingOff;
  expect(agent.status().detail).toMatch(/no answer within 7 s/);
  broker.canSubscribe = () => true;
  await driveUntil(setup, nextState(setup, 'online'));
});

test('a broker that never answers CONNECT is left after connect_timeout_seconds', async () => {
  const setup = await setUpAgent();
  const agent = run(setup, `url = "${await startMute()}"\nconnect_timeout_seconds = 1\n`);
  await nextState(setup, 'backing-off');
  expect(agent.status().detail).toMatch(/^cannot reach the broker .*connack timeout/);
});

test('I11: messages that were answered leave nothing behind, however long the connection lasts', async () => {
  const setup = await setUpAgent();
  const agent = await setup.startAgent();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heapAfter = async (messages: number): Promise<number> => {
    for (let sent = 0; sent < messages; sent += 100) {
      const burst = Array.from({ length: 100 }, () => agent.publishAndWait(message(TOPIC), 1e9));
      await Promise.all(burst);
    }
    (setup.broker.publishes as unknown[]).length = 0;
    (setup.logger.lines as unknown[]).length = 0;
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = await heapAfter(2000);
  const grownBytes = (await heapAfter(10_000)) - before;
  expect(setup.broker.connects.length).toBe(1);
  expect(grownBytes / 10_000).toBeLessThan(100);
}, 60_000);
