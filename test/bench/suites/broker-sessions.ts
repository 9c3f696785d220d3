/**
 * Sessions that do nothing: what each costs in memory, and what it takes to end ten thousand at once.
 *
 * Each sample has a broker process of its own.
 *
 * Units   KiB per session; milliseconds.
 *
 * @module
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type AedesBroker, type Kind, type Load, startAedes } from '../broker/brokers.ts';
import type { BrokerAnswer } from '../broker/messages.ts';
import type { Comparison } from '../harness.ts';
import { quantile } from '../statistics.ts';
import type { BrokerContenders } from './broker.ts';

const SIZES = [2000, 5000] as const;
const ENDING = 10_000;
/** Time to connect them all, before they expire together. */
const EXPIRE_AFTER_SECONDS = 25;
const LONG_SECONDS = 3600;
const ROUNDS = 3;
const MEMORY_ROUNDS = 2;

type Measure = (memory: BrokerAnswer) => number;

const MEASURES: readonly { readonly name: string; readonly measure: Measure }[] = [
  { name: 'heap and buffers of V8', measure: ({ heapBytes }) => heapBytes as number },
  { name: 'resident memory', measure: ({ rssBytes }) => rssBytes as number },
];

async function withBroker<Value>(
  kind: Kind,
  issuer: string,
  use: (broker: AedesBroker) => Promise<Value>,
): Promise<Value> {
  const broker = await startAedes(kind, issuer);
  try {
    return await use(broker);
  } finally {
    await broker.stop();
  }
}

const hold = (load: Load, { target }: AedesBroker, count: number, ttlSeconds: number) =>
  load.ask({ type: 'hold', target, devices: { first: 0, count }, ttlSeconds });

export function memoryComparisons(brokers: BrokerContenders): readonly Comparison[] {
  const { load, issuer, names } = brokers;
  const perSession = (kind: Kind, count: number, measure: Measure) => () =>
    withBroker(kind, issuer, async (broker) => {
      // What is loaded and compiled for the first connect is nobody's.
      await hold(load, broker, 20, LONG_SECONDS);
      await load.ask({ type: 'release' });
      const before = measure(await broker.ask({ type: 'memory' }));
      await hold(load, broker, count, LONG_SECONDS);
      const after = measure(await broker.ask({ type: 'memory' }));
      await load.ask({ type: 'release' });
      return (after - before) / count / 1024;
    });
  return SIZES.flatMap((count) =>
    MEASURES.map(({ name, measure }): Comparison => {
      const few = count.toLocaleString('en');
      return {
        name: `Memory per idle session of ${few} after a garbage collection: ${name} (less is better)`,
        unit: 'KiB',
        contenders: [
          { name: names.yes, sample: perSession('yes', count, measure) },
          { name: names.latchkey, base: names.yes, sample: perSession('latchkey', count, measure) },
          { name: names.jose, base: names.yes, sample: perSession('jose', count, measure) },
        ],
        targets: [
          {
            contender: `${names.latchkey}, beyond the base`,
            base: 'KiB',
            atMost: 2,
            derive: (of) => of(names.latchkey) - of(names.yes),
          },
        ],
        maxRounds: MEMORY_ROUNDS,
        maxRetries: 0,
        warmUps: 0,
      };
    }),
  );
}

/** All sessions have the same `exp`; nothing else happens meanwhile. */
function expireTogether({ load, issuer }: BrokerContenders): () => Promise<number> {
  return () =>
    withBroker('latchkey', issuer, async (broker) => {
      const begin = performance.now();
      await hold(load, broker, ENDING, EXPIRE_AFTER_SECONDS);
      const leftMs = EXPIRE_AFTER_SECONDS * 1000 - (performance.now() - begin);
      if (leftMs < 1500) throw new Error('the sessions expire before all are connected');
      await broker.ask({ type: 'memory' }); // the garbage of connecting is not what is measured
      await broker.ask({ type: 'forget-delays' });
      await delay(leftMs - 1000);
      await load.ask({ type: 'wait-for-end' });
      await load.ask({ type: 'release' });
      return (await broker.ask({ type: 'longest-delay' })).longestDelayMs as number;
    });
}

const REVOKED = 500;
const EVERY_MS = 4;

/** From the change in the broker's replica to the closed connection; the feed before it is suite `feed`. */
function revokeSome({ load, issuer }: BrokerContenders): () => Promise<number> {
  return () =>
    withBroker('latchkey-registry', issuer, async (broker) => {
      await hold(load, broker, ENDING, LONG_SECONDS);
      const devices = { first: 1000, count: REVOKED };
      const { revokedAtMs = [] } = await broker.ask({ type: 'revoke', devices, everyMs: EVERY_MS });
      const { endedAtMs } = await load.ask({ type: 'wait-for-end', devices });
      const tookMs = revokedAtMs.map(
        (at, i) => (endedAtMs?.get(devices.first + i) ?? Number.POSITIVE_INFINITY) - at,
      );
      await load.ask({ type: 'release' });
      return quantile(tookMs, 0.99);
    });
}

export function endComparisons(brokers: BrokerContenders): readonly Comparison[] {
  const { names } = brokers;
  const many = ENDING.toLocaleString('en');
  return [
    {
      name: `From a revocation to the closed connection, p99 of ${REVOKED} among ${many} sessions (less is better)`,
      unit: 'ms',
      contenders: [{ name: names.latchkey, sample: revokeSome(brokers) }],
      targets: [
        {
          contender: names.latchkey,
          base: 'ms',
          atMost: 1000,
          derive: (of) => of(names.latchkey),
        },
      ],
      maxRounds: ROUNDS,
      maxRetries: 1,
      warmUps: 0,
    },
    {
      name: `Longest stall of the event loop while ${many} sessions expire in the same second (less is better)`,
      unit: 'ms',
      contenders: [{ name: names.latchkey, sample: expireTogether(brokers) }],
      targets: [
        {
          contender: names.latchkey,
          base: 'ms',
          atMost: 50,
          derive: (of) => of(names.latchkey),
        },
      ],
      maxRounds: ROUNDS,
      maxRetries: 1,
      warmUps: 0,
    },
  ];
}
