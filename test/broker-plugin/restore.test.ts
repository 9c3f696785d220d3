/** A stored session that is restored while messages come in: I3, I4, I10. */
import type { Aedes } from 'aedes';
import { expect, test } from 'vitest';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { connectPacket, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

test('I3, I10: a message that comes between restore and CONNACK waits, and none is lost', async () => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token({ scope: 'sub:a/#' });
  const first = await broker.connect(token, { clean: false });
  first.send(subscribePacket({ 'a/#': 1 }));
  await first.next('suback');
  first.stream.destroy();
  await broker.log.event('session.closed');
  const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  const publish = async (topic: string, messageId: number) => {
    other.send(publishPacket(topic, 2, { messageId }));
    await other.next('pubrec');
  };
  await publish('a/offline', 1);

  // CONNACK comes after the will is stored: hold it there, with the filters live already.
  const { persistence } = broker.aedes as unknown as {
    persistence: { delWill(client: object): Promise<unknown> };
  };
  const { delWill } = persistence;
  let goOn: (() => void) | undefined;
  const isHeld = new Promise<void>((held) => {
    persistence.delWill = async (client) => {
      persistence.delWill = delWill;
      await new Promise<void>((resolve) => {
        goOn = resolve;
        held();
      });
      return delWill.call(persistence, client);
    };
  });
  const again = await broker.wire();
  again.send(connectPacket(token, { clean: false }));
  await isHeld;
  expect(Object.keys(liveFilters(broker.aedes, broker.streams.at(-1)!))).toEqual(['a/#']);
  await publish('a/meanwhile', 2);
  expect(again.packets).toEqual([]);
  goOn?.();
  const topics: string[] = [];
  for (let i = 0; i < 2; i += 1) topics.push((await again.next('publish')).topic);
  expect(again.packets[0]).toMatchObject({ cmd: 'connack', returnCode: 0, sessionPresent: true });
  expect(topics).toEqual(['a/offline', 'a/meanwhile']);
});

function liveFilters(_aedes: Aedes, stream: object): object {
  return (stream as { client: { subscriptions: object } }).client.subscriptions;
}
