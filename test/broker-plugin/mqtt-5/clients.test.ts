/** Clients of MQTT 5 that nobody here wrote: MQTT.js, mosquitto_pub and mosquitto_sub. */
import { connectAsync, type ErrorWithReasonCode, type MqttClient } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../../helpers/guarded-broker.ts';
import type { TokenRequest } from '../../helpers/issuer-server.ts';
import { publishPacket } from '../../helpers/mqtt-wire.ts';
import { CODE, connect5 } from '../../helpers/mqtt5.ts';
import { type Outcome, runCommand } from '../../helpers/processes.ts';

async function mqttJs(broker: GuardedBroker, token: TokenRequest = {}): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
    ...{ protocolVersion: 5, clientId: 't-42', username: 't-42', reconnectPeriod: 0 },
    password: await broker.issuer.token(token),
  });
  client.on('error', () => undefined);
  onTestFinished(() => void client.end(true));
  return client;
}

const codeOf = (promise: Promise<unknown>): Promise<number | undefined> =>
  promise.then(
    () => undefined,
    (error: ErrorWithReasonCode) => error.code,
  );

test('MQTT.js publishes, subscribes and receives within its rights', async () => {
  const broker = await startGuardedBroker();
  const client = await mqttJs(broker, { scope: 'pubsub:devices/t-42/#' });
  const received = new Promise<string>((resolve) => client.once('message', resolve));
  const granted = await client.subscribeAsync({ 'devices/t-42/+': { qos: 1 } });
  expect(granted).toMatchObject([{ topic: 'devices/t-42/+', qos: 1 }]);
  await client.publishAsync('devices/t-42/x', 'x', { qos: 2 });
  expect(await received).toBe('devices/t-42/x');
});

test('MQTT.js hears the code of each refusal, and stays connected', async () => {
  const broker = await startGuardedBroker();
  const client = await mqttJs(broker);
  for (const qos of [1, 2] as const) {
    expect(await codeOf(client.publishAsync('devices/t-43/x', 'x', { qos }))).toBe(
      CODE.notAuthorized,
    );
  }
  await client.publishAsync('devices/t-42/x', 'x', { qos: 1 });
  expect(client.connected).toBe(true);
});

test('MQTT.js is told why its session ends', async () => {
  const broker = await startGuardedBroker();
  const client = await mqttJs(broker, { ttlSeconds: 60 });
  const told = new Promise<number | undefined>((resolve) =>
    client.once('disconnect', ({ reasonCode }) => resolve(reasonCode)),
  );
  await broker.clock.advance(60_000);
  expect(await told).toBe(CODE.maximumConnectTime);
});

test('MQTT.js is told why it is not let in', async () => {
  const broker = await startGuardedBroker();
  expect(await codeOf(mqttJs(broker, { clientId: 't-43' }))).toBe(CODE.notAuthorized);
  expect(await codeOf(mqttJs(broker, { audience: 'mqtts://other.example' as never }))).toBe(
    CODE.notAuthorized,
  );
});

async function mosquitto(
  broker: GuardedBroker,
  command: 'pub' | 'sub',
  token: TokenRequest | string,
  ...options: readonly string[]
): Promise<Outcome> {
  const password = typeof token === 'string' ? token : await broker.issuer.token(token);
  return runCommand(`mosquitto_${command}`, [
    ...['-V', 'mqttv5', '-h', '127.0.0.1', '-p', String(broker.port)],
    ...['-i', 't-42', '-u', 't-42', '-P', password, ...options],
  ]);
}

const message = (topic: string, qos: 0 | 1 | 2 = 1) => ['-t', topic, '-m', 'x', '-q', String(qos)];

test.each([0, 1, 2] as const)('mosquitto_pub publishes with QoS %i', async (qos) => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const outcome = await mosquitto(broker, 'pub', {}, ...message('devices/t-42/x', qos));
  expect(outcome).toMatchObject({ exitCode: 0, stderr: '' });
  expect(heard).toContain('devices/t-42/x');
});

test.each([
  { name: 'a bad token', token: 'garbage', topic: 'devices/t-42/x', says: /bad user name/i },
  {
    name: 'a token of another client',
    token: { clientId: 't-43' },
    topic: 'devices/t-42/x',
    says: /not authori[sz]ed/i,
  },
  { name: 'a foreign topic', token: {}, topic: 'devices/t-43/x', says: /not authori[sz]ed/i },
])('mosquitto_pub with $name hears why', async ({ token, topic, says }) => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const { stderr } = await mosquitto(broker, 'pub', token, ...message(topic));
  expect(stderr).toMatch(says);
  expect(heard.filter((one) => !one.startsWith('$'))).toEqual([]);
});

test('mosquitto_sub receives what it may, properties and all, and is refused the rest', async () => {
  const broker = await startGuardedBroker();
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  const retained = publishPacket('devices/t-42/x', 1, { payload: 'retained', retain: true });
  other.send({ ...retained, properties: { userProperties: { site: 'berlin' } } } as never);
  await other.next('puback');
  const options = ['-t', 'devices/t-42/#', '-C', '1', '-F', '%t %p %P', '-W', '20'];
  const allowed = await mosquitto(broker, 'sub', {}, ...options);
  expect(allowed).toMatchObject({ exitCode: 0, stdout: 'devices/t-42/x retained site:berlin\n' });
  const refused = await mosquitto(broker, 'sub', {}, '-t', 'devices/#', '-C', '1', '-W', '20');
  expect(refused.stderr).toMatch(/all subscription requests were denied/i);
});
