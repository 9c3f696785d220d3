/**
 * Publishing through a closed window: no more messages are under way than every queue holds, so none is
 * dropped, and the broker is never idle.
 *
 * @module
 */
import { once } from 'node:events';
import { generate } from 'mqtt-packet';
import { ALL_TELEMETRY, type LoadAnswer, type PublishOrder, telemetryOf } from './messages.ts';
import type { Connection } from './wire.ts';

const RUN_MS = 600;
const PAYLOAD = Buffer.alloc(100, 'x');
const PUBACK = 0x40;
const PUBLISH = 0x30;
/** QoS 1, in the lower half of the first byte. */
const QOS_1 = 0x02;

/** Messages under way to all subscribers together. */
function windowOf({ qos, subscribers }: PublishOrder): number {
  if (subscribers === 1) return qos === 0 ? 2000 : 500;
  return qos === 0 ? 100 : 50;
}

interface Publisher {
  /** Writes so many messages. */
  send(count: number): void;
}

function createPublisher({ socket }: Connection, id: string, { qos }: PublishOrder): Publisher {
  const one = generate({
    cmd: 'publish',
    topic: telemetryOf(id),
    payload: PAYLOAD,
    qos,
    retain: false,
    dup: false,
    ...(qos === 0 ? {} : { messageId: 1 }),
  });
  const idAt = one.length - PAYLOAD.length - 2;
  let messageId = 0;
  return {
    send: (count) => {
      const all = Buffer.alloc(one.length * count);
      for (let i = 0; i < count; i += 1) {
        one.copy(all, i * one.length);
        if (qos === 0) continue;
        messageId = (messageId % 65_535) + 1;
        all.writeUInt16BE(messageId, i * one.length + idAt);
      }
      socket.write(all);
    },
  };
}

async function subscribe(connection: Connection, { qos }: PublishOrder): Promise<void> {
  const granted = new Promise<void>((resolve, reject) => {
    connection.onPacket = (_type, chunk, _at, end) => {
      if (chunk[end - 1] === qos) resolve();
      else reject(new Error('SUBACK refuses the filter'));
    };
  });
  const subscriptions = [{ topic: ALL_TELEMETRY, qos }];
  connection.socket.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }));
  await granted;
}

export async function publish(
  order: PublishOrder,
  publishers: readonly { readonly id: string; readonly connection: Connection }[],
  subscribers: readonly Connection[],
): Promise<LoadAnswer> {
  for (const subscriber of subscribers) await subscribe(subscriber, order);
  const senders = publishers.map(({ id, connection }) => createPublisher(connection, id, order));
  const window = windowOf(order);
  let sent = 0;
  let acknowledged = 0;
  let delivered = 0;
  let turn = 0;
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const begin = performance.now();

  const pump = (): void => {
    const isOver = performance.now() - begin >= RUN_MS;
    const arrived = Math.floor(delivered / order.subscribers);
    const done = order.qos === 0 ? arrived : Math.min(arrived, acknowledged);
    if (isOver) {
      if (done === sent) finish();
      return;
    }
    const room = window - (sent - done);
    if (room < window / 4) return;
    const share = Math.max(1, Math.floor(room / senders.length));
    for (let left = room; left > 0; left -= share) {
      const count = Math.min(share, left);
      senders[turn % senders.length]?.send(count);
      turn += 1;
      sent += count;
    }
  };

  for (const { connection } of publishers) {
    connection.onPacket = (type) => {
      if (type === PUBACK) acknowledged += 1;
    };
    connection.socket.on('data', pump);
  }
  for (const subscriber of subscribers) {
    let answers: Buffer[] = [];
    subscriber.onPacket = (type, chunk, at) => {
      if ((type & 0xf0) !== PUBLISH) return;
      delivered += 1;
      if ((type & QOS_1) === 0) return;
      const topicAt = at + ((chunk[at + 1] as number) >= 0x80 ? 3 : 2);
      const idAt = topicAt + 2 + chunk.readUInt16BE(topicAt);
      answers.push(Buffer.from([PUBACK, 2, chunk[idAt] as number, chunk[idAt + 1] as number]));
    };
    subscriber.socket.on('data', () => {
      if (answers.length > 0) subscriber.socket.write(Buffer.concat(answers));
      answers = [];
      pump();
    });
  }
  const broken = Promise.race(
    [...publishers.map(({ connection }) => connection), ...subscribers].map(async ({ socket }) => {
      await once(socket, 'close');
      throw new Error('the broker closed a connection');
    }),
  );
  pump();
  await Promise.race([finished, broken]);
  broken.catch(() => undefined);
  return { operations: delivered, ms: performance.now() - begin };
}
