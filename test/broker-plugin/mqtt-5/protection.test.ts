/** How an MQTT 5 client hears of a ban: STANDARDS 4.4, 6, group 18. */
import { expect, test } from 'vitest';
import { startGuardedBroker } from '../../helpers/guarded-broker.ts';
import { CODE, connect5 } from '../../helpers/mqtt5.ts';

test('a banned client gets "banned" and why, and comes in again after the ban', async () => {
  const broker = await startGuardedBroker({
    options: { protection: { exemptAddresses: [], failuresPerClient: 2 } },
  });
  for (let i = 0; i < 2; i += 1) {
    const { connack } = await connect5(broker, 'forged');
    expect(connack.reasonCode).toBe(CODE.badUserNameOrPassword);
  }
  const banned = await connect5(broker);
  expect(banned.connack).toMatchObject({
    reasonCode: 0x8a,
    properties: { reasonString: 'too many refused connections' },
  });
  await banned.closed;
  broker.clock.set(broker.clock.now() + 1);
  expect((await connect5(broker)).connack.reasonCode).toBe(CODE.success);
});
