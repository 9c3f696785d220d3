/**
 * Sessions in Redis: aedes-persistence-redis, with its defects mended.
 *
 * One database serves one broker at a time: messages pass between clients of one process only.
 *
 * Units   none.
 * Errors  `ConfigError`, `MissingPackageError`, `UnreachableError`.
 * Source  aedes-persistence-redis 11.2.2, `asyncPersistence.js`; MQTT 3.1.1 3.1.2.4, 4.3.3.
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { AedesPersistence, OpenPersistence } from './aedes-persistence.js';
import { type Load, loadPackage } from './optional-package.js';
import type { RedisConfig } from './persistence-config.js';
import {
  connectRedis,
  REDIS_INSTALL,
  REDIS_PACKAGE,
  type RedisConnection,
  readRedisOptions,
} from './redis-connection.js';

type CreatePersistence = (options: { readonly conn: RedisConnection }) => AedesPersistence;

/** Runs what belongs to one client in order, and what belongs to others beside it. */
function createTurns(): <Result>(id: string, work: () => Promise<Result>) => Promise<Result> {
  const last = new Map<string, Promise<unknown>>();
  return (id, work) => {
    const turn = (last.get(id) ?? Promise.resolve()).then(work);
    const settled = turn
      .catch(() => undefined)
      .finally(() => {
        if (last.get(id) === settled) last.delete(id);
      });
    last.set(id, settled);
    return turn;
  };
}

/**
 * Which QoS 2 messages of a client were received already. The package keeps a key for each and
 * cannot forget those of a session that ended: its next one would have new messages with an old
 * number taken for repetitions, and lost. Here a client has one hash, which is deleted at once.
 */
function receivedPackets(redis: RedisConnection) {
  const keyOf = (id: string): string => `latchkey:received:${encodeURIComponent(id)}`;
  return {
    incomingStorePacket: ({ id }, { messageId }) => redis.hset(keyOf(id), String(messageId), '1'),
    incomingGetPacket: async ({ id }, { messageId }) => {
      if ((await redis.hexists(keyOf(id), String(messageId))) === 0) {
        throw new Error('no such packet');
      }
      return { messageId };
    },
    incomingDelPacket: ({ id }, { messageId }) => redis.hdel(keyOf(id), String(messageId)),
    cleanIncoming: ({ id }) => redis.del(keyOf(id)),
  } satisfies Partial<AedesPersistence>;
}

/**
 * Runs what may delete the queue of a client, and then lets go of the messages that were in it. The
 * package deletes the list alone, and they would stay for ever.
 */
function createRelease(redis: RedisConnection) {
  const letGo = async (entry: string): Promise<void> => {
    // `packet:BROKER:COUNTER`, which clients share; of QoS 2 also `outgoing:CLIENT:BROKER:COUNTER`.
    const packetKey = `packet:${entry.split(':').slice(-2).join(':')}`;
    const countKey = `${packetKey}:offlineCount`;
    if (entry !== packetKey) await redis.del(entry);
    if ((await redis.decr(countKey)) <= 0) await redis.del(packetKey, countKey);
  };
  return async <Result>(id: string, work: () => Promise<Result>): Promise<Result> => {
    const queueKey = `outgoing:${encodeURIComponent(id)}`;
    const entries = await redis.lrange(queueKey, 0, -1);
    const result = await work();
    if (entries.length > 0 && (await redis.exists(queueKey)) === 0) {
      for (const entry of entries) await letGo(entry);
    }
    return result;
  };
}

export async function openRedisPersistence(
  config: RedisConfig,
  { load, logger }: { readonly load: Load; readonly logger: Logger },
): Promise<OpenPersistence> {
  const redis = await connectRedis(await readRedisOptions(config), { load, logger });
  const createPersistence = loadPackage<CreatePersistence>(load, REDIS_PACKAGE, REDIS_INSTALL);
  const persistence = createPersistence({ conn: redis });
  const { setup, addSubscriptions, removeSubscriptions, cleanSubscriptions, delWill } = persistence;
  const release = createRelease(redis);
  const inTurn = createTurns();
  let brokerId: string | undefined;

  Object.assign(persistence, receivedPackets(redis), {
    setup: async (broker) => {
      brokerId = broker.id;
      await setup.call(persistence, broker);
    },
    // Two calls at once whose first filter is the same would wait for one answer, and one for ever.
    addSubscriptions: (client, filters) =>
      inTurn(client.id, () => addSubscriptions.call(persistence, client, filters)),
    removeSubscriptions: (client, topics) =>
      inTurn(client.id, () =>
        release(client.id, () => removeSubscriptions.call(persistence, client, topics)),
      ),
    cleanSubscriptions: (client) =>
      inTurn(client.id, () =>
        release(client.id, () => cleanSubscriptions.call(persistence, client)),
      ),
    // Aedes names no broker when it means its own.
    delWill: ({ id, brokerId: named = brokerId }) =>
      delWill.call(persistence, { id, ...(named === undefined ? {} : { brokerId: named }) }),
  } satisfies Partial<AedesPersistence>);

  let isOpen = true;
  return {
    persistence,
    isReady: () => isOpen && redis.status === 'ready',
    close: async () => {
      isOpen = false;
      await redis.quit().catch(() => redis.disconnect());
    },
  };
}
