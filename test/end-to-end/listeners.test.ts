/** TCP, TLS, WebSocket and secure WebSocket of one broker at once, with clients that nobody here wrote. */
import { type EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { systemClock } from '@latchkey/shared';
import { MqttClient } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { selfSigned } from '../helpers/certificate.ts';
import { BROKER, type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import { freePort, runCommand, startProgram, temporaryDir } from '../helpers/processes.ts';

const TYPES = ['tcp', 'tls', 'websocket', 'secure-websocket'] as const;
type Type = (typeof TYPES)[number];

async function startListening() {
  const issuer = await startIssuer(systemClock);
  const dir = temporaryDir();
  const [certificate, key] = [join(dir, 'broker.crt'), join(dir, 'broker.key')];
  writeFileSync(certificate, selfSigned().cert);
  writeFileSync(key, selfSigned().key, { mode: 0o600 });
  const files = `certificate_file = "${certificate}"\nkey_file = "${key}"\n`;
  const ports = {} as Record<Type, number>;
  let text = `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\nlog_level = "debug"\n`;
  for (const type of TYPES) {
    ports[type] = await freePort();
    const isSecure = type === 'tls' || type === 'secure-websocket';
    text += `[[listen]]\ntype = "${type}"\nport = ${ports[type]}\n${isSecure ? files : ''}`;
  }
  const config = join(dir, 'broker.toml');
  writeFileSync(config, text);
  const broker = startProgram('latchkey-broker', ['--config', config]);
  for (const type of TYPES) await broker.event('broker.listening', (line) => line.type === type);
  await broker.event('keys.updated');
  return { issuer, ports, certificate, broker };
}

function overWebSocket(url: string): Duplex {
  const stream = createWebSocketStream(new WebSocket(url, ['mqtt'], { ca: selfSigned().cert }));
  stream.once('end', () => stream.destroy()); // it would stay half open
  return stream;
}

/** MQTT.js would make WebSockets itself, were it not for the resolve conditions that tests run with. */
function dial(type: Type, port: number): Duplex {
  switch (type) {
    case 'tcp':
      return tcpConnect(port, '127.0.0.1');
    case 'tls':
      return tlsConnect({ port, host: 'localhost', ca: selfSigned().cert });
    case 'websocket':
      return overWebSocket(`ws://127.0.0.1:${port}`);
    case 'secure-websocket':
      return overWebSocket(`wss://localhost:${port}`);
  }
}

async function connectMqttJs(issuer: IssuerServer, type: Type, port: number) {
  const clientId = `js-${type}`;
  const password = await issuer.token({ clientId, scope: 'pubsub:all/#' });
  const client = new MqttClient(() => dial(type, port), {
    ...{ clientId, username: clientId, password, reconnectPeriod: 0 },
  });
  onTestFinished(() => void client.end(true));
  await once(client as unknown as EventEmitter, 'connect');
  const heard = new Set<string>();
  let onMessage: () => void = () => undefined;
  client.on('message', (topic) => {
    heard.add(topic);
    onMessage();
  });
  await client.subscribeAsync('all/#', { qos: 1 });
  const hears = (topics: readonly string[]): Promise<void> =>
    new Promise((resolve) => {
      onMessage = () => {
        if (topics.every((topic) => heard.has(topic))) resolve();
      };
      onMessage();
    });
  return { client, hears };
}

test('clients on all four listeners hear each other, and SIGTERM ends them all', async () => {
  const { issuer, ports, certificate, broker } = await startListening();
  const login = async (id: string, type: 'tcp' | 'tls', scope: string) => [
    ...['-h', 'localhost', '-p', String(ports[type]), '-i', id, '-u', id],
    ...['-P', await issuer.token({ clientId: id, scope })],
    ...(type === 'tls' ? ['--cafile', certificate] : []),
  ];
  const clients = await Promise.all(
    TYPES.map(async (type) => ({ type, ...(await connectMqttJs(issuer, type, ports[type])) })),
  );
  const topics = [
    ...TYPES.map((type) => `all/js/${type}`),
    'all/mosquitto/tcp',
    'all/mosquitto/tls',
  ];
  const everyoneHears = Promise.all(clients.map(({ hears }) => hears(topics)));

  const subscriberLogin = await login('mosquitto-sub', 'tls', 'sub:all/#');
  const count = ['-C', String(topics.length), '-W', '60'];
  const listening = runCommand('mosquitto_sub', [
    ...subscriberLogin,
    ...['-t', 'all/#', '-q', '1', '-F', '%t', ...count],
  ]);
  await broker.event('connect.accepted', ({ clientId }) => clientId === 'mosquitto-sub');
  await broker.event('subscribe.allowed', ({ clientId }) => clientId === 'mosquitto-sub');

  for (const { type, client } of clients) {
    await client.publishAsync(`all/js/${type}`, 'hello', { qos: 1 });
  }
  for (const type of ['tcp', 'tls'] as const) {
    const sent = await runCommand('mosquitto_pub', [
      ...(await login(`mosquitto-${type}`, type, 'pub:all/#')),
      ...['-t', `all/mosquitto/${type}`, '-m', 'hello', '-q', '1'],
    ]);
    expect(sent).toMatchObject({ exitCode: 0, stderr: '' });
  }
  await everyoneHears;
  const { exitCode, stdout } = await listening;
  expect(exitCode).toBe(0);
  expect(stdout.trim().split('\n').sort()).toEqual([...topics].sort());

  const closed = clients.map(({ client }) => once(client as unknown as EventEmitter, 'close'));
  expect(await broker.stop('SIGTERM')).toBe(0);
  await Promise.all(closed);
});

test.each(TYPES)('a token of another audience is refused over %s', async (type) => {
  const { issuer, ports, broker } = await startListening();
  const password = await issuer.token({ audience: 'mqtts://other.example' as typeof BROKER });
  const client = new MqttClient(() => dial(type, ports[type]), {
    ...{ clientId: 't-42', username: 't-42', password, reconnectPeriod: 0 },
  });
  onTestFinished(() => void client.end(true));
  const [error] = await once(client as unknown as EventEmitter, 'error');
  expect((error as { readonly code?: number }).code).toBe(5);
  const { address } = await broker.event('connect.refused');
  expect(address).toMatch(/127\.0\.0\.1|::1/);
});
