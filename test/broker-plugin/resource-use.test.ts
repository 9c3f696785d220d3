/** What a client may use up, over every transport: STANDARDS 5.3 (1, 10, 19) and 6, group 18; I2, I11. */
import { setImmediate as turn } from 'node:timers/promises';
import { generateKey } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker, TRANSPORTS } from '../helpers/guarded-broker.ts';
import {
  connectPacket,
  encoded,
  publishPacket,
  subscribePacket,
  type WireClient,
} from '../helpers/mqtt-wire.ts';

const LARGEST = [0xff, 0xff, 0xff, 0x7f]; // 268,435,455

async function accepted(broker: GuardedBroker): Promise<void> {
  while (broker.streams.length === 0) await turn();
}

/** The issuer takes requests for its keys and never answers; resolves when one has come. */
function silence({ issuer }: GuardedBroker): Promise<void> {
  return new Promise((resolve) => {
    issuer.answer = (path) => {
      if (path !== '/jwks') return false;
      resolve();
      return true;
    };
  });
}

describe.each(TRANSPORTS)('over %s', (transport) => {
  test.each([
    { name: 'nothing', bytes: () => undefined },
    { name: 'one byte', bytes: () => [0x10] },
    { name: 'a CONNECT without its last byte', bytes: (whole: Uint8Array) => whole.slice(0, -1) },
  ])('a client that sends $name is closed after 10 s, and not before', async ({ bytes }) => {
    const broker = await startGuardedBroker();
    const client = await broker.wire(transport);
    const sent = bytes(encoded(connectPacket(await broker.issuer.token())));
    if (sent !== undefined) client.send(Uint8Array.from(sent));
    await accepted(broker);
    await broker.clock.advance(9_000);
    expect(broker.streams[0]?.destroyed).toBe(false);
    await broker.clock.advance(1_000);
    await client.closed;
    expect(broker.log.all('connect.refused')).toMatchObject([{ reason: 'connect-timeout' }]);
  });

  test('a byte now and then does not make the time longer', async () => {
    const broker = await startGuardedBroker();
    const client = await broker.wire(transport);
    await accepted(broker);
    for (const byte of encoded(connectPacket('x')).slice(0, 9)) {
      client.send(Uint8Array.of(byte));
      await broker.clock.advance(1_000);
    }
    expect(broker.streams[0]?.destroyed).toBe(false);
    await broker.clock.advance(1_000);
    await client.closed;
  });

  test('a CONNECT of 256 MB is cut off at its header', async () => {
    const broker = await startGuardedBroker();
    const client = await broker.wire(transport);
    client.send(Uint8Array.of(0x10, ...LARGEST));
    await client.closed;
    expect(broker.log.all('connect.refused')).toMatchObject([{ reason: 'connect-too-large' }]);
  });

  const connected = async (broker: GuardedBroker): Promise<WireClient> => {
    const client = await broker.wire(transport);
    client.send(connectPacket(await broker.issuer.token()));
    await client.next('connack');
    return client;
  };

  test('a PUBLISH of 256 MB is cut off at its header, and so is one of a byte too many', async () => {
    const broker = await startGuardedBroker({ options: { limits: { packetBytes: 1000 } } });
    const first = await connected(broker);
    first.send(Uint8Array.of(0x30, ...LARGEST));
    await first.closed;
    const second = await connected(broker);
    const header = 2 + 'devices/t-42/x'.length + 2;
    const payload = 'x'.repeat(1000 - header);
    second.send(publishPacket('devices/t-42/x', 1, { payload }));
    await second.next('puback');
    second.send(publishPacket('devices/t-42/x', 1, { payload: `${payload}x` }));
    await second.closed;
    expect(second.packets.map(({ cmd }) => cmd)).toEqual(['connack', 'puback']);
  });

  test.each([
    { count: 3, isClosed: false },
    { count: 4, isClosed: true },
  ])('a SUBSCRIBE of $count filters where 3 are allowed: closed is $isClosed', async (row) => {
    const broker = await startGuardedBroker({ options: { limits: { filtersPerSubscribe: 3 } } });
    const client = await connected(broker);
    const filters = Array.from({ length: row.count }, (_, i) => [`devices/t-42/${i}`, 0] as const);
    client.send(subscribePacket(Object.fromEntries(filters)));
    if (row.isClosed) await client.closed;
    else expect(await client.next('suback')).toMatchObject({ granted: [0, 0, 0] });
  });

  test('an issuer that does not answer: return code 3 after 5 s, and not before', async () => {
    const broker = await startGuardedBroker();
    await broker.log.event('keys.updated');
    const asked = silence(broker);
    await broker.clock.advance(31_000);
    const client = await broker.wire(transport);
    client.send(connectPacket(await broker.issuer.token({ key: generateKey() })));
    await asked;
    await broker.clock.untilSleeping(5_000);
    await broker.clock.advance(4_999);
    expect(client.packets).toEqual([]);
    await broker.clock.advance(1);
    expect(await client.next('connack')).toMatchObject({ returnCode: 3 });
    await client.closed;
  });

  test('an issuer that does not answer hinders nobody whose key is known', async () => {
    const broker = await startGuardedBroker();
    await broker.log.event('keys.updated');
    const asked = silence(broker);
    await broker.clock.advance(31_000);
    const waiting = await broker.wire(transport);
    waiting.send(connectPacket(await broker.issuer.token({ key: generateKey() })));
    await asked;
    const client = await connected(broker);
    client.send({ cmd: 'pingreq' });
    await client.next('pingresp');
  });

  test('a hook of the host that does not answer: return code 3 after 5 s', async () => {
    let asked: () => void = () => undefined;
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const broker = await startGuardedBroker({
      before: (aedes) => {
        aedes.authenticate = () => asked();
      },
    });
    const client = await broker.wire(transport);
    client.send(connectPacket(await broker.issuer.token()));
    await isAsked;
    await broker.clock.advance(4_999);
    expect(client.packets).toEqual([]);
    await broker.clock.advance(1);
    expect(await client.next('connack')).toMatchObject({ returnCode: 3 });
    await client.closed;
  });

  test('a flood of unknown key ids is one fetch in 30 s', async () => {
    const broker = await startGuardedBroker();
    await broker.log.event('keys.updated');
    await broker.clock.advance(30_000);
    const before = broker.issuer.fetches;
    const flood = async (): Promise<void> => {
      for (let i = 0; i < 10; i += 1) {
        const client = await broker.wire(transport);
        client.send(connectPacket(await broker.issuer.token({ key: generateKey() })));
        expect(await client.next('connack')).toMatchObject({ returnCode: 4 });
        await client.closed;
      }
    };
    await flood();
    expect(broker.issuer.fetches).toBe(before + 1);
    await broker.clock.advance(29_999);
    await flood();
    expect(broker.issuer.fetches).toBe(before + 1);
    await broker.clock.advance(1);
    await flood();
    expect(broker.issuer.fetches).toBe(before + 2);
  });
});
