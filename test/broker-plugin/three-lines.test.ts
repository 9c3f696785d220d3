/** The promise of the README: three lines put Latchkey into an Aedes that is there already. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createLatchkey } from '@latchkey/broker-plugin';
import { systemClock } from '@latchkey/shared';
import { Aedes } from 'aedes';
import { connectAsync } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { startIssuer } from '../helpers/issuer-server.ts';

test('an Aedes with three more lines lets in who has a token, and nobody else', async () => {
  const { issuer, token } = await startIssuer(systemClock);
  const broker = await Aedes.createBroker();

  const latchkey = createLatchkey({ issuer, audience: 'mqtts://broker.example' });
  latchkey.install(broker);
  const server = createServer((socket) => broker.handle(latchkey.guard(socket)));

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    await latchkey.close();
    broker.close();
  });
  const url = `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options = { clientId: 't-42', username: 't-42', reconnectPeriod: 0 };
  await expect(connectAsync(url, options)).rejects.toMatchObject({ code: 4 });
  await expect(connectAsync(url, { ...options, password: 'guess' })).rejects.toMatchObject({
    code: 4,
  });
  const client = await connectAsync(url, { ...options, password: await token() });
  await client.publishAsync('devices/t-42/x', '1', { qos: 1 });
  await client.endAsync();
});
