import { generateKey } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { connectPacket } from '../helpers/mqtt-wire.ts';

test('a good token is accepted, and the log says for whom and until when', async () => {
  const broker = await startGuardedBroker();
  const { connack } = await broker.connect();
  expect(connack).toMatchObject({ returnCode: 0, sessionPresent: false });
  expect(await broker.log.event('connect.accepted')).toMatchObject({
    clientId: 't-42',
    mqttClientId: 't-42',
    jti: expect.any(String),
    expiresAt: broker.clock.now() + 900,
    address: '127.0.0.1',
  });
});
