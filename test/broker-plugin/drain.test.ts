import { systemClock } from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { startBroker } from '../../broker-plugin/src/broker/start.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { BROKER, type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket, overTcp, publishPacket, type WireClient } from '../helpers/mqtt-wire.ts';
import { holdKeys, untilHolding } from '../helpers/waiting-connects.ts';

const configText = (issuer: IssuerServer, more: string, port = 0) =>
  `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n${more}\n[[listen]]\ntype = "tcp"\nport = ${port}\n`;

async function inProcess(more = '', prepare = (_issuer: IssuerServer): void => undefined) {
  const issuer = await startIssuer(systemClock);
  prepare(issuer);
  const log = createCapturedLog();
  const broker = await startBroker(parseBrokerConfig(configText(issuer, more), 'broker.toml'), {
    clock: systemClock,
    logger: log,
  });
  onTestFinished(() => broker.close());
  const port = broker.listeners[0]?.port as number;
  const connect = async (id = 't-42', scope = 'pub:# sub:#', clean = true) => {
    const client = await overTcp(port);
    const token = await issuer.token({ clientId: id, scope });
    client.send(connectPacket(token, { clientId: id, username: id, clean }));
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
    return client;
  };
  return { issuer, log, broker, port, connect };
}

const pubacks = (client: WireClient): number =>
  client.packets.filter(({ cmd }) => cmd === 'puback').length;

test('drain answers what was taken in, ends each connection, and takes no new one', async () => {
  const { broker, log, port, connect } = await inProcess();
  const client = await connect();
  const [idle, silent] = [await connect('t-43'), await overTcp(port)];
  client.send(
    ...Array.from({ length: 200 }, (_, i) => publishPacket('a', 1, { messageId: i + 1 })),
  );
  await client.next('puback');
  await broker.drain();
  await Promise.all([client.closed, idle.closed, silent.closed]);
  expect(pubacks(client)).toBe(200); // they came in one read, with the one that was answered
  expect(log.all('broker.draining')).toMatchObject([{ connections: 3 }]);
  expect(log.all('drain.incomplete')).toEqual([]);
  await expect(overTcp(port)).rejects.toThrow();
});

test('a CONNECT that waits for keys of the issuer is answered before the end', async () => {
  let held: ReturnType<typeof holdKeys> | undefined;
  const { issuer, broker, log, port } = await inProcess('', (issuer) => {
    held = holdKeys(issuer);
  });
  const client = await overTcp(port);
  client.send(connectPacket(await issuer.token()), publishPacket('devices/t-42/x', 1));
  await held?.asked;
  await untilHolding(client);
  const drained = broker.drain();
  held?.release();
  expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
  await Promise.all([client.closed, drained]);
  // What stood behind the CONNECT was not taken in, and so not acknowledged.
  expect(pubacks(client)).toBe(0);
  expect(log.all('drain.incomplete')).toEqual([]);
});

test('I11: after drain_seconds a connection that is still busy is cut off', async () => {
  const { issuer, broker, log, port } = await inProcess('drain_seconds = 1', holdKeys);
  const client = await overTcp(port);
  client.send(connectPacket(await issuer.token()));
  await untilHolding(client);
  await broker.drain();
  expect(log.all('drain.incomplete')).toMatchObject([{ connections: 1 }]);
  await broker.close();
  await client.closed;
  expect(client.packets).toEqual([]);
});

test('a peer that never ends its side does not hold the broker up', async () => {
  const { broker, connect } = await inProcess('drain_seconds = 300');
  const client = await connect();
  (client.stream as unknown as { allowHalfOpen: boolean }).allowHalfOpen = true;
  client.stream.pause();
  await broker.drain();
  await broker.close();
});
