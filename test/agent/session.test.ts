import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';

const message = (topic: string, payload = 'x', qos: 0 | 1 | 2 = 1) => ({
  topic,
  payload: Buffer.from(payload),
  qos,
  isRetained: false,
});

test('connects with user name and client identifier = client id, password = token, persistent session', async () => {
  const { broker, authority, startAgent } = await setUpAgent();
  const agent = await startAgent();
  expect(broker.connects).toEqual([
    { clientId: 't-42', username: 't-42', password: authority.issued[0]!.text, clean: false },
  ]);
  await agent.publish(message('devices/t-42/telemetry/temperature', '21.5'));
  expect(broker.publishes).toMatchObject([{ payload: '21.5', qos: 1 }]);
  expect(agent.status()).toMatchObject({ state: 'online', counters: { published: 1 } });
  expect(await agent.stop()).toBe('aborted');
});
