/** What one address may use up, and what no stranger can do to a device: STANDARDS 6, groups 16 and 18. */
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { createLatchkey, type LatchkeyEvents, type LatchkeyOptions } from '@latchkey/broker-plugin';
import { generateKey } from '@latchkey/shared';
import type { IConnackPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { createCapturedLog } from '../helpers/captured-log.ts';
import {
  type GuardedBroker,
  type Setup,
  startGuardedBroker,
  TRANSPORTS,
} from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { connectPacket, encoded } from '../helpers/mqtt-wire.ts';

const STRANGER = '127.0.0.66';
const DEVICE = '127.0.0.7';

/** Loopback counts here, so that each of its addresses is a host of its own. */
function start(protection: LatchkeyOptions['protection'] = {}, setup: Setup = {}) {
  const options = { ...setup.options, protection: { exemptAddresses: [], ...protection } };
  return startGuardedBroker({ ...setup, options });
}

/** The return code that a CONNECT gets; `closed` when there is no CONNACK. */
async function answer(
  broker: GuardedBroker,
  token: string,
  { clientId = 't-42', from = STRANGER } = {},
): Promise<IConnackPacket['returnCode'] | 'closed'> {
  const client = await broker.wire('tcp', from);
  client.send(connectPacket(token, { clientId, username: clientId }));
  const code = await client.next('connack').then(
    ({ returnCode }) => returnCode,
    () => 'closed' as const,
  );
  client.stream.destroy();
  await client.closed;
  return code;
}

async function answers(
  broker: GuardedBroker,
  count: number,
  token: string,
  who: (i: number) => { clientId?: string; from?: string } = () => ({}),
): Promise<unknown[]> {
  const codes: unknown[] = [];
  for (let i = 0; i < count; i += 1) codes.push(await answer(broker, token, who(i)));
  return codes;
}

const metric = ({ latchkey }: GuardedBroker, line: string): number =>
  Number(
    latchkey
      .metrics()
      .split('\n')
      .find((one) => one.startsWith(`${line} `))
      ?.slice(line.length) ?? 0,
  );
const refused = (reason: string) => `latchkey_connections_refused_total{reason="${reason}"}`;

describe('connections of one address', () => {
  test.each(TRANSPORTS)(
    'over %s beyond the burst are closed unread, until one more is back',
    async (transport) => {
      const broker = await start({ connectionsPerSecond: 1, connectionBurst: 2 });
      const token = await broker.issuer.token();
      const open = async (from: string) => {
        const client = await broker.wire(transport, from);
        client.send(connectPacket(token));
        const code = await client.next('connack').then(
          ({ returnCode }) => returnCode,
          () => 'closed',
        );
        client.stream.destroy();
        await client.closed;
        return code;
      };
      expect([await open(STRANGER), await open(STRANGER), await open(STRANGER)]).toEqual([
        0,
        0,
        'closed',
      ]);
      expect(await open(DEVICE)).toBe(0);
      broker.clock.set(broker.clock.now() + 1);
      expect([await open(STRANGER), await open(STRANGER)]).toEqual([0, 'closed']);
      expect(metric(broker, refused('connection-rate'))).toBe(2);
      expect(broker.log.all('connect.refused')).toMatchObject([
        { reason: 'connection-rate', address: STRANGER },
      ]);
    },
  );

  test('that are closed unread leave nothing behind in the broker', async () => {
    const broker = await start({ connectionBurst: 1 });
    await answers(broker, 5, await broker.issuer.token());
    while (broker.streams.some(({ closed }) => !closed)) await turn();
    expect(broker.aedes.connectedClients).toBe(0);
  });

  test.each([
    { name: 'this machine, as long as nobody says otherwise', protection: {} },
    { name: 'a network', protection: { exemptAddresses: ['127.0.0.64/26'] } },
  ])('are not counted when they come from $name', async ({ protection }) => {
    const broker = await startGuardedBroker({
      options: { protection: { connectionBurst: 1, failuresPerClient: 1, ...protection } },
    });
    expect(await answers(broker, 5, 'forged')).toEqual([4, 4, 4, 4, 4]);
    expect(await answer(broker, await broker.issuer.token())).toBe(0);
  });

  test('are not counted when the stream has no address, and the log tells once', async () => {
    const log = createCapturedLog();
    const latchkey = createLatchkey({
      issuer: 'https://id.example',
      audience: BROKER,
      logger: log,
      protection: { connectionBurst: 1, exemptAddresses: [] },
    });
    const streams = Array.from({ length: 5 }, () => latchkey.guard(source()));
    expect(streams.filter(({ destroyed }) => destroyed)).toEqual([]);
    expect(log.all('connect.uncounted')).toHaveLength(1);
    await latchkey.close();
  });
});

describe('a client id that fails at one address', () => {
  test('is refused unverified after ten times, for one second, with return code 3', async () => {
    const broker = await start();
    const good = await broker.issuer.token();
    expect(await answers(broker, 11, 'forged')).toEqual([...Array(10).fill(4), 3]);
    // Nothing is verified: even a token that would be good is not looked at.
    expect(await answer(broker, good)).toBe(3);
    broker.clock.set(broker.clock.now() + 0.999);
    expect(await answer(broker, good)).toBe(3);
    broker.clock.set((broker.clock.nowMs() + 1) / 1000);
    expect(await answer(broker, good)).toBe(0);
  });

  test('is told of once for each ban, in the log, the events and the metrics', async () => {
    const broker = await start();
    const told: LatchkeyEvents['banned'][0][] = [];
    broker.latchkey.events.on('banned', (notice) => told.push(notice));
    await answers(broker, 30, 'forged');
    expect(broker.log.all('connect.refused')).toHaveLength(10);
    const ban = { reason: 'client', address: STRANGER, mqttClientId: 't-42', banSeconds: 1 };
    expect(broker.log.all('connect.banned')).toEqual([{ event: 'connect.banned', ...ban }]);
    expect(told).toEqual([ban]);
    expect(metric(broker, 'latchkey_bans_total{reason="client"}')).toBe(1);
    expect(metric(broker, refused('banned'))).toBe(20);
    expect(broker.log.text()).not.toContain('forged');
  });

  test('I7: is not shut out from anywhere else, however often a stranger fails in its name', async () => {
    const broker = await start({ failuresPerAddress: 1_000_000 });
    for (let i = 0; i < 6; i += 1) {
      await answers(broker, 12, 'forged');
      expect(broker.log.all('connect.banned')).toHaveLength(i + 1);
      const fresh = await broker.issuer.token();
      expect(await answer(broker, fresh)).toBe(3);
      expect(await answer(broker, fresh, { from: DEVICE })).toBe(0);
      broker.clock.set(broker.clock.now() + 2 ** i);
    }
  });

  test('I7: comes back with a token that it had before, even behind the address of the stranger', async () => {
    const broker = await start({ failuresPerAddress: 20 });
    const token = await broker.issuer.token();
    expect(await answer(broker, token)).toBe(0);
    await answers(broker, 15, 'forged');
    await answers(broker, 15, 'forged', (i) => ({ clientId: `x-${i}` }));
    expect(broker.log.all('connect.banned')).toMatchObject([
      { reason: 'client' },
      { reason: 'address' },
    ]);
    expect(await answer(broker, token)).toBe(0);
    expect(await answer(broker, await broker.issuer.token())).toBe(3);
    // The token of another client opens no door to this one.
    const other = await broker.issuer.token({ clientId: 'mallory' });
    expect(await answer(broker, other, { clientId: 'mallory', from: DEVICE })).toBe(0);
    expect(await answer(broker, other)).toBe(3);
  });

  test('begins anew after a success, and its address does not', async () => {
    const broker = await start({ failuresPerClient: 3, failuresPerAddress: 7 });
    for (let i = 0; i < 3; i += 1) {
      expect(await answers(broker, 2, 'forged')).toEqual([4, 4]);
      expect(await answer(broker, await broker.issuer.token())).toBe(0);
    }
    expect(await answers(broker, 2, 'forged')).toEqual([4, 3]);
    expect(broker.log.all('connect.banned')).toMatchObject([{ reason: 'address' }]);
  });
});

describe('an address that fails', () => {
  test('with a hundred client ids is refused unverified, under any of them; others are not', async () => {
    const broker = await start();
    const codes = await answers(broker, 101, 'forged', (i) => ({ clientId: `guess-${i}` }));
    expect(codes).toEqual([...Array(100).fill(4), 3]);
    expect(await answer(broker, await broker.issuer.token())).toBe(3);
    expect(await answer(broker, await broker.issuer.token(), { from: DEVICE })).toBe(0);
    broker.clock.set(broker.clock.now() + 1);
    expect(await answer(broker, await broker.issuer.token())).toBe(0);
    expect(metric(broker, 'latchkey_bans_total{reason="address"}')).toBe(1);
  });

  test('with client ids that are none is counted as a whole', async () => {
    const broker = await start({ failuresPerClient: 1, failuresPerAddress: 3 });
    const codes = await answers(broker, 4, 'forged', () => ({ clientId: 'a/b' }));
    expect(codes).toEqual([2, 2, 2, 3]);
    expect(broker.log.all('connect.banned')).toMatchObject([{ reason: 'address' }]);
  });

  test('by breaking the protocol is banned, and the log is quiet from then on', async () => {
    const broker = await start({ failuresPerAddress: 3 });
    for (let i = 0; i < 8; i += 1) {
      const client = await broker.wire('tcp', STRANGER);
      client.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      await client.closed;
    }
    expect(broker.log.all('connect.refused')).toHaveLength(3);
    expect(broker.log.all('connect.banned')).toHaveLength(1);
    expect(metric(broker, refused('not-connect'))).toBe(8);
  });

  test('by a CONNECT that breaks the protocol is counted too', async () => {
    const broker = await start({ failuresPerAddress: 3 });
    const token = await broker.issuer.token();
    for (let i = 0; i < 5; i += 1) {
      const client = await broker.wire('tcp', STRANGER);
      const bytes = Buffer.from(encoded(connectPacket(token)));
      const level = bytes.indexOf('MQTT') + 4;
      bytes[level] = 0x84;
      client.send(bytes);
      await client.closed;
    }
    expect(broker.log.all('connect.refused')).toHaveLength(3);
    expect(broker.log.all('connect.banned')).toMatchObject([{ reason: 'address' }]);
    expect(metric(broker, refused('protocol'))).toBe(5);
  });

  test('is counted even when the connection is gone before the answer', async () => {
    const broker = await start({ failuresPerAddress: 2 });
    await broker.log.event('keys.updated');
    const asked = new Promise<() => void>((resolve) => {
      broker.issuer.answer = (path, response) => {
        if (path !== '/jwks') return false;
        resolve(() => response.end(JSON.stringify({ keys: broker.issuer.keys })));
        return true;
      };
    });
    await broker.clock.advance(31_000);
    const forged = await broker.issuer.token({ key: generateKey() });
    const client = await broker.wire('tcp', STRANGER);
    client.send(connectPacket(forged));
    const respond = await asked;
    client.stream.destroy();
    await client.closed;
    while (!broker.streams[0]!.destroyed) await turn();
    respond();
    await broker.log.event('connect.refused', { address: STRANGER });
    expect(await answer(broker, 'forged', { clientId: 'x' })).toBe(4);
    expect(await answer(broker, 'forged', { clientId: 'y' })).toBe(3);
  });
});

test.each([
  {
    name: 'the keys of the issuer cannot be had',
    code: 3,
    setup: {},
    silence: (broker: GuardedBroker) => {
      broker.issuer.answer = (_path, response) => {
        response.writeHead(500).end();
        return true;
      };
    },
  },
  {
    name: 'a hook of the host says no',
    code: 5,
    setup: {
      before: (aedes) => {
        aedes.authenticate = (_client, _name, _password, callback) => callback(null, false);
      },
    } satisfies Setup,
    silence: () => undefined,
  },
])('nobody is banned because $name', async ({ code, setup, silence }) => {
  const broker = await start({ failuresPerClient: 2, failuresPerAddress: 2 }, setup);
  await broker.log.event('keys.updated');
  silence(broker);
  await broker.clock.advance(31_000);
  const key = code === 3 ? { key: generateKey() } : {};
  for (let i = 0; i < 5; i += 1) {
    expect(await answer(broker, await broker.issuer.token(key))).toBe(code);
  }
  expect(broker.log.all('connect.banned')).toEqual([]);
});

test('I11: a thousand client ids and addresses make no new line in the metrics', async () => {
  const broker = await start({ failuresPerClient: 1, failuresPerAddress: 2, connectionBurst: 3 });
  const lines = () => broker.latchkey.metrics().split('\n').length;
  const refuseAll = (address: number) =>
    answers(broker, 4, 'forged', (i) => ({
      clientId: `${address}-${i % 2}`,
      from: `127.0.1.${address}`,
    }));
  expect(await refuseAll(0)).toEqual([4, 4, 3, 'closed']);
  const before = lines();
  for (let address = 1; address < 30; address += 1) await refuseAll(address);
  expect(lines()).toBe(before);
});

/** A stream that is no socket. */
function source(): Duplex {
  return new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
}

describe('connections that are not decided yet', () => {
  test('are bounded: of 10,000 that send nothing the newest 5,000 are left', async () => {
    const latchkey = createLatchkey({ issuer: 'https://id.example', audience: BROKER });
    const streams = Array.from({ length: 10_000 }, () => latchkey.guard(source()));
    expect(streams.findIndex(({ destroyed }) => !destroyed)).toBe(5000);
    expect(streams.filter(({ destroyed }) => destroyed)).toHaveLength(5000);
    await latchkey.close();
  });

  test.each(TRANSPORTS)(
    'over %s make room for one that sends its CONNECT at once, and the log tells once',
    async (transport) => {
      const broker = await start({}, { options: { limits: { pendingConnects: 3 } } });
      const idle = [];
      for (let i = 0; i < 6; i += 1) idle.push(await broker.wire(transport, STRANGER));
      const client = await broker.wire(transport, DEVICE);
      client.send(connectPacket(await broker.issuer.token()));
      expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
      await Promise.all(idle.slice(0, 4).map(({ closed }) => closed));
      expect(broker.streams.slice(4).map(({ destroyed }) => destroyed)).toEqual([
        false,
        false,
        false,
      ]);
      expect(metric(broker, refused('too-many-pending'))).toBe(4);
      expect(broker.log.all('connect.refused')).toHaveLength(1);
    },
  );

  test('are never those whose CONNECT is being decided; while all are, one more has to go', async () => {
    const decide: (() => void)[] = [];
    const broker = await start(
      {},
      {
        options: { limits: { pendingConnects: 2 } },
        before: (aedes) => {
          aedes.authenticate = (_client, _name, _password, callback) => {
            decide.push(() => callback(null, true));
          };
        },
      },
    );
    const clients = [];
    for (const clientId of ['a', 'b']) {
      const client = await broker.wire('tcp', DEVICE);
      const token = await broker.issuer.token({ clientId });
      client.send(connectPacket(token, { clientId, username: clientId }));
      clients.push(client);
      while (decide.length < clients.length) await turn();
    }
    const late = await broker.wire('tcp', STRANGER);
    await late.closed;
    for (const yes of decide) yes();
    for (const client of clients) {
      expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
    }
  });
});
