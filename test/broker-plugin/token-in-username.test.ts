/** Clients that can send a user name and nothing else: STANDARDS 6, group 14; I1. */
import type { IConnectPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { type GuardedBroker, type Setup, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { connectPacket } from '../helpers/mqtt-wire.ts';

const start = (setup: Setup = {}) =>
  startGuardedBroker({ ...setup, options: { tokenIn: 'username', ...setup.options } });

async function connect(broker: GuardedBroker, token: string, packet: Partial<IConnectPacket> = {}) {
  const client = await broker.wire();
  client.send(connectPacket(undefined, { username: token, ...packet }));
  return Object.assign(client, { connack: await client.next('connack') });
}

test.each([
  { name: 'no password', packet: {} },
  { name: 'an empty password', packet: { password: Buffer.alloc(0) } },
])('a token as user name with $name is accepted', async ({ packet }) => {
  const broker = await start();
  const { connack } = await connect(broker, await broker.issuer.token(), packet);
  expect(connack.returnCode).toBe(0);
});

describe('refused with return code', () => {
  test.each([
    { name: 'a password beside it', code: 4, packet: { password: Buffer.from('x') } },
    { name: 'another client id', code: 5, packet: { clientId: 't-43' } },
    { name: 'the client id as user name', code: 4, packet: { username: 't-42' } },
    { name: 'no user name', code: 4, packet: { username: undefined } },
    { name: 'text beyond ASCII', code: 4, packet: { username: 'tökén' } },
    { name: 'a text of 9,000 bytes', code: 4, packet: { username: 'a'.repeat(9000) } },
  ])('$code: $name', async ({ code, packet }) => {
    const broker = await start();
    const { connack } = await connect(
      broker,
      await broker.issuer.token(),
      packet as Partial<IConnectPacket>,
    );
    expect(connack.returnCode).toBe(code);
  });

  test('4: the token as password, where the user name is the token', async () => {
    const broker = await start();
    const token = await broker.issuer.token();
    const { connack } = await connect(broker, 't-42', { password: Buffer.from(token) });
    expect(connack.returnCode).toBe(4);
  });
});

test('I1: no log, event, metric or error holds it, whatever comes of the CONNECT', async () => {
  const told: unknown[] = [];
  const broker = await start({
    before: (aedes) => {
      aedes.on('clientError', (_client, error) => told.push(error, { ...error }));
      aedes.on('connectionError', (_client, error) => told.push(error, { ...error }));
    },
  });
  for (const name of ['connect', 'connect-refused'] as const) {
    broker.latchkey.events.on(name, (notice: object) => told.push(notice));
  }
  const good = await broker.issuer.token();
  const foreign = await broker.issuer.token({ clientId: 't-43' });
  const client = await connect(broker, good);
  client.send(connectPacket(undefined, { username: good }));
  await client.closed;
  for (const packet of [
    { username: foreign },
    { clientId: good },
    { password: Buffer.from(good) },
    { protocolVersion: 5 as const, clientId: 't-43' },
    { keepalive: 0 },
  ]) {
    const refused = await broker.wire();
    refused.send(connectPacket(undefined, { username: good, ...packet }));
    await refused.closed;
  }
  expect(told.length).toBeGreaterThan(5);
  const all = JSON.stringify(told) + broker.log.text() + broker.latchkey.metrics();
  for (const token of [good, foreign]) {
    for (const part of token.split('.')) expect(all).not.toContain(part);
  }
});

test('the token does not stay in memory with the connection', async () => {
  let packet: IConnectPacket | undefined;
  const broker = await start({
    before: (aedes) => {
      aedes.preConnect = (_client, connectPacket, callback) => {
        packet = connectPacket;
        callback(null, true);
      };
    },
  });
  await connect(broker, await broker.issuer.token());
  expect(packet?.clientId).toBe('t-42');
  expect(packet?.username).toBeUndefined();
});

test('a ban lets a token pass that was verified before, here too', async () => {
  const broker = await start({
    options: { protection: { exemptAddresses: [], failuresPerClient: 1 } },
  });
  const token = await broker.issuer.token();
  expect((await connect(broker, token)).connack.returnCode).toBe(0);
  expect((await connect(broker, 'forged')).connack.returnCode).toBe(4);
  expect((await connect(broker, 'forged')).connack.returnCode).toBe(3);
  expect((await connect(broker, token)).connack.returnCode).toBe(0);
});
