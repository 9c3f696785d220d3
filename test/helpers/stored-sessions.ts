/**
 * `latchkey-broker` in process with a persistence of choice, which restarts over the same storage, and
 * the contract that stored sessions keep whatever the persistence is.
 *
 * @module
 */
import { silentLogger, systemClock } from '@latchkey/shared';
import { Aedes } from 'aedes';
import type { IConnackPacket, IConnectPacket } from 'mqtt-packet';
import { expect, onTestFinished, test } from 'vitest';
import { persistenceOf } from '../../broker-plugin/src/aedes-types.ts';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { type Broker, startBroker } from '../../broker-plugin/src/broker/start.ts';
import { createInboundMessages } from '../../broker-plugin/src/inbound-messages.ts';
import { openPersistence } from '../../broker-plugin/src/persistence/open-persistence.ts';
import { createPurgeSession } from '../../broker-plugin/src/session-purge.ts';
import { type CapturedLog, createCapturedLog } from './captured-log.ts';
import { BROKER, type IssuerServer, startIssuer, type TokenRequest } from './issuer-server.ts';
import {
  connectPacket,
  overTcp,
  publishPacket,
  subscribePacket,
  type WireClient,
} from './mqtt-wire.ts';

type Connected = WireClient & { readonly connack: IConnackPacket };

export interface StoringBroker {
  readonly log: CapturedLog;
  readonly issuer: IssuerServer;
  /** Ends the broker and starts another one over the same storage. */
  restart(): Promise<void>;
  connect(token: TokenRequest, packet?: Partial<IConnectPacket>): Promise<Connected>;
  /** Publishes with QoS 2, in order; what is to be queued is queued then. */
  publish(...topics: readonly string[]): Promise<void>;
  /** Ends the connection as a failing network would, and waits until the broker knows. */
  drop(client: WireClient): Promise<void>;
}

/** `section` is the section `[persistence]` of the configuration. */
export async function startStoringBroker(section: string): Promise<StoringBroker> {
  const issuer = await startIssuer(systemClock);
  const log = createCapturedLog();
  const text = `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n${section}\n[[listen]]\ntype = "tcp"\nport = 0\n`;
  const config = parseBrokerConfig(text, 'broker.toml');
  const start = () => startBroker(config, { clock: systemClock, logger: log });
  let broker: Broker = await start();
  let publisher: Connected | undefined;
  let messageId = 0;
  onTestFinished(() => broker.close());

  const connect: StoringBroker['connect'] = async (token, packet = {}) => {
    const id = token.clientId ?? 't-42';
    const client = await overTcp(broker.listeners[0]?.port as number);
    const text = await issuer.token(token);
    client.send(connectPacket(text, { clientId: id, username: id, ...packet }));
    return Object.assign(client, { connack: await client.next('connack') });
  };
  return {
    log,
    issuer,
    restart: async () => {
      await broker.close();
      publisher = undefined;
      broker = await start();
    },
    connect,
    publish: async (...topics) => {
      publisher ??= await connect({ clientId: 'publisher', scope: 'pub:#' });
      for (const topic of topics) {
        messageId += 1;
        publisher.send(publishPacket(topic, 2, { messageId, payload: topic }));
        await publisher.next('pubrec');
        publisher.send({ cmd: 'pubrel', messageId });
        await publisher.next('pubcomp');
      }
    },
    drop: async (client) => {
      const { length } = log.lines;
      client.stream.destroy();
      await log.event('session.closed', {}, length);
    },
  };
}

/** The topics of the next messages, up to and including `last`; the broker has each acknowledgement then. */
async function topicsUpTo(client: WireClient, last: string): Promise<readonly string[]> {
  const topics: string[] = [];
  while (topics.at(-1) !== last) {
    const { topic, messageId = 0, qos } = await client.next('publish');
    if (qos === 1) client.send({ cmd: 'puback', messageId });
    if (qos === 2) {
      client.send({ cmd: 'pubrec', messageId });
      await client.next('pubrel');
      client.send({ cmd: 'pubcomp', messageId });
    }
    topics.push(topic);
  }
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  return topics;
}

const stored = { clean: false } as const;

/** `section` makes an empty storage and answers with its configuration; `isDurable`: it survives a restart. */
export function storedSessionContract(
  section: () => Promise<string>,
  { isDurable }: { readonly isDurable: boolean },
): void {
  const start = async () => startStoringBroker(await section());

  test('trap 2, I4: refused filters of a mixed SUBSCRIBE queue nothing', async () => {
    const broker = await start();
    const token = { scope: 'sub:ok/# sub:end' };
    const client = await broker.connect(token, stored);
    client.send(subscribePacket({ 'secret/a': 1, 'ok/a': 1, 'secret/b': 1, 'ok/b': 1, end: 1 }));
    expect(await client.next('suback')).toMatchObject({ granted: [128, 1, 128, 1, 1] });
    await broker.drop(client);
    await broker.publish('secret/a', 'ok/a', 'secret/b', 'ok/b', 'end');
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
    expect(await topicsUpTo(again, 'end')).toEqual(['ok/a', 'ok/b', 'end']);
  });

  test('I4: a narrower token loses filters and messages that it does not cover', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:a/# sub:b/#' }, stored);
    client.send(subscribePacket({ 'a/#': 1, 'b/#': 1 }));
    await client.next('suback');
    await broker.drop(client);
    await broker.publish('a/1', 'b/1', 'a/2', 'b/2');
    const again = await broker.connect({ scope: 'sub:b/#' }, stored);
    expect(await topicsUpTo(again, 'b/2')).toEqual(['b/1', 'b/2']);
    await broker.publish('a/3', 'b/3');
    expect(await topicsUpTo(again, 'b/3')).toEqual(['b/3']);
    await broker.drop(again);
    await broker.publish('a/4', 'b/4');
    const wide = await broker.connect({ scope: 'sub:#' }, stored);
    expect(await topicsUpTo(wide, 'b/4')).toEqual(['b/4']);
  });

  test('sessionPresent is honest when nothing of the stored session is left', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:a' }, stored);
    client.send(subscribePacket({ a: 1 }));
    await client.next('suback');
    await broker.drop(client);
    const again = await broker.connect({ scope: 'sub:b' }, stored);
    expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
  });

  test('I4: a renewal with fewer rights ends what is stored as well', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:a/# sub:b/#' }, stored);
    client.send(subscribePacket({ 'a/#': 1, 'b/#': 1 }));
    await client.next('suback');
    const payload = await broker.issuer.token({ scope: 'sub:b/#' });
    client.send(publishPacket('$latchkey/renew', 1, { payload }));
    await client.next('puback');
    await broker.publish('a/1', 'b/1');
    expect(await topicsUpTo(client, 'b/1')).toEqual(['b/1']);
    await broker.drop(client);
    await broker.publish('a/2', 'b/2');
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(await topicsUpTo(again, 'b/2')).toEqual(['b/2']);
  });

  test('a SUBSCRIBE of many filters is answered, and so are several at once', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:#' }, stored);
    const filters = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`f/${i}`, 1 as const]),
    );
    client.send(...[1, 2, 3, 4].map((messageId) => subscribePacket(filters, messageId)));
    for (let answers = 0; answers < 4; answers += 1) await client.next('suback');
    await broker.drop(client);
    await broker.publish('f/0', 'f/49');
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(await topicsUpTo(again, 'f/49')).toEqual(['f/0', 'f/49']);
  });

  test.each([
    { name: 'wide, then narrow', filters: [['#', 1] as const, ['a/b', 2] as const] },
    { name: 'narrow, then wide', filters: [['a/b', 2] as const, ['#', 1] as const] },
    { name: 'of one QoS', filters: [['#', 1] as const, ['a/b', 1] as const] },
  ])('filters that overlap ($name) all work, live and stored', async ({ filters }) => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:#' }, stored);
    for (const [filter, qos] of filters) {
      client.send(subscribePacket({ [filter]: qos }));
      await client.next('suback');
    }
    await broker.publish('x/live', 'live/end');
    expect(new Set(await topicsUpTo(client, 'live/end'))).toEqual(new Set(['x/live', 'live/end']));
    await broker.drop(client);
    await broker.publish('a/b', 'x', 'end');
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(new Set(await topicsUpTo(again, 'end'))).toEqual(new Set(['a/b', 'x', 'end']));
    // Once the wide one ends, the narrow one is still there.
    again.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['#'] });
    await again.next('unsuback');
    await broker.drop(again);
    await broker.publish('x', 'a/b');
    const last = await broker.connect({ scope: 'sub:#' }, stored);
    expect(await topicsUpTo(last, 'a/b')).toEqual(['a/b']);
  });

  test('[MQTT-4.3.3] a QoS 2 message is known again; a clean session has forgotten it', async () => {
    const broker = await start();
    const token = { clientId: 'twice', scope: 'pub:t' };
    const hears = await broker.connect({ clientId: 'hears', scope: 'sub:t sub:end' });
    hears.send(subscribePacket({ t: 1, end: 1 }));
    await hears.next('suback');
    const sendHalf = async (options: Partial<IConnectPacket>, dup: boolean) => {
      const client = await broker.connect(token, options);
      client.send(publishPacket('t', 2, { messageId: 7, dup }));
      await client.next('pubrec');
      await broker.drop(client);
    };
    await sendHalf(stored, false);
    await sendHalf(stored, true); // a repetition
    await sendHalf({ clean: true }, false); // another message with the same number
    await sendHalf({ clean: true }, false);
    await broker.publish('end');
    expect(await topicsUpTo(hears, 'end')).toEqual(['t', 't', 't', 'end']);
  });

  test('a clean session takes nothing from the stored one before it', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:#' }, stored);
    client.send(subscribePacket({ 'a/#': 1 }));
    await client.next('suback');
    await broker.drop(client);
    await broker.publish('a/1');
    await broker.drop(await broker.connect({ scope: 'sub:#' }, { clean: true }));
    await broker.publish('a/2');
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(again.connack.sessionPresent).toBe(false);
    again.send(subscribePacket({ end: 1 }));
    await again.next('suback');
    await broker.publish('end');
    expect(await topicsUpTo(again, 'end')).toEqual(['end']);
  });

  test('a purge leaves no message of a session, sent or not, and none of a neighbour is lost', async () => {
    const { persistence, close } = await openPersistence(
      parseBrokerConfig(
        `issuer = "https://id.example"\naudience = "${BROKER}"\n${await section()}\n[[listen]]\ntype = "tcp"\nport = 0\n`,
        'broker.toml',
      ).persistence,
      { logger: silentLogger },
    );
    const aedes = await Aedes.createBroker(persistence === undefined ? {} : { persistence });
    onTestFinished(async () => {
      await new Promise<void>((resolve) => aedes.close(resolve));
      await close();
    });
    const inner = persistenceOf(aedes);
    const filters = [{ topic: 'a', qos: 2 as const }];
    for (const id of ['t-42', 't-42x']) await inner.addSubscriptions({ id }, filters);
    const publish = (qos: 1 | 2) =>
      new Promise<void>((resolve, reject) => {
        const packet = { cmd: 'publish', topic: 'a', payload: 'x', qos, retain: false, dup: false };
        aedes.publish(packet as never, (error) => (error ? reject(error) : resolve()));
      });
    for (const qos of [1, 2, 1, 2] as const) await publish(qos);
    const queued = async (id: string) => {
      let count = 0;
      for await (const _packet of inner.outgoingStream({ id })) count += 1;
      return count;
    };
    expect([await queued('t-42'), await queued('t-42x')]).toEqual([4, 4]);
    const inbound = createInboundMessages({ broker: aedes, persistence: inner });
    const purge = createPurgeSession({ persistence: inner, inbound, brokerId: aedes.id });
    await purge('t-42');
    expect(await inner.subscriptionsByClient({ id: 't-42' })).toEqual([]);
    await publish(1);
    expect([await queued('t-42'), await queued('t-42x')]).toEqual([0, 5]);
  });

  if (!isDurable) return;

  test('I10: filters and messages survive restarts of the broker, in their order', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:#' }, stored);
    client.send(subscribePacket({ 'a/#': 1, 'a/+/b': 2, 'é/#': 1 }));
    await client.next('suback');
    await broker.drop(client);
    const expected: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const topics = [`a/${round}`, `é/${round}`, `a/x${round}`];
      await broker.publish(...topics);
      expected.push(...topics);
      await broker.restart();
    }
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
    expect(await topicsUpTo(again, expected.at(-1) as string)).toEqual(expected);
    await broker.publish('a/live');
    expect(await topicsUpTo(again, 'a/live')).toEqual(['a/live']);
  });

  test('I4: what a narrower token may not have is not restored after a restart', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:a/# sub:b/#' }, stored);
    client.send(subscribePacket({ 'a/#': 1, 'b/#': 1 }));
    await client.next('suback');
    await broker.drop(client);
    await broker.publish('a/1', 'b/1');
    await broker.restart();
    const again = await broker.connect({ scope: 'sub:b/#' }, stored);
    expect(await topicsUpTo(again, 'b/1')).toEqual(['b/1']);
    await broker.publish('a/2', 'b/2');
    expect(await topicsUpTo(again, 'b/2')).toEqual(['b/2']);
  });

  test('I11: a stored filter of QoS 0 queues nothing, also after a restart', async () => {
    const broker = await start();
    const client = await broker.connect({ scope: 'sub:#' }, stored);
    client.send(subscribePacket({ 'low/#': 0, 'high/#': 1 }));
    await client.next('suback');
    await broker.drop(client);
    await broker.restart();
    await broker.publish('low/1', 'high/1');
    const again = await broker.connect({ scope: 'sub:#' }, stored);
    expect(await topicsUpTo(again, 'high/1')).toEqual(['high/1']);
    await broker.publish('low/2', 'high/2');
    expect(await topicsUpTo(again, 'high/2')).toEqual(['low/2', 'high/2']);
  });

  test('a retained message survives a restart, and is heard by whoever may', async () => {
    const broker = await start();
    const speaker = await broker.connect({ clientId: 'speaker', scope: 'pub:#' });
    for (const [i, topic] of ['r/a', 'r/b', 's/a'].entries()) {
      speaker.send(publishPacket(topic, 2, { retain: true, messageId: i + 1 }));
      await speaker.next('pubrec');
    }
    await broker.restart();
    const client = await broker.connect({ scope: 'sub:r/+ sub:end' });
    client.send(subscribePacket({ 'r/+': 1 }));
    await client.next('suback');
    const heard = [await client.next('publish'), await client.next('publish')];
    expect(heard.map(({ topic }) => topic).sort()).toEqual(['r/a', 'r/b']);
  });

  test('a will of a broker that was killed is not published in the name of anybody', async () => {
    const broker = await start();
    const will = { topic: 'w', payload: Buffer.from('x'), qos: 1, retain: false } as const;
    const client = await broker.connect({ scope: 'pub:w' }, { will });
    expect(client.connack.returnCode).toBe(0);
    await broker.restart();
    const again = await broker.connect({ scope: 'pub:w sub:#' }, { will });
    expect(again.connack.returnCode).toBe(0);
  });
}
