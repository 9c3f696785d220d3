/** Listeners with TLS: certificate files, versions, reload. I1, I11. */
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { systemClock } from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { startBroker } from '../../broker-plugin/src/broker/start.ts';
import { runProgram } from '../../broker-plugin/src/cli/program.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { BROKER, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket, overStream } from '../helpers/mqtt-wire.ts';

async function files() {
  const dir = await mkdtemp(join(tmpdir(), 'latchkey-tls-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const certificate = join(dir, 'broker.crt');
  const key = join(dir, 'broker.key');
  const write = async (pair: { readonly cert: string; readonly key: string }) => {
    await writeFile(certificate, pair.cert);
    await writeFile(key, pair.key, { mode: 0o600 });
  };
  await write(selfSigned());
  const entry = (type: string) =>
    `[[listen]]\ntype = "${type}"\nport = 0\ncertificate_file = "${certificate}"\nkey_file = "${key}"\n`;
  return { certificate, key, write, entry };
}

async function setup() {
  const issuer = await startIssuer(systemClock);
  const pair = await files();
  const text =
    `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n` +
    pair.entry('tls') +
    pair.entry('secure-websocket');
  const log = createCapturedLog();
  const config = parseBrokerConfig(text, 'broker.toml');
  const start = () => startBroker(config, { clock: systemClock, logger: log });
  return { issuer, log, start, text, ...pair };
}

async function started() {
  const given = await setup();
  const broker = await given.start();
  onTestFinished(() => broker.close());
  const [tls, webSocket] = broker.listeners.map(({ port }) => port) as [number, number];
  return { ...given, broker, tls, webSocket };
}

async function overTls(port: number, options: object = {}): Promise<TLSSocket> {
  const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

const fingerprint = (socket: TLSSocket) => socket.getPeerCertificate().fingerprint256;

test('a device connects over TLS and over secure WebSocket', async () => {
  const { issuer, log, tls, webSocket } = await started();
  const ws = new WebSocket(`wss://127.0.0.1:${webSocket}`, ['mqtt'], { rejectUnauthorized: false });
  await once(ws, 'open');
  for (const stream of [await overTls(tls), createWebSocketStream(ws)]) {
    const client = overStream(stream);
    client.send(connectPacket(await issuer.token()));
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
    client.send({ cmd: 'disconnect' });
    await client.closed;
  }
  const addresses = log.all('connect.accepted').map(({ address }) => address);
  expect(addresses).toEqual(['127.0.0.1', '127.0.0.1']);
});

test.each([
  { version: 'TLSv1.1' as const, isOk: false },
  { version: 'TLSv1.2' as const, isOk: true },
  { version: 'TLSv1.3' as const, isOk: true },
])('$version is accepted: $isOk', async ({ version, isOk }) => {
  const { tls, webSocket } = await started();
  for (const port of [tls, webSocket]) {
    const socket = overTls(port, {
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    if (isOk) expect((await socket).getProtocol()).toBe(version);
    else
      await expect(socket).rejects.toMatchObject({
        code: expect.stringMatching(/ALERT_PROTOCOL_VERSION/),
      });
  }
});

test('an address that connects too often is closed before a handshake is spent on it', async () => {
  const { text, log } = await setup();
  const protection =
    '[protection]\nconnection_burst = 2\nconnections_per_second = 1\nexempt_addresses = []\n';
  const websocket = '[[listen]]\ntype = "websocket"\nport = 0\n';
  const tcp = '[[listen]]\ntype = "tcp"\nport = 0\n';
  const config = parseBrokerConfig(`${text}${websocket}${tcp}${protection}`, 'broker.toml');
  const clock = createDrivenClock();
  const broker = await startBroker(config, { clock, logger: log });
  onTestFinished(() => broker.close());
  for (const [i, { port }] of broker.listeners.entries()) {
    const from = (localAddress: string) => {
      const socket = tcpConnect({ port, host: '127.0.0.1', localAddress });
      socket.on('error', () => undefined);
      onTestFinished(() => void socket.destroy());
      return socket;
    };
    const address = `127.0.0.${10 + i}`;
    for (let count = 0; count < 2; count += 1) await once(from(address), 'connect');
    await once(from(address), 'close'); // nothing was sent, so there was no handshake
    const other = from('127.0.0.99');
    await once(other, 'connect');
    expect(other.destroyed).toBe(false);
    await clock.advance(1000);
  }
  const { all } = log;
  expect(all('connect.refused').map(({ reason, address }) => [reason, address])).toEqual(
    [10, 11, 12, 13].map((last) => ['connection-rate', `127.0.0.${last}`]),
  );
});

test('a reload takes the new certificate, and disconnects nobody', async () => {
  const { issuer, write, broker, tls, webSocket } = await started();
  const before = await overTls(tls);
  const client = overStream(before);
  client.send(connectPacket(await issuer.token()));
  await client.next('connack');
  const old = fingerprint(before);
  await write(newSelfSigned());
  await broker.reload();
  const after = fingerprint(await overTls(tls));
  expect(after).not.toBe(old);
  expect(fingerprint(await overTls(webSocket))).toBe(after);
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  await expect(overTls(tls, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1' })).rejects.toThrow();
});

test('I1: a reload of files that do not fit keeps the old certificate and says so', async () => {
  const { key, broker, tls, log } = await started();
  const old = fingerprint(await overTls(tls));
  const other = newSelfSigned();
  await writeFile(key, other.key);
  await broker.reload();
  expect(fingerprint(await overTls(tls))).toBe(old);
  expect(log.all('listener.failed')).toMatchObject([{ type: 'tls' }, { type: 'secure-websocket' }]);
  for (const line of other.key.split('\n').slice(1, 4)) expect(log.text()).not.toContain(line);
});

test.each([
  {
    name: 'a key that others can read',
    spoil: ({ key }: { key: string }) => chmod(key, 0o640),
    message: /listen\.0.*key_file.*chmod 600/,
  },
  {
    name: 'no certificate',
    spoil: ({ certificate }: { certificate: string }) => rm(certificate),
    message: /listen\.0.*certificate_file.*ENOENT/,
  },
  {
    name: 'the key of another certificate',
    spoil: ({ key }: { key: string }) => writeFile(key, newSelfSigned().key),
    message: /listen\.0.*cannot be used together/,
  },
  {
    name: 'a key that is none',
    spoil: ({ key }: { key: string }) => writeFile(key, 'guess'),
    message: /listen\.0.*cannot be used together/,
  },
])('with $name the broker does not start, and validate says why', async ({ spoil, message }) => {
  const { start, text, certificate, key } = await setup();
  await spoil({ certificate, key });
  await expect(start()).rejects.toThrow(message);
  const config = `${certificate}.toml`;
  await writeFile(config, text);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const io = { stdout, stderr, clock: systemClock, signal: new AbortController().signal };
  expect(await runProgram(['validate', '--config', config], io)).toBe(2);
  expect(String(stderr.read())).toMatch(new RegExp(message.source, 's'));
});

test('I11: close ends a connection that is still in its handshake', async () => {
  const { broker, tls } = await started();
  const socket = tcpConnect(tls, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  await overTls(tls); // by now the first one is accepted too
  const closed = once(socket, 'close');
  await broker.close();
  await closed;
});
